"""The queue of units: decides which unit a service works on next. The job's log decides what was done.

`FolderQueue` is the queue of services that share nothing but the model folder, `DatabaseQueue` that of services that
share a database too.
"""

import re
from collections.abc import Callable, Collection
from typing import Protocol

from app.jobs.records import Job
from app.jobs.units.records import Task
from app.jobs.units.unit_claims import Claim, UnitClaims

PROCESSOR = re.compile("[a-z-]{1,40}")
Understands = Callable[[Job, Task], bool]
"""Returns False for a job that a newer version created and this one does not understand."""


class UnitQueue(Protocol):
    """The queue of the units of one model folder, as one service uses it."""

    claims: UnitClaims

    @property
    def problem(self) -> str | None:
        """Why no new job can be queued now; None if one can."""

    async def run(self, wake: Callable[[], None], on_ended: Callable[[], None]) -> None:
        """Serve the queue until the task is cancelled. May be called again after an exception.

        `wake` is called when there may be units to work on, `on_ended` when a job may have been cancelled.
        """

    async def check(self) -> None:
        """Raise QueueUnavailable if no new job can be queued now."""

    async def add(self, job: Job) -> None:
        """Queue the units of a new job, whose record is written. Raises QueueUnavailable; some may be queued then."""

    async def claim_next(self, names: Collection[str], understands: Understands) -> Claim | None:
        """Claim the next unit of the queues with these names (see `queue_name`); None if there is none.

        Jobs of a higher priority come first. Among jobs of the same priority, API keys take turns, so that a key with
        many units delays another key by one unit; the jobs of a key go by their age. A job whose files cannot be read
        delays no other job. Raises StoreError and OSError.
        """

    async def release(self, claim: Claim) -> None:
        """End a claim. If the unit has no result, any service may claim it. Called once for each claim."""

    async def cancelled(self, job: Job) -> None:
        """Tell services that a job was cancelled. Without that, they notice it a moment later in the job's log."""


def queue_name(kind: str, *, is_downloaded: bool, processor: str | None = None) -> str:
    """Return the name of a queue: what a service must be able to do, `<lane>.<kind of job>[.<processor>]`.

    The lane says how the unit's data is had: it is in the folder, or it is downloaded first.
    """
    lane = "download" if is_downloaded else "local"
    return f"{lane}.{kind}.{processor}" if processor else f"{lane}.{kind}"


def processor_of(name: str) -> str | None:
    """Return the processor in a queue's name; None if its units need none."""
    _, _, processor = name.split(".", 1)[1].partition(".")
    return processor or None


def queue_of(job: Job) -> str:
    """Return the name of the queue of a job's units."""
    processor = job.request.get("processor")
    is_word = isinstance(processor, str) and PROCESSOR.fullmatch(processor)  # the record may be a stranger's
    return queue_name(job.kind, is_downloaded=job.is_downloaded, processor=processor if is_word else None)
