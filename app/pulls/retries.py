"""Repeats failed attempts of a pull: limits their number, makes pauses, and notices progress between failures."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from app.errors import SourceUnavailable

LONGEST_PAUSE_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 600.0
"""The longest pause, in seconds, that a source may ask for. A longer pause fails the pull."""

T = TypeVar("T")
Waiting = Callable[[], AbstractAsyncContextManager[object]]
"""Returns a context manager in which a pull waits, and which may give the pull's slot to other pulls meanwhile."""
OnRetry = Callable[[SourceUnavailable, float], None]
"""Receives each failure that is retried, and the pause before the next attempt in seconds."""


@dataclass(frozen=True, slots=True)
class PullLimits:
    """The limits on the retries, the rate and the size of a pull, and on the age of its partial files."""

    retries: int
    """How many failures in a row are retried, and how often a file's download may start over."""
    pause_seconds: float
    """The pause before the first retry; each further pause is twice as long."""
    partial_retention: timedelta
    """How long a partial file is kept after its last byte when no process runs the pull."""
    min_rate: int = 0
    """How many bytes a second a source must send; 0 for any rate."""
    rate_seconds: float = 60.0
    """The time over which the rate is averaged, in seconds."""
    max_bytes: int = 0
    """The largest file in bytes; 0 for no limit but the disk."""
    idle_seconds: float = 5.0
    """For how many seconds a pull may receive less than the least rate before it gives its slot to another pull."""


class Retries:
    """Repeats the attempts of one pull while its source is unavailable, up to the limits."""

    def __init__(
        self,
        limits: PullLimits,
        position: Callable[[], int],
        *,
        waiting: Waiting = nullcontext,
        on_retry: OnRetry = lambda *_: None,
    ) -> None:
        """`position` returns how many bytes have arrived. `waiting` is entered during each pause."""
        self._limits = limits
        self._position = position
        self._waiting = waiting
        self._on_retry = on_retry

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call `attempt` until it succeeds, and return its result.

        Only SourceUnavailable leads to a retry. When no retry is left, the last SourceUnavailable is raised.

        Failures are counted anew only after bytes beyond the best position so far have arrived, at the least rate or
        faster. Otherwise a source that always breaks off at the same place, or sends a byte at a time, would be retried
        for ever.
        """
        failures, best, since = 0, self._position(), time.monotonic()
        while True:
            try:
                return await attempt()
            except SourceUnavailable as exc:
                gained, seconds = self._position() - best, time.monotonic() - since
                is_progress = gained > 0 and gained >= self._limits.min_rate * seconds
                failures = 1 if is_progress else failures + 1
                best, since = max(best, self._position()), time.monotonic()
                pause_seconds = self._pause(failures, exc)
                if failures > self._limits.retries or pause_seconds > LONGEST_RETRY_AFTER_SECONDS:
                    raise
                self._on_retry(exc, pause_seconds)
            async with self._waiting():
                await asyncio.sleep(pause_seconds)

    def _pause(self, failures: int, exc: SourceUnavailable) -> float:
        """Return the next pause in seconds.

        The pause doubles after each failure, and is partly random, so that clients spread their retries.
        """
        longest = min(LONGEST_PAUSE_SECONDS, self._limits.pause_seconds * 2.0 ** (failures - 1))
        return max(exc.retry_after_seconds or 0.0, longest * random.uniform(0.5, 1.0))  # noqa: S311 - not used for a secret
