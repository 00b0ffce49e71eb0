"""How far a job is, and how fast it goes."""

import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

WINDOW_SECONDS = 10.0
"""The rate is that of the last so many seconds: a stall shows, and one slow second does not."""

Unit = Literal["bytes", "items"]


@dataclass(frozen=True, slots=True)
class Progress:
    """What is done of what there is to do."""

    done: int = 0
    total: int | None = None
    """None while nobody knows."""
    unit: Unit = "bytes"
    rate: float | None = None
    """Units a second, lately."""
    eta_seconds: float | None = None
    """How long the rest takes at that rate; None while it cannot be said."""


class Meter:
    """Makes progress of counts: it keeps the few that a rate takes."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, done: int, total: int | None) -> Progress:
        """The progress now. Fewer done than before is a new beginning."""
        now = time.monotonic()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_SECONDS:  # noqa: PLR2004 - a rate takes two
            self._seen.popleft()
        began, before = self._seen[0]
        rate = (done - before) / (now - began) if now > began else None
        eta_seconds = (total - done) / rate if rate and total is not None else None
        return Progress(done, total, self._unit, _rounded(rate), _rounded(eta_seconds))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
