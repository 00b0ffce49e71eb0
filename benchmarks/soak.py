"""Runs the service under mixed work, and measures whether memory, descriptors, threads and `.store/` stay flat.

    SOAK_SECONDS=1800 python benchmarks/soak.py

The service is `python -m app serve` with the real AsposeAI, llama.cpp and a model that the benchmark writes. Callers
upload, download, verify, delete, restore, pull, load the model, process texts, recognise pages and release the engine
(`soak_callers.py`). Retentions are seconds, so that trash, partial files and jobs expire during the run. Each second
the service is measured. The first quarter is the warm-up. After it, and at the end, the callers pause until trash,
uploads and jobs have expired, and what the idle service uses is measured too. `soak_judgement.py` judges: the idle
service at the end against that after the warm-up and, in a run of ten minutes or more, the median of the last quarter
against that of the second quarter. Exits with 1 if something grew, or if an answer was unexpected.

| variable | default | what it is |
|---|---|---|
| `SOAK_SECONDS` | 120 | how long the callers run, without the two pauses |
| `SOAK_PAUSE` | 0.05 | seconds that a caller waits after each request |
| `SOAK_SAMPLES` | none | a file for the samples, one JSON object a line |
| `SOAK_PLOT` | none | a file for the plot, an SVG picture |
"""

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
from common import ROOT, Server, print_table
from soak_callers import CALLERS, ROUNDS, Caller
from soak_judgement import judged, judged_idle
from soak_plot import write_plot

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.files import tiny_gguf

SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
PAUSE_SECONDS = float(os.environ.get("SOAK_PAUSE", "0.05"))
SAMPLE_SECONDS = 1.0
LONG_SECONDS = 600.0
"""Quarters of shorter runs are not compared: they differ by what else the machine does."""
EXPIRING = ("/trash", "/uploads", "/pulls", "/ocr/jobs")
"""The lists that are empty some seconds after the callers have stopped."""
IDLE_SECONDS = 300.0
"""How long these lists may take to become empty: a sweep pauses for as long as a busy disk makes it."""
IDLE_SAMPLES = 5
MB = 1e6


@dataclass(frozen=True)
class Sample:
    """What the service used at one moment."""

    seconds: float
    """Since the callers began."""
    service_mb: float
    """The private memory of the service's process."""
    engine_mb: float | None
    """The private memory of the engine process; None while there is none."""
    descriptors: int
    threads: int
    store_files: int
    """Files and folders in `.store/`."""
    store_mb: float
    """Their bytes without the journal, which grows to 8 MiB and is then renamed."""
    journal_mb: float
    state_files: int
    """Files and folders in the state folder, where the engine process works."""


class SourceServer(ThreadingHTTPServer):
    """The server that models are pulled from."""

    def handle_error(self, *_: object) -> None:
        """Print nothing: a pull may close its connection before the end of the file."""


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves the files that are pulled, without a log."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def main() -> int:
    """Run the callers, print the tables, write the files, and return the exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tiny_gguf.write(folder / "models" / DEFAULT_MODEL)
        (folder / "source").mkdir()
        (folder / "source" / "pulled.bin").write_bytes(os.urandom(300_000))
        handler = partial(QuietHandler, directory=str(folder / "source"))
        with SourceServer(("127.0.0.1", 0), handler) as source:
            threading.Thread(target=source.serve_forever, daemon=True).start()
            source_url = f"http://127.0.0.1:{source.server_port}/"
            try:
                soak = run(folder, source_url)
            finally:
                source.shutdown()
    return report(soak)


@dataclass(frozen=True)
class Soak:
    """What one run has measured."""

    samples: list[Sample]
    """While the callers worked."""
    idle: tuple[Sample, Sample]
    """After the warm-up, and at the end."""
    callers: Sequence[Caller]


def run(folder: Path, source_url: str) -> Soak:
    """Run the service and the callers."""
    settings: dict[str, str | Path] = {
        "OCR_NATIVE_DIR": ROOT / "native",
        "OCR_PULL_ALLOWED_URLS": source_url,
        "OCR_TRASH_RETENTION": "10s",
        "OCR_JOB_RETENTION": "10s",
        "OCR_PARTIAL_RETENTION": "10s",
    }
    with Server.service(folder / "models", folder / "state", **settings) as server:
        server.wait_for("/readyz")
        callers = [kind(server.url, source_url, PAUSE_SECONDS) for kind in CALLERS]
        meter = Meter(psutil.Process(server.process.pid), folder)
        before = work(callers, SECONDS / 4, ROUNDS, server.url, meter)
        after = work(callers, SECONDS * 3 / 4, 1, server.url, meter)
    return Soak(meter.samples, (before, after), callers)


def work(callers: Sequence[Caller], seconds: float, rounds: int, url: str, meter: "Meter") -> Sample:
    """Let the callers work for some seconds, and for so many rounds at least, and measure meanwhile.

    Return what the service uses when it is idle again.
    """
    is_over, began = threading.Event(), time.monotonic()
    with ThreadPoolExecutor(len(callers)) as threads:
        running = [threads.submit(caller.live, is_over, rounds) for caller in callers]
        while time.monotonic() - began < seconds or not all(each.done() for each in running):
            meter.measure()
            time.sleep(SAMPLE_SECONDS)
            if time.monotonic() - began >= seconds:
                is_over.set()
        for each in running:
            each.result()
    wait_until_idle(url)
    return meter.idle()


def wait_until_idle(url: str) -> None:
    """Release the engine, and wait until it is ready again and all that expires has expired.

    An engine that was used has leases, and so descriptors.
    """
    deadline = time.monotonic() + IDLE_SECONDS
    with httpx.Client(base_url=url, timeout=300) as client:
        client.post("/engine/release").raise_for_status()
        while left := unfinished(client):
            if time.monotonic() > deadline:
                sys.exit(f"After {IDLE_SECONDS:.0f} s there are still: {', '.join(left)}")
            time.sleep(SAMPLE_SECONDS)


def unfinished(client: httpx.Client) -> list[str]:
    """Return the lists that are not empty yet, and the probe if the service is not ready."""
    return [path for path in EXPIRING if client.get(path).json()["count"]] + [
        path for path in ("/readyz",) if client.get(path).status_code != 200
    ]


class Meter:
    """Measures the service, and keeps what it measured while the callers worked."""

    def __init__(self, service: psutil.Process, folder: Path) -> None:
        self.samples: list[Sample] = []
        self._service, self._folder, self._began = service, folder, time.monotonic()

    def measure(self) -> None:
        """Measure the service once."""
        self.samples.append(sample(self._service, self._folder, time.monotonic() - self._began))

    def idle(self) -> Sample:
        """Return what the service uses within some seconds: the median of its memory, and the least of the rest.

        A sweep needs descriptors while it runs. While a process is being forked, hardly any memory is private.
        """
        found = []
        for _ in range(IDLE_SAMPLES):
            time.sleep(SAMPLE_SECONDS)
            found.append(sample(self._service, self._folder, time.monotonic() - self._began))
        least = {name: min(asdict(each)[name] or 0 for each in found) for name in asdict(found[0])}
        return Sample(**least | {"service_mb": statistics.median(each.service_mb for each in found)})


def sample(service: psutil.Process, folder: Path, seconds: float) -> Sample:
    """Measure the service once."""
    files, size, journal = sizes_below(folder / "models" / ".store")
    return Sample(
        seconds=round(seconds, 1),
        service_mb=round(service.memory_full_info().uss / MB, 2),
        engine_mb=engine_memory(service),
        descriptors=service.num_fds(),
        threads=service.num_threads(),
        store_files=files,
        store_mb=round(size / MB, 3),
        journal_mb=round(journal / MB, 3),
        state_files=sizes_below(folder / "state")[0],
    )


def engine_memory(service: psutil.Process) -> float | None:
    """Return the private memory of the engine process in MB; None if it has just ended."""
    try:
        children = service.children(recursive=True)
        return round(sum(child.memory_full_info().uss for child in children) / MB, 2) if children else None
    except psutil.Error:
        return None


def sizes_below(folder: Path) -> tuple[int, int, int]:
    """Return how many files and folders are below a folder, their bytes without the journal, and the journal's."""
    count, size, journal = 0, 0, 0
    for root, folders, files in os.walk(folder):
        count += len(folders) + len(files)
        for name in files:
            try:
                held = os.stat(os.path.join(root, name), follow_symlinks=False).st_size  # noqa: PTH116, PTH118
            except FileNotFoundError:  # removed meanwhile
                continue
            if name.startswith("journal"):
                journal += held
            else:
                size += held
    return count, size, journal


def report(soak: Soak) -> int:
    """Print what was done and what was measured, write the files, and return the exit status."""
    rows, idle, callers = [asdict(each) for each in soak.samples], [asdict(each) for each in soak.idle], soak.callers
    if path := os.environ.get("SOAK_SAMPLES"):
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    if path := os.environ.get("SOAK_PLOT"):
        write_plot(Path(path), rows)
    done = sum((caller.done for caller in callers), Counter[str]())
    print_table(
        f"Requests of {len(callers)} callers in {SECONDS:.0f} s",
        ("what", "done"),
        [(what, f"{count:,}") for what, count in sorted(done.items())],
    )
    print(f"Requests that were answered 503 and sent again: {sum(caller.again for caller in callers)}")
    verdicts = judged_idle(idle[0], idle[1])
    heads = ("idle service", "after the warm-up", "at the end", "allowed", "")
    print_table("The service without work", heads, [each.as_row() for each in verdicts])
    if SECONDS >= LONG_SECONDS:
        verdicts += judged(rows)
        heads = ("", "second quarter", "last quarter", "allowed", "")
        print_table("Medians of a quarter of the run", heads, [each.as_row() for each in judged(rows)])
    wrong = [sentence for caller in callers for sentence in caller.wrong]
    for sentence in wrong[:20]:
        print(f"unexpected: {sentence}")
    return 0 if not wrong and all(each.is_flat for each in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
