"""Runs the service under mixed work, and measures whether memory, descriptors, threads and `.store/` stay flat.

    SOAK_SECONDS=1800 python benchmarks/soak.py

The service is `python -m app serve` with the real AsposeAI, llama.cpp and a model that the benchmark writes. Callers
upload, download, verify, delete, restore, pull, load the model, process texts, recognise pages and release the engine
(`soak_callers.py`). Retentions are seconds, so that trash, partial files and jobs expire during the run. Each second
the service is measured. The first quarter is the warm-up. What is judged: the median of the last quarter against the
median of the second quarter (`soak_judgement.py`). Exits with 1 if something grew, or if an answer was unexpected.

| variable | default | what it is |
|---|---|---|
| `SOAK_SECONDS` | 120 | how long the callers run |
| `SOAK_PAUSE` | 0.05 | seconds that a caller waits after each request |
| `SOAK_SAMPLES` | none | a file for the samples, one JSON object a line |
| `SOAK_PLOT` | none | a file for the plot, an SVG picture |
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from common import ROOT, Server, print_table
from soak_callers import CALLERS, Caller
from soak_judgement import judged
from soak_plot import write_plot

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.files import tiny_gguf

SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
PAUSE_SECONDS = float(os.environ.get("SOAK_PAUSE", "0.05"))
SAMPLE_SECONDS = 1.0
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
                samples, callers = run(folder, source_url)
            finally:
                source.shutdown()
    return report(samples, callers)


def run(folder: Path, source_url: str) -> tuple[list[Sample], list[Caller]]:
    """Run the service and the callers. Return the samples, and the callers with what they counted."""
    settings = {
        "OCR_NATIVE_DIR": ROOT / "native",
        "OCR_PULL_ALLOWED_URLS": source_url,
        "OCR_TRASH_RETENTION": "10s",
        "OCR_JOB_RETENTION": "10s",
        "OCR_PARTIAL_RETENTION": "10s",
    }
    with Server.service(folder / "models", folder / "state", **settings) as server:
        server.wait_for("/readyz")
        callers = [kind(server.url, source_url, PAUSE_SECONDS) for kind in CALLERS]
        is_over = threading.Event()
        with ThreadPoolExecutor(len(callers)) as threads:
            running = [threads.submit(caller.live, is_over) for caller in callers]
            try:
                samples = measure(server.process.pid, folder)
            finally:
                is_over.set()
            for each in running:
                each.result()
    return samples, callers


def measure(pid: int, folder: Path) -> list[Sample]:
    """Measure the service every second until the time is over."""
    service, began, samples = psutil.Process(pid), time.monotonic(), []
    while (seconds := time.monotonic() - began) < SECONDS:
        samples.append(sample(service, folder, seconds))
        time.sleep(SAMPLE_SECONDS)
    return samples


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


def report(samples: list[Sample], callers: list[Caller]) -> int:
    """Print what was done and what was measured, write the files, and return the exit status."""
    rows = [asdict(each) for each in samples]
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
    verdicts = judged(rows)
    print_table(
        "Medians of a quarter of the run",
        ("", "second quarter", "last quarter", "allowed", ""),
        [each.as_row() for each in verdicts],
    )
    wrong = [sentence for caller in callers for sentence in caller.wrong]
    for sentence in wrong[:20]:
        print(f"unexpected: {sentence}")
    return 0 if not wrong and all(each.is_flat for each in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
