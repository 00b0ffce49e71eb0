"""How long recent turns took, by the kind of work, and so how long waiting turns are expected to take."""

from collections import deque
from collections.abc import Iterable
from statistics import fmean

RECENT = 20
"""How many turns of each kind of work are remembered, so that the mean follows what is asked for now."""
MOST_KINDS = 50
"""How many kinds of work are told apart. There are as many as the engine has functions."""


class TurnTimes:
    """Remembers the seconds of recent turns, and estimates those of coming ones."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}

    def note(self, work: str, seconds: float) -> None:
        """Remember how long a turn with this kind of work took."""
        if work in self._recent or len(self._recent) < MOST_KINDS:
            self._recent.setdefault(work, deque(maxlen=RECENT)).append(seconds)

    def expected(self, work: str) -> float | None:
        """Return the mean seconds of recent turns with this kind of work: also of failed ones, as coming ones may fail.

        If none has ended yet, the mean of all kinds; None if no turn has ended at all.
        """
        if recent := self._recent.get(work):
            return fmean(recent)
        every = [seconds for recent in self._recent.values() for seconds in recent]
        return fmean(every) if every else None

    def total(self, works: Iterable[str]) -> float | None:
        """Return the expected seconds of several turns together; None if no turn has ended yet."""
        found = [self.expected(work) for work in works]
        known = [seconds for seconds in found if seconds is not None]
        return sum(known) if len(known) == len(found) else None
