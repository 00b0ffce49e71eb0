"""Waits for a condition with a deadline that a busy machine extends.

A test's promise, such as a correct list within a second, is for a machine with a free core for each process. So time in
which some process waited for a core does not count, up to a limit.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")

STEP_SECONDS = 0.01
BUSY_FACTOR = 10
"""The most by which a busy machine can extend a deadline, as a factor."""
PRESSURE = Path("/proc/pressure/cpu")


class Deadline:
    """A deadline some seconds from now. Time in which a process of this machine waited for a core does not count."""

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
    """Return how long processes have waited for a core since the boot; None if the kernel does not tell."""
    try:
        some = PRESSURE.read_text().partition("\n")[0]
    except OSError:
        return None
    return int(some.rpartition("total=")[2]) / 1e6


def eventually(probe: Callable[[], T | Literal[False] | None], *, within: float = 5.0) -> T:
    """Call `probe` until its result is true, and return the result. Fails after `within` seconds."""
    deadline = Deadline(within)
    while not (answer := probe()):
        assert not deadline.is_over, f"not within {within} s: {probe}"
        time.sleep(STEP_SECONDS)
    return answer


async def eventually_async(probe: Callable[[], T | Literal[False] | None], *, within: float = 5.0) -> T:
    """Call `probe` until its result is true, and return the result, on an event loop. Fails after `within` seconds."""
    deadline = Deadline(within)
    while not (answer := probe()):
        assert not deadline.is_over, f"not within {within} s: {probe}"
        await asyncio.sleep(STEP_SECONDS)
    return answer
