"""Measures what each kind of work needs of a container: memory, CPU and disk. docs/operations.md has the table.

    python benchmarks/resources.py [WORD ...]

Takes ten minutes of CPU; with words, only the rows whose names have one of them. Needs the native libraries
(`python -m app provision`). Each row has a fresh engine process, without a limit of its memory. The peaks are the most
resident memory of each process during the work, CPU seconds are user and system of both, and disk is the most that the
files in OCR_STATE_DIR held, looked at fifty times a second.
"""

import io
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
from common import ROOT, Server, print_table
from PIL import Image, ImageDraw, ImageFont
from recognisers import MB, PLENTY, encoded

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.files import tiny_gguf

A4 = 8.27, 11.69
"""Width and height in inches."""
POINTS = 10
LINE = "{:02}. The harbour was quiet when the first boats came home, and nobody saw the storm behind the hills."
DENSE, SPARSE = 60, 12
"""Lines on a page."""
UPLOAD_BYTES = 256 << 20
MODEL_BYTES = 400 << 20
TEXT = "The quik brown fox jumps ovr the lazy dog"
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Service:
    """A running service and a client of it."""

    server: Server
    client: httpx.Client
    state: Path

    def recognise(self, image: bytes, **options: str) -> None:
        """Recognise an image."""
        self.client.post("/ocr", content=image, params=options).raise_for_status()

    def upload(self) -> None:
        """Upload a model, list and delete it."""
        self.client.put("/models/new.bin", content=io.BytesIO(bytes(UPLOAD_BYTES))).raise_for_status()
        self.client.get("/models").raise_for_status()
        self.client.delete("/models/new.bin", params={"permanent": "true"}).raise_for_status()

    def load(self) -> None:
        """Load the language model."""
        self.client.post("/engine/load", json={"processor": "spell-check"}).raise_for_status()

    def correct(self) -> None:
        """Load the language model and correct a text with it."""
        self.client.post("/ai/spell-check", json={"texts": [TEXT]}).raise_for_status()


def main(words: list[str]) -> None:
    """Measure each row and print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch)) as service:
        tiny_gguf.write(Path(scratch, "models", DEFAULT_MODEL), size_bytes=MODEL_BYTES)
        service.server.wait_for(f"/models/{DEFAULT_MODEL}", within=PLENTY)
        for name, work in kinds(service):
            if words and not any(word in name for word in words):
                continue
            rows.append((name, *measured(service, work)))
            print(*rows[-1], sep=" | ", flush=True)
    heads = "work", "engine, MB", "service, MB", "both, MB", "CPU, s", "disk, MB"
    print_table("What each kind of work needs", heads, rows)


def kinds(service: Service) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of each kind of work, and the work."""
    yield "at rest", lambda: time.sleep(1)
    yield f"models: upload of {UPLOAD_BYTES // MB:.0f} MB, list, delete", service.upload
    yield "small page, 760 x 230, 4 lines", lambda: service.recognise(page((760, 230), 22, 4))
    for dots, lines in ((150, DENSE), (300, SPARSE), (300, DENSE), (600, SPARSE), (600, DENSE)):
        image = a4(dots, lines)
        yield f"A4, {dots} dpi, {lines} lines", partial(service.recognise, image)
    widest = {"upscale": "true", "auto_skew": "true"}
    yield f"A4, 600 dpi, {SPARSE} lines, upscale, auto_skew", lambda: service.recognise(a4(600, SPARSE), **widest)
    yield f"PDF, two pages of A4, 300 dpi, {SPARSE} lines", lambda: service.recognise(pdf(300))
    yield f"text model of {MODEL_BYTES // MB:.0f} MB, load", service.load
    yield f"text model of {MODEL_BYTES // MB:.0f} MB, load and one text", service.correct


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """Run the service."""
    (folder / "models").mkdir()
    state = folder / "state"
    limits = ("OCR_RECOGNITION_TIMEOUT", "OCR_ENGINE_CALL_TIMEOUT", "OCR_ENGINE_LOAD_TIMEOUT")
    settings = {"OCR_ENGINE_MEMORY_LIMIT": "0"} | dict.fromkeys(limits, "60m")
    with (
        Server.service(folder / "models", state, OCR_NATIVE_DIR=ROOT / "native", **settings) as server,
        httpx.Client(base_url=server.url, timeout=PLENTY) as client,
    ):
        server.wait_for("/readyz", within=PLENTY)
        yield Service(server, client, state)


def measured(service: Service, work: Callable[[], None]) -> tuple[str, ...]:
    """Do the work in a fresh engine process. Return the peaks of engine, service and both, CPU seconds and disk."""
    service.client.post("/engine/release").raise_for_status()
    service.server.wait_for("/readyz", since=time.perf_counter(), within=PLENTY)
    parties = [psutil.Process(service.client.get("/engine").json()["pid"]), psutil.Process(service.server.process.pid)]
    for party in parties:
        Path(f"/proc/{party.pid}/clear_refs").write_text("5")  # the peak is counted anew
    before = cpu_seconds(parties)
    with watched(service.state) as disk:
        work()
    if (pid := service.client.get("/engine").json()["pid"]) != parties[0].pid:
        sys.exit(f"the engine process was replaced by {pid} during the work")
    peaks = [peak_bytes(party) / MB for party in parties]
    shown = (*peaks, sum(peaks))
    return (*(f"{each:,.0f}" for each in shown), f"{cpu_seconds(parties) - before:.1f}", f"{disk[0] / MB:,.1f}")


def cpu_seconds(parties: list[psutil.Process]) -> float:
    """Return the CPU seconds, user and system, of the processes."""
    return sum(sum(party.cpu_times()[:2]) for party in parties)


def peak_bytes(process: psutil.Process) -> int:
    """Return the most resident memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@contextmanager
def watched(folder: Path) -> Iterator[list[int]]:
    """Yield a list whose only number is the most bytes that the files below the folder have held so far."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            held = 0
            for path in folder.rglob("*"):
                try:
                    held += path.lstat().st_blocks * 512
                except FileNotFoundError:  # it was removed meanwhile
                    continue
            most[0] = max(most[0], held)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        ended.set()
        watcher.join()


def a4(dots: int, lines: int) -> bytes:
    """Return a PNG of an A4 page, grey."""
    return page((round(A4[0] * dots), round(A4[1] * dots)), POINTS * dots // 72, lines, dots)


def page(size: tuple[int, int], points: int, lines: int, dots: int = 96) -> bytes:
    """Return a PNG of a page with this many lines, which run to the right edge."""
    return encoded(drawn(size, points, lines), dpi=(dots, dots))


def pdf(dots: int) -> bytes:
    """Return a PDF of two A4 pages."""
    size = round(A4[0] * dots), round(A4[1] * dots)
    one = drawn(size, POINTS * dots // 72, SPARSE)
    return encoded(one.convert("RGB"), "PDF", resolution=dots, save_all=True, append_images=[one.convert("RGB")])


def drawn(size: tuple[int, int], points: int, lines: int) -> Image.Image:
    """Draw a page."""
    image, letters = Image.new("L", size, 255), ImageFont.load_default(points)
    for number in range(lines):
        place = points * 2, points * 2 + number * points * 1.25
        ImageDraw.Draw(image).text(place, LINE.format(number), fill=0, font=letters)
    return image


if __name__ == "__main__":
    main(sys.argv[1:])
