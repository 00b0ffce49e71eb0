"""What a kind of job does with a unit: the work on the units of the kind, and one run of it on one unit."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from app.jobs.progress import Progress
from app.jobs.records import Failure, JobState
from app.jobs.units.lanes import LaneName, Place
from app.jobs.units.unit_claims import Claim, Outcome

MAX_ATTEMPTS = 3
"""How many services may end while they work on a unit, before the unit fails."""


class NotNow(Exception):
    """The service cannot work on units at present, for a reason that is not the unit's, such as a stopped engine."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the work on a unit has ended."""

    state: JobState | None
    """The state of the job afterwards; None if the job was removed, or if the outcome could not be written."""
    failure: Failure | None = None
    """Why the unit failed."""
    unrecorded: Exception | None = None
    """Why the outcome could not be written."""


class UnitRun(ABC):
    """One run of the work on one unit in this process."""

    is_cancelled: bool = False
    """True if `run` is cancelled because the job was cancelled, and not because the service stops."""

    @abstractmethod
    async def run(self) -> Outcome:
        """Work on the unit and return its outcome; a failed unit has an outcome too.

        Raises NotNow if the service cannot work on units now, and JobEnded if the job has ended. Any other exception is
        a defect. The runner cancels this coroutine when the job has ended or the service stops. The cancellation is
        that of an anyio scope: it does not interrupt `to_thread.run_sync`, which waits until the thread has ended, and
        it is raised again at each `await`, so that a clean-up that awaits something needs a shielded scope.
        """

    def progress(self) -> tuple[str, Progress] | None:
        """Return the step and the progress of a job that counts bytes, which the runner writes to the job's record.

        None if the log says how far the job is: how many of its units have results.
        """
        return None

    def on_ended(self, ended: Ended) -> None:  # noqa: B027 - most kinds have nothing to do
        """Clean up, in a thread, when the unit has its outcome or the job has ended. Not called for a unit given back.

        A StoreError or OSError is a defect here, which is reported.
        """


class PlainRun(UnitRun):
    """A run of a function, without pauses, progress of its own, or anything to clean up."""

    def __init__(self, work: Callable[[Claim], Awaitable[Outcome]], claim: Claim) -> None:
        """`work` works on a unit, as `UnitRun.run` says."""
        self._work = work
        self._claim = claim

    async def run(self) -> Outcome:
        """Work on the unit."""
        return await self._work(self._claim)


class UnitWork(ABC):
    """The work on the units of one kind of job."""

    is_continued = False
    """True if a service continues a unit where another one has left it. Then the unit does not fail after MAX_ATTEMPTS,
    and a service that stops does not finish it."""
    processors: Collection[str] = ()
    """The processors of AsposeAI that units may need, of which each job names one; empty if units need none."""

    @abstractmethod
    def understands(self, parameters: dict[str, Any]) -> bool:
        """Return False if the parameters of a job are those of a newer version. The job is left to other services."""

    @abstractmethod
    def begin(self, claim: Claim, place: Place) -> UnitRun:
        """Return a new run of the work on a unit. A run that pauses gives its `place` to another unit."""

    @abstractmethod
    def failed(self, claim: Claim, error: Exception) -> Outcome:
        """Return the outcome of a unit that failed with an error."""

    def lane_of(self, *, is_downloaded: bool) -> LaneName:
        """Return the lane in which the units of a job have their places."""
        return LaneName.DOWNLOADS if is_downloaded else LaneName.LOCAL
