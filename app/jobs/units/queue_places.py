"""Where an unfinished job is among the units of all jobs, and when it is expected to end: estimates for its caller.

They follow the order in which services claim units (see `UnitQueue`), and the rates in the records of running jobs.
Services do not agree on the turns of API keys, and jobs of a higher priority may come later, so both are estimates.
"""

import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate

from app.jobs.folder import Jobs
from app.jobs.progress import rounded
from app.jobs.records import RANKS, Job, JobState
from app.jobs.units.kinds import ItemJobKind

LOOK_SECONDS = 1.0
"""For how many seconds the list of unfinished jobs is used before the folder is read again, but for a new job."""
STALE_SECONDS, STALE_UNITS = 30.0, 3.0
"""A job whose last result is older than this, and than so many units take at its rate, has no rate at present."""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """The place of an unfinished job in the queue of units."""

    units_ahead: int
    """How many units of other jobs come before the job's next unit."""
    expected_seconds: float | None
    """In how many seconds the job is expected to end; None if no rate is known."""


@dataclass(slots=True)
class _KeyLine:
    """The unfinished jobs of one API key that have the same priority, the oldest first."""

    ids: list[str] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    """How many units without a result each job has."""
    before: list[int] = field(default_factory=list)
    """How many units without a result come before each job, and at the end all of them."""
    has_begun: bool = False

    @property
    def total(self) -> int:
        return self.before[-1]

    def count_before(self, job_id: str) -> int:
        """Return how many units the jobs have that are older than this one, which need not be among them."""
        return self.before[bisect_left(self.ids, job_id)]


@dataclass(slots=True)
class _Snapshot:
    """The unfinished jobs at one moment."""

    lines: dict[int, dict[str, _KeyLine]] = field(default_factory=dict)
    """By the rank of the priority, and the name of the API key."""
    job_ids: set[str] = field(default_factory=set)
    rate: float = 0.0
    """How many units a second all services do together; 0 if that is unknown."""
    seconds: float = 0.0
    """How long ago the last result of the jobs with a rate was written, in seconds."""

    def add(self, job: Job, now: datetime) -> None:
        line = self.lines.setdefault(RANKS[job.priority], {}).setdefault(job.created_by.name, _KeyLine())
        line.ids.append(job.id)
        self.job_ids.add(job.id)
        line.left.append(job.units_left)
        line.has_begun |= job.state is JobState.RUNNING
        rate, seconds = job.progress.rate, max(0.0, (now - job.updated_at).total_seconds())
        if rate and seconds < max(STALE_SECONDS, STALE_UNITS / rate):
            self.seconds = min(seconds, self.seconds) if self.rate else seconds
            self.rate += rate

    def finish(self) -> None:
        for lines in self.lines.values():
            for line in lines.values():
                line.before = [0, *accumulate(line.left)]

    def place(self, job: Job, rate: float | None) -> QueuePlace:
        """Return the place of a job. `rate` is used if the records of jobs have none."""
        rank, key = RANKS[job.priority], job.created_by.name
        lines = self.lines.get(rank, {})
        own = lines.get(key, _KeyLine(before=[0]))
        others = [(line, _comes_first(line, own, job.id)) for name, line in lines.items() if name != key]
        older = own.count_before(job.id)
        ahead = older + sum(line.total for higher in range(rank) for line in self.lines.get(higher, {}).values())

        def units_until(own_turns: int) -> int:
            return sum(min(line.total, own_turns + comes_first) for line, comes_first in others)

        left = job.units_left
        # Of the next unit, the part is done that the rate promises. A unit that takes longer does not count as done.
        until_end = ahead + left + units_until(older + max(0, left - 1)) - min(1.0, self.seconds * self.rate)
        known_rate = self.rate or rate
        return QueuePlace(ahead + units_until(older), rounded(max(0.0, until_end) / known_rate) if known_rate else None)


class QueuePlaces:
    """Tells the places of the jobs of one model folder."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._snapshot = _Snapshot()
        self._looked_at = -LOOK_SECONDS
        self._looking = threading.Lock()

    def of(self, jobs: list[Job], rate: float | None = None) -> dict[str, QueuePlace]:
        """Return the places of those of the jobs that are unfinished and wait for the engine, by their ids. Blocks.

        `rate` is how many units a second the services are expected to do, if no job tells it. Raises StoreUnavailable.
        """
        waiting = [job for job in jobs if has_place(job)]
        if not waiting:
            return {}
        with self._looking:
            is_old = time.monotonic() - self._looked_at >= LOOK_SECONDS
            if is_old or not self._snapshot.job_ids.issuperset(job.id for job in waiting):  # or one was just created
                self._snapshot = self._look()
                self._looked_at = time.monotonic()
            snapshot = self._snapshot
        return {job.id: snapshot.place(job, rate) for job in waiting}

    def _look(self) -> _Snapshot:
        snapshot, now = _Snapshot(), datetime.now(UTC)
        for job in self._jobs.unfinished_of_units():
            if has_place(job):
                snapshot.add(job, now)
        snapshot.finish()
        return snapshot


def has_place(job: Job) -> bool:
    """Return True for an unfinished job whose units are files or texts. Pulls do not wait for the engine."""
    return job.units is not None and not job.is_finished and job.kind in {ItemJobKind.TEXTS, ItemJobKind.IMAGES}


def _comes_first(line: _KeyLine, own: _KeyLine, job_id: str) -> bool:
    """Return True if another API key has its turn before the key of a job has its next one.

    A key that has had no turn comes first; of two such keys, the one with the older job.
    """
    if own.has_begun != line.has_begun:
        return own.has_begun
    return own.has_begun or line.ids[0] < (own.ids[0] if own.ids else job_id)
