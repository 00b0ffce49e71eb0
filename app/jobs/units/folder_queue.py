"""The queue of units that needs only the folder: by the job's priority, in turns between API keys, oldest job first."""

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Collection

from anyio import to_thread

from app.errors import StoreError
from app.jobs.folder import Jobs
from app.jobs.records import RANKS, Job
from app.jobs.units.open_jobs import CLAIM_LOCK_SECONDS
from app.jobs.units.unit_claims import Claim
from app.jobs.units.unit_queue import Understands, UnitQueue, queue_of
from app.store.records.forms import RecordDamaged

LOOK_SECONDS = 1.0
"""For how many seconds the list of unfinished jobs is used before the folder is read again."""
REFUSED_SECONDS = 3.0
"""For how many seconds a job comes after all others whose unit could not be claimed, such as because a service that
hangs holds its lock."""


class FolderQueue(UnitQueue):
    """The queue of one service, which claims the next unit by what is in the model folder."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.claims = jobs.units.claims
        self._waiting: list[Job] = []
        """The unfinished jobs that may have units without a claim, the oldest first."""
        self._looked_at = -LOOK_SECONDS
        self._turns = 0
        self._last_turns: dict[str, int] = {}
        """By `Job.turn_taker`, the number of the last turn in this service."""
        self._refused: dict[str, float] = {}
        """Until when jobs come after all others: by the job's id, a time of the monotonic clock."""
        self._claiming = threading.Lock()

    @property
    def problem(self) -> str | None:
        """Return None: a folder that is away is reported elsewhere."""
        return None

    async def run(self, wake: Callable[[], None], on_ended: Callable[[], None]) -> None:
        """Return at once: a service looks for units in the folder itself."""

    async def check(self) -> None:
        """Return: a job is queued once its record is in the folder."""

    async def add(self, job: Job) -> None:  # noqa: ARG002 - as the protocol has it
        """Read the folder at the next claim, because a job was created."""
        self._looked_at = -LOOK_SECONDS

    async def claim_next(self, names: Collection[str], understands: Understands) -> Claim | None:
        """Claim the next unit of the queues with these names, as the protocol says."""
        return await to_thread.run_sync(self.claim_accepted, lambda job: queue_of(job) in names, understands)

    async def release(self, claim: Claim) -> None:
        """End a claim."""
        await to_thread.run_sync(claim.release)

    async def cancelled(self, job: Job) -> None:
        """Return: services see the end of the job in its log."""

    def claim_accepted(
        self, accepts: Callable[[Job], bool], understands: Understands = lambda *_: True
    ) -> Claim | None:
        """Claim the next unit of the jobs that `accepts` returns True for; None if there is none. Blocks.

        The API key whose last turn was longest ago comes first. A job whose lock is held delays the others for
        CLAIM_LOCK_SECONDS once in REFUSED_SECONDS. Raises StoreError and OSError.
        """
        with self._claiming:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self._waiting = self._jobs.unfinished_of_units()
                keys = {job.turn_taker for job in self._waiting}
                self._last_turns = {key: turn for key, turn in self._last_turns.items() if key in keys}
                now = time.monotonic()
                self._refused = {job_id: until for job_id, until in self._refused.items() if now < until}
            candidates, refusal = [job for job in self._waiting if accepts(job)], None
            while candidates:
                job = min(candidates, key=self._rank)
                candidates.remove(job)
                try:
                    claim = self.claims.claim(job, understands, CLAIM_LOCK_SECONDS)
                except RecordDamaged as exc:
                    self._jobs.note_damaged(job, str(exc), exc.path)
                    claim = None
                except (StoreError, OSError) as exc:
                    claim, refusal = None, exc
                    self._refused[job.id] = time.monotonic() + REFUSED_SECONDS
                    self._note_unreadable(job, exc)
                if claim:
                    self._turns += 1
                    self._last_turns[job.turn_taker] = self._turns
                    return claim
                self._waiting.remove(job)
            if refusal:
                raise refusal
            return None

    def _note_unreadable(self, job: Job, refusal: Exception) -> None:
        """Report a job as damaged if the disk fails to read its files, while the folder is there."""
        cause = refusal.__cause__ or refusal
        if isinstance(cause, OSError) and cause.errno == errno.EIO:
            with contextlib.suppress(StoreError, OSError):
                self._jobs.volume.check()
                self._jobs.note_damaged(job, f"its files cannot be read: {cause.strerror}")

    def _rank(self, job: Job) -> tuple[bool, int, int]:
        return job.id in self._refused, RANKS[job.priority], self._last_turns.get(job.turn_taker, 0)
