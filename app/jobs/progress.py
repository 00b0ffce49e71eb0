"""The progress of a job: its counts, its rate and its remaining time."""

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from app.store.records.forms import Finite, Size

PROGRESS_INTERVAL_SECONDS = 0.25
"""The seconds between two writes of a job's progress, which include a check for cancellation, and between two reads."""
WINDOW_SECONDS = 10.0
"""The seconds over which the rate of bytes is averaged: enough to smooth a slow second, few enough to show a stall."""

TENTHS_FROM = 100.0
"""Numbers from this value on are rounded to tenths, smaller numbers to three digits."""

ProgressUnit = Literal["bytes", "items"]
"""What a progress counts: `bytes` of a pull, `items` (files or texts) of another job."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job at one moment."""

    done: Size = 0
    """How many bytes, files or texts are done; `unit` says which."""
    total: Size | None = None
    """How many bytes, files or texts there are; None while the total is unknown."""
    unit: ProgressUnit = "bytes"
    """What is counted: `bytes` of a pull, `items` of a job on files or texts."""
    rate: Finite | None = None
    """Bytes a second over the last WINDOW_SECONDS, or items a second over the last results in the job's log; None
    while there is no rate."""
    eta_seconds: Finite | None = None
    """The remaining time at the present rate, in seconds; None while the rate or the total is unknown."""


def aged(progress: Progress, seconds: float) -> Progress:
    """Return the progress of items `seconds` after the last of them was done.

    Items that take longer than the rate promises are not counted: the remaining time falls by one item at most.
    """
    if progress.unit != "items" or not progress.rate or progress.eta_seconds is None:
        return progress
    passed = min(max(0.0, seconds), 1 / progress.rate)
    return replace(progress, eta_seconds=rounded(max(0.0, progress.eta_seconds - passed)))


class Meter:
    """Computes a job's progress from its counts, and the rate from its recent counts.

    The rate of bytes falls while no byte arrives. The rate of items, which finish rarely, changes only with an item.
    """

    def __init__(self, unit: ProgressUnit) -> None:
        self._unit = unit
        self._seen: deque[tuple[float, int]] = deque()
        self._last = Progress(unit=unit)

    def at(self, done: int, total: int | None) -> Progress:
        """Return the progress for the present counts. If `done` is lower than before, the rate is measured anew."""
        if self._unit == "items" and self._seen and (done, total) == (self._last.done, self._last.total):
            return self._last
        now = time.monotonic()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_SECONDS:  # noqa: PLR2004 - a rate needs two counts
            self._seen.popleft()
        began, before = self._seen[0]
        if done == before and self._last.rate is None:
            # Before the first unit there is no rate. The time until the first unit counts.
            rate = None
        else:
            rate = (done - before) / (now - began) if now > began else None
        eta_seconds = (total - done) / rate if rate and total is not None else None
        self._last = Progress(done, total, self._unit, rounded(rate), rounded(eta_seconds))
        return self._last


def rounded(value: float | None) -> float | None:
    """Round to three significant digits, and numbers from TENTHS_FROM on to tenths. Slow items have rates below 0.1."""
    if value is None:
        return None
    return round(value, 1) if value >= TENTHS_FROM else float(f"{value:.3g}")
