"""Compares a recognition by the service with the vendor's call in a process of its own, on the same pages.

    python benchmarks/recognition_overhead.py [ROUNDS]

Takes about a quarter of an hour. Needs the native libraries (`python -m app provision`). Each round recognises each
page once with both, in turns. The vendor's process gets the path of the file; the service gets the bytes over HTTP,
checks them, and answers JSON. Peak memory is the highest resident memory of the process that recognises, from a fresh
start, one page for each process.
"""

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import httpx
import psutil
from common import ROOT, Server, median_ratio, print_table
from PIL import Image, ImageDraw, ImageFont

from app.engine.native.workdir import WorkDirectories

ROUNDS = 3
TEXT = "the harbour was quiet when the first boats came home and nobody on the pier had seen the storm"
WORDS = TEXT.split()
PAGES = {
    "760 x 536, 13 lines": (760, 536, 22),
    "1240 x 877, half of A4 at 150 dpi": (1240, 877, 28),
    "1240 x 1754, A4 at 150 dpi": (1240, 1754, 28),
}
MB = 1e6


def main(rounds: int) -> None:
    """Time the rounds, measure the memory, and print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = {name: draw(folder / f"{number}.png", *size) for number, (name, size) in enumerate(PAGES.items())}
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in files}
        with vendor_process(folder) as (vendor, _), serving(folder) as (service, _):
            for number in range(rounds + 1):  # the first round loads the vendor's networks
                for name, file in files.items():
                    pair = (timed(lambda file=file: service(file)), timed(lambda file=file: vendor(file)))
                    if number:
                        seconds[name].append(pair)
        rows = []
        for name, file in files.items():
            ours, theirs = ([pair[side] for pair in seconds[name]] for side in (0, 1))
            peaks = [peak_of(party, folder, file) for party in (serving, vendor_process)]
            rows.append(
                (
                    name,
                    f"{statistics.median(ours):.2f}",
                    f"{statistics.median(theirs):.2f}",
                    f"{median_ratio(ours, theirs):.3f}",
                    *(f"{peak / MB:,.0f}" for peak in peaks),
                )
            )
    print_table(
        f"Medians of {rounds} rounds; the ratio is the median of the rounds' ratios",
        ("page", "service, s", "vendor, s", "ratio", "engine's peak, MB", "vendor's peak, MB"),
        rows,
    )


def draw(path: Path, width: int, height: int, points: int) -> Path:
    """Write a page of lines of text and return its path."""
    image, font = Image.new("L", (width, height), 255), ImageFont.load_default(points)
    lines = (height - 2 * points) * 2 // (3 * points)
    for line in range(lines):
        text, word = "", line * 3
        while font.getlength(text) < width - 5 * points:
            text, word = f"{text} {WORDS[word % len(WORDS)]}".strip(), word + 1
        ImageDraw.Draw(image).text((points, points + line * points * 3 // 2), text, fill=0, font=font)
    image.save(path)
    return path


def timed(call: Callable[[], None]) -> float:
    """Return the seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


Party = Callable[[Path], contextlib.AbstractContextManager[tuple[Callable[[Path], None], psutil.Process]]]
"""Starts one side of the comparison: its function that recognises a file, and the process that recognises."""


def peak_of(party: Party, folder: Path, file: Path) -> float:
    """Return the highest resident memory, in bytes, of a fresh process that has recognised one page."""
    with party(folder) as (recognise, process):
        recognise(file)
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[Callable[[Path], None], psutil.Process]]:
    """Run the service."""
    (folder / "models").mkdir(exist_ok=True)
    with (
        Server.service(folder / "models", folder / "state", OCR_NATIVE_DIR=ROOT / "native") as server,
        httpx.Client(base_url=server.url, timeout=300) as client,
    ):
        server.wait_for("/readyz")

        def recognise(file: Path) -> None:
            client.post("/ocr", content=file.read_bytes(), headers={"content-type": "image/png"}).raise_for_status()

        yield recognise, psutil.Process(client.get("/engine").json()["pid"])


@contextlib.contextmanager
def vendor_process(folder: Path) -> Iterator[tuple[Callable[[Path], None], psutil.Process]]:
    """Run a process that calls the vendor's `recognize` for each path that it reads, with the engine's environment."""
    with contextlib.closing(WorkDirectories(folder / "alone", folder / "models", ROOT / "native")) as workdirs:
        directory = workdirs.prepare()
        with subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--alone"],
            cwd=directory,
            env=workdirs.environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            commands, answers = pipe(process.stdin), pipe(process.stdout)

            def recognise(file: Path) -> None:
                commands.write(f"{file}\n")
                commands.flush()
                assert answers.readline().startswith("read "), "the vendor's process has ended"  # noqa: S101

            yield recognise, psutil.Process(process.pid)
            commands.close()


def pipe(stream: IO[str] | None) -> IO[str]:
    """Return a pipe of a process that has it."""
    assert stream is not None  # noqa: S101
    return stream


def recognise_alone() -> None:
    """Recognise the image of each path on standard input, and answer the number of characters."""
    from aspose.ocr import (  # noqa: PLC0415 - only this script's own child may import it
        AsposeOcr,
        DetectAreasMode,
        InputType,
        OcrInput,
        RecognitionSettings,
        Resources,
    )

    Resources.allow_automatic_downloads(False)  # noqa: FBT003 - the vendor takes no keywords
    for line in sys.stdin:
        images = OcrInput(InputType.SINGLE_IMAGE)
        images.add(line.strip())
        settings = RecognitionSettings()
        settings.detect_areas_mode = DetectAreasMode.UNIVERSAL  # what the service uses by default
        found = AsposeOcr().recognize(images, settings)
        print("read", len(found[0].recognition_text), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--alone"]:
        recognise_alone()
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
