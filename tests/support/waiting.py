"""Waits for a condition with a deadline that a busy machine extends.

A test's promise, such as a correct list within a second, is for a machine with a free core for each process and a disk
that answers at once. So time in which some process waited for a core, the disk or memory does not count, up to a limit;
nor does time that the hypervisor gave to other machines.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")

STEP_SECONDS = 0.01
BUSY_FACTOR = 10
"""The most by which a busy machine can extend a deadline, as a factor."""
PRESSURES = tuple(Path("/proc/pressure") / of for of in ("cpu", "io", "memory"))
KERNEL_STATISTICS = Path("/proc/stat")
USUAL_SECONDS = 30.0
"""The deadline of an event for which a test has no promise, only a limit so that it ends."""


class Deadline:
    """A deadline some seconds from now. Time in which this machine was busy does not count."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began, self._waited = time.monotonic(), _seconds_waited()

    @property
    def is_over(self) -> bool:
        """True if the deadline has passed."""
        elapsed, waited = time.monotonic() - self._began, _seconds_waited()
        if waited is None or self._waited is None:
            return elapsed >= self._seconds * BUSY_FACTOR
        return elapsed >= min(self._seconds + waited - self._waited, self._seconds * BUSY_FACTOR)


def _seconds_waited() -> float | None:
    """Return how long processes have waited for a core, the disk or memory since the boot, and this machine for its
    hypervisor; None if the kernel does not tell.
    """
    try:
        return sum(map(_microseconds_of, PRESSURES)) / 1e6 + _seconds_stolen()
    except OSError:
        return None


def _microseconds_of(pressure: Path) -> int:
    some = pressure.read_text().partition("\n")[0]
    return int(some.rpartition("total=")[2])


def _seconds_stolen() -> float:
    """Return for how long the hypervisor has run other machines on this machine's cores, added up over the cores."""
    every_core = KERNEL_STATISTICS.read_text().partition("\n")[0].split()
    return int(every_core[8]) / os.sysconf("SC_CLK_TCK")


def eventually(probe: Callable[[], T | Literal[False] | None], *, within: float = USUAL_SECONDS) -> T:
    """Call `probe` until its result is true, and return the result. Fails after `within` seconds."""
    deadline = Deadline(within)
    while not (answer := probe()):
        assert not deadline.is_over, f"not within {within} s: {probe}"
        time.sleep(STEP_SECONDS)
    return answer


def file_sizes(folder: Path, pattern: str = "*") -> list[int]:
    """Return the sizes of the files in a folder that others change meanwhile. A file that is removed is left out."""
    sizes = list[int]()
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sizes


async def eventually_async(probe: Callable[[], T | Literal[False] | None], *, within: float = USUAL_SECONDS) -> T:
    """Call `probe` until its result is true, and return the result, on an event loop. Fails after `within` seconds."""
    deadline = Deadline(within)
    while not (answer := probe()):
        assert not deadline.is_over, f"not within {within} s: {probe}"
        await asyncio.sleep(STEP_SECONDS)
    return answer
