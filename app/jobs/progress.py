"""The progress of a job: its counts, its rate and the time that remains."""

import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

PROGRESS_INTERVAL_SECONDS = 0.25
"""How often a runner writes progress and looks for a cancellation, and how often a reader looks for new progress."""
WINDOW_SECONDS = 10.0
"""The rate is an average over this time: long enough to hide a slow second, short enough to show a stall."""

Unit = Literal["bytes", "items"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How many units are done, of how many."""

    done: int = 0
    total: int | None = None
    """None while it is unknown."""
    unit: Unit = "bytes"
    rate: float | None = None
    """Units a second, recently."""
    eta_seconds: float | None = None
    """How long the rest takes at that rate; None while it is unknown."""


class Meter:
    """Computes progress from counts. It keeps the recent counts, from which it computes the rate.

    Bytes come all the time, so that the rate falls while none come. Items come rarely, so that it changes with an item.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._seen: deque[tuple[float, int]] = deque()
        self._last = Progress(unit=unit)

    def at(self, done: int, total: int | None) -> Progress:
        """Return the progress now. A count lower than the last one starts the measurement again."""
        if self._unit == "items" and self._seen and (done, total) == (self._last.done, self._last.total):
            return self._last
        now = time.monotonic()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_SECONDS:  # noqa: PLR2004 - a rate takes two
            self._seen.popleft()
        began, before = self._seen[0]
        rate = (done - before) / (now - began) if now > began else None
        eta_seconds = (total - done) / rate if rate and total is not None else None
        self._last = Progress(done, total, self._unit, _rounded(rate), _rounded(eta_seconds))
        return self._last


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
