"""The parts that the benchmarks of recognition share: pages of known text, and what a call of each program costs.

The programs are the service, the vendor's library alone in a process like the service's engine process, and tesseract.
Costs are those of the process that recognises: on a busy machine its CPU seconds (user and system) vary less than the
seconds that pass. The peak is the most resident memory during the call. The kernel counts it anew after a 5 is written
to /proc/PID/clear_refs.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import httpx
import psutil
from common import ROOT, Server
from PIL import Image, ImageDraw, ImageFont

from app.engine.native.workdir import WorkDirectories

MB = 1e6
PLENTY = 3600
"""Seconds that a call may take on a busy machine."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call took."""

    seconds: float
    """How long the caller waited."""
    cpu_seconds: float
    """The CPU seconds of the process that recognises."""
    peak_bytes: int
    """The most resident memory of that process during the call."""
    around_cpu_seconds: float = 0.0
    """The CPU seconds of the service's own process, which has the engine process beside it."""


class Meter:
    """Measures the cost of calls that one process executes."""

    def __init__(self, pid: int, around: int | None = None) -> None:
        """`around` is the service's own process."""
        self._process, self._around = psutil.Process(pid), None if around is None else psutil.Process(around)

    def cost_of(self, call: Callable[[], None]) -> Cost:
        """Make a call and return its cost."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")
        before, began = self._cpu_seconds(), time.perf_counter()
        call()
        seconds, after = time.perf_counter() - began, self._cpu_seconds()
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return Cost(seconds, after[0] - before[0], peak, after[1] - before[1])

    def _cpu_seconds(self) -> tuple[float, float]:
        used = [each.cpu_times() if each else None for each in (self._process, self._around)]
        engine, around = (times.user + times.system if times else 0.0 for times in used)
        return engine, around


class Reader:
    """The service, without a limit on the engine's memory, so that the engine process is never replaced."""

    def __init__(self, folder: Path) -> None:
        (folder / "models").mkdir(exist_ok=True)
        self._server = Server.service(
            folder / "models",
            folder / "state",
            OCR_NATIVE_DIR=ROOT / "native",
            OCR_ENGINE_MEMORY_LIMIT="0",
            OCR_RECOGNITION_TIMEOUT="60m",
        )
        self._client = httpx.Client(base_url=self._server.url, timeout=PLENTY)

    def __enter__(self) -> Self:
        self._server.wait_for("/readyz", within=PLENTY)
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()
        self._server.__exit__(*error)

    @property
    def engine_pid(self) -> int:
        """The id of the engine process."""
        return int(self._client.get("/engine").json()["pid"])

    def replace_engine(self) -> None:
        """Start a new engine process, which holds nothing of earlier calls."""
        self._client.post("/engine/release").raise_for_status()
        self._server.wait_for("/readyz", since=time.perf_counter(), within=PLENTY)

    def read(self, image: bytes, **options: str) -> tuple[httpx.Response, Cost]:
        """Send an image to `POST /ocr`; return the response, which may be a problem, and the cost."""
        responses: list[httpx.Response] = []
        meter = Meter(self.engine_pid, self._server.process.pid)
        cost = meter.cost_of(lambda: responses.append(self._client.post("/ocr", content=image, params=options)))
        return responses[0], cost


@contextlib.contextmanager
def vendor_alone(folder: Path) -> Iterator[Callable[[Path], Cost]]:
    """Run a process that calls the vendor's `recognize` for a path, with the environment of the engine process."""
    with contextlib.closing(WorkDirectories(folder / "alone", folder / "models", ROOT / "native")) as workdirs:
        directory = workdirs.prepare()
        with subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("vendor_alone.py").resolve())],
            cwd=directory,
            env=workdirs.environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            commands, answers = _pipe(process.stdin), _pipe(process.stdout)

            def send(file: Path) -> None:
                commands.write(f"{file}\n")
                commands.flush()
                assert answers.readline().startswith("read "), "the vendor's process has ended"  # noqa: S101

            yield lambda file: Meter(process.pid).cost_of(lambda: send(file))
            commands.close()


def _pipe(stream: IO[str] | None) -> IO[str]:
    """Return a pipe of a process that has it."""
    assert stream is not None  # noqa: S101
    return stream


def tesseract(image: bytes, *arguments: str, zones: str = "") -> tuple[bytes, Cost]:
    """Run tesseract on an image; return what it prints, and the cost of the whole command.

    `zones` is the content of a file beside the image whose rectangles tesseract reads with `--psm 4`.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder, "image"), Path(folder, "output")
        file.write_bytes(image)
        if zones:
            file.with_suffix(".uzn").write_text(zones)
        began = time.perf_counter()
        with output.open("wb") as out:
            process = subprocess.Popen(
                ["tesseract", str(file), "-", *arguments],
                stdout=out,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_THREAD_LIMIT": "1"},
            )
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cost = Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
        return output.read_bytes() if process.returncode == 0 else b"", cost


def page(
    lines: Sequence[str], points: int = 24, font: str | None = None, paper: str = "white", ink: str = "black"
) -> Image.Image:
    """Return a page of these lines, as large as they need. `font` is a path; Pillow's own font is for English."""
    letters = ImageFont.truetype(font, points) if font else ImageFont.load_default(points)
    width = int(max(letters.getlength(line) for line in lines)) + 2 * points
    image = Image.new("RGB", (width, (len(lines) + 2) * points * 3 // 2), paper)
    for number, line in enumerate(lines):
        place = (points, (number + 1) * points * 3 // 2)
        ImageDraw.Draw(image).text(place, line, fill=ink, font=letters)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401 - as Pillow has them
    """Return a file of an image in one of Pillow's formats."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def error_rate(lines: Sequence[str], text: str) -> float:
    """Return the error rate of a text, against the beginning of the true text that fits it best."""
    truth = "\n".join(lines)
    if not text:
        return 1.0
    return min(1.0, min(_distances(text, truth)) / len(text))


def _distances(text: str, truth: str) -> list[int]:
    """Return the Levenshtein distances of the text to each beginning of the true text."""
    row = list(range(len(truth) + 1))
    for index, letter in enumerate(text, 1):
        above, row = row, [index]
        for column, other in enumerate(truth, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (letter != other)))
    return row
