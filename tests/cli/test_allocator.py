"""The arenas of glibc's memory allocator, as /proc shows them: an arena is mapped as a part of 64 MiB of addresses."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.service import ECHO, ROOT, RunningService

ARENA_BYTES = 64 << 20
THREADS = """
import os, threading
from app.cli.serving.allocator import use_one_arena
use_one_arena(os.environ)
reached = threading.Barrier(5)
def allocate():
    kept = [bytes(2000) for _ in range(100)]
    reached.wait()
    reached.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
reached.wait()
print(open("/proc/self/maps").read(), flush=True)
reached.wait()
"""

HOLES = """
import ctypes, time
from pathlib import Path
from app.cli.serving.allocator import keep_trimmed
def resident_bytes(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
kept = [(bytearray(20_000), bytes(600)) for _ in range(5000)]
for number, (_, small) in enumerate(kept): kept[number] = small
before = resident_bytes()
keep_trimmed(0.05)
deadline = time.monotonic() + 60
while resident_bytes() > before - 50_000_000 and time.monotonic() < deadline: time.sleep(0.05)
print(before - resident_bytes())
"""
"""Frees 100 MB of which nothing is at the end of the arena."""


def arenas_in(maps: str) -> int:
    """Return how many arenas besides the first one a process has: each fills an aligned part of 64 MiB."""
    found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) (rw-p|---p) 00000000 00:00 0 *$", maps, re.MULTILINE)
    parts = [(int(start, 16), int(end, 16), kind) for start, end, kind in found]
    reserved = {start: end for start, end, kind in parts if kind == "---p"}
    used = [(start, end) for start, end, kind in parts if kind == "rw-p"]
    return sum(start % ARENA_BYTES == 0 and reserved.get(end, 0) - start == ARENA_BYTES for start, end in used)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    """Yield a service in a new process: one that is forked from the tests' server has that process's arenas."""
    with RunningService(tmp_path, wrapper=("env",), engine_class=ECHO) as running:
        yield running.wait_until_ready()


def test_the_threads_of_the_service_share_one_arena(service: RunningService) -> None:
    """After changes by several threads at once, the service has no arenas for single threads.

    What one thread freed could not be used by the next one otherwise, and the process grew for hours.
    """

    def change(number: int) -> None:
        for _ in range(5):
            service.client.put(f"/models/{number}.bin", content=bytes(100_000)).raise_for_status()
            service.client.delete(f"/models/{number}.bin").raise_for_status()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(change, range(3)))

    assert arenas_in(Path(f"/proc/{service.process.pid}/maps").read_text()) == 0


@pytest.mark.parametrize(
    ("limit", "has_more"),
    [({}, False), ({"MALLOC_ARENA_MAX": "4"}, True), ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}, True)],
)
def test_an_operators_own_limit_is_kept(limit: dict[str, str], has_more: bool) -> None:  # noqa: FBT001 - a parameter
    """Where the operator limits the arenas, this limit counts."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MALLOC_ARENA_MAX", "GLIBC_TUNABLES"}
    }
    command = [sys.executable, "-c", THREADS]
    ran = subprocess.run(command, cwd=ROOT, env=environment | limit, check=True, capture_output=True, text=True)

    assert (arenas_in(ran.stdout) > 0) is has_more


def test_free_memory_is_given_back() -> None:
    """Memory that is free between objects that live on goes back to the system."""
    ran = subprocess.run([sys.executable, "-c", HOLES], cwd=ROOT, check=True, capture_output=True, text=True)

    assert int(ran.stdout) > 50_000_000


def test_a_service_gives_free_memory_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among the threads of the service, which Python lists when it is aborted, is the one that gives memory back."""
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    with RunningService(tmp_path, wrapper=("env",), engine_class=ECHO) as running:
        running.stop(signal.SIGABRT)
        (file,) = running.state_dir.glob("fault-*.txt")

    assert "in _trim" in file.read_text()
