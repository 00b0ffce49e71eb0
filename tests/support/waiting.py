"""Waiting for what must come, with a deadline that a busy machine moves.

What a test promises, such as a list that is right within a second, is to hold on a machine that has a core for whoever
needs one. So time in which somebody waited for a core does not count, up to a limit.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")

STEP_SECONDS = 0.01
BUSY_FACTOR = 10
"""How much longer than it says a deadline may become."""
PRESSURE = Path("/proc/pressure/cpu")


class Deadline:
    """So many seconds from now, not counting those in which some process of this machine waited for a core."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began, self._waited = time.monotonic(), _seconds_waited()

    @property
    def is_over(self) -> bool:
        """Whether they are over."""
        elapsed, waited = time.monotonic() - self._began, _seconds_waited()
        if waited is None or self._waited is None:
            return elapsed >= self._seconds * BUSY_FACTOR
        return elapsed >= min(self._seconds + waited - self._waited, self._seconds * BUSY_FACTOR)


def _seconds_waited() -> float | None:
    """For how long somebody has waited for a core since the boot, or None where the kernel does not tell."""
    try:
        some = PRESSURE.read_text().partition("\n")[0]
    except OSError:
        return None
    return int(some.rpartition("total=")[2]) / 1e6


def eventually(probe: Callable[[], T | Literal[False] | None], *, within: float = 5.0) -> T:
    """Ask until the answer is true, and return it; fail when it is not within that many seconds."""
    deadline = Deadline(within)
    while not (answer := probe()):
        assert not deadline.is_over, f"not within {within} s: {probe}"
        time.sleep(STEP_SECONDS)
    return answer


async def eventually_async(probe: Callable[[], T | Literal[False] | None], *, within: float = 5.0) -> T:
    """The same on an event loop."""
    deadline = Deadline(within)
    while not (answer := probe()):
        assert not deadline.is_over, f"not within {within} s: {probe}"
        await asyncio.sleep(STEP_SECONDS)
    return answer
