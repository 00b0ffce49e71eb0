"""Measures a scan of 100,000 models, and the memory that a list of them takes.

    python benchmarks/scans.py

Takes a minute. The floor is `os.scandir` and a `stat` of each entry, in the same process and the same rounds.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from common import Server, fill, median_ratio, print_table, settled

from app.store.volume.scan import rescan, scan

COUNT, FOLDERS = 100_000, 100
ROUNDS = 9


def scan_by_hand(folder: Path) -> int:
    """Count the files in a folder with `os.scandir` and a `stat` of each, and keep nothing."""
    count, folders = 0, [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    count += 1
    return count


def milliseconds(work: Callable[[], object]) -> float:
    """Return the milliseconds that a call takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def scan_rows(name: str, models: Path) -> list[list[str]]:
    """Return the rows of the times of a scan, of a partial scan, and of the floor."""
    inventory = scan(models)
    if len(inventory.models) != COUNT:
        sys.exit(f"the scan found {len(inventory.models)} models, not {COUNT}")
    some = list(inventory.models)[:: COUNT // 10]
    works: dict[str, Callable[[], object]] = {
        "os.scandir and stat": lambda: scan_by_hand(models),
        "scan": lambda: scan(models),
        "a look at 10 of them": lambda: rescan(models, inventory, some),
    }
    taken: dict[str, list[float]] = {work: [] for work in works}
    for number in range(ROUNDS + 1):
        for work in works if number % 2 else reversed(works):
            each = milliseconds(works[work])
            if number:
                taken[work].append(each)
    floor = taken["os.scandir and stat"]
    return [
        [
            f"{name}: {work}",
            f"{statistics.median(each):.0f}",
            f"{min(each):.0f}",
            f"{statistics.median(each) * 1000 / COUNT:.1f}",
            f"{median_ratio(each, floor):.2f}x",
        ]
        for work, each in taken.items()
    ]


def memory_rows(models: Path, state: Path) -> list[list[str]]:
    """Return the rows of the resident memory of the service, without its engine process."""
    with Server.service(models, state, OCR_ENGINE_CLASS="tests.support.engines:Echo") as server:
        service = psutil.Process(server.process.pid)
        rows: list[tuple[str, int]] = []
        server.wait_for("/readyz")
        settled(lambda: server.get("/models?limit=1")[1])
        rows.append(("known, a page of 1 asked for", service.memory_info().rss))
        body = server.get("/models")[1]
        rows.append((f"the whole list asked for, {len(body) / 1e6:.0f} MB", service.memory_info().rss))
        for number in range(10):
            (models / f"another-{number}.bin").touch()
            while json.loads(server.get("/models?limit=1")[1])["count"] != COUNT + number + 1:
                time.sleep(0.02)
            server.get("/models")
        rows.append(("10 changes, and the whole list after each", service.memory_info().rss))
        high = int(Path(f"/proc/{service.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
        rows.append(("the most at any time", high))
    return [[name, f"{rss / 1e6:.0f}"] for name, rss in rows]


def main() -> None:
    """Run the scans, measure the memory, and print the tables."""
    with tempfile.TemporaryDirectory() as scratch:
        flat = fill(Path(scratch, "flat"), COUNT)
        deep = Path(scratch, "deep")
        for folder in range(FOLDERS):
            fill(deep / f"org_repo-{folder}", COUNT // FOLDERS)
        rows = [*scan_rows("one folder", flat), *scan_rows(f"{FOLDERS} folders", deep)]
        few = fill(Path(scratch, "few"), 10)
        with Server.service(few, Path(scratch, "s1"), OCR_ENGINE_CLASS="tests.support.engines:Echo") as server:
            server.wait_for("/readyz")
            at_rest = psutil.Process(server.process.pid).memory_info().rss
        memory = [["10 models", f"{at_rest / 1e6:.0f}", ""]]
        for name, megabytes in memory_rows(flat, Path(scratch, "s2")):
            each = (float(megabytes) * 1e6 - at_rest) / COUNT
            memory.append([f"{COUNT:,} models, {name}", megabytes, f"{each:,.0f}"])
    print_table(
        f"Milliseconds to scan {COUNT:,} files in the kernel's cache, {ROUNDS} interleaved rounds; "
        "ratios are medians of the rounds' ratios",
        ("", "median", "least", "µs a file", "against the floor"),
        rows,
    )
    print_table("Resident memory of the service, MB", ("", "MB", "bytes a model"), memory)


if __name__ == "__main__":
    main()
