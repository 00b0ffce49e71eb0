"""Which webhooks are still to be sent: those of finished jobs, in the records of all services on the folder.

Each delivery has a kernel lock, so that one service at a time sends it; if that service dies, any other one sends it
again. A webhook is therefore sent at least once, always with the same id, which is made of the job's id.
"""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.errors import JobNotFound, ModelInUse, ModelLocked
from app.jobs.folder import Jobs
from app.jobs.records import JOB_ID, Job
from app.jobs.sweep import STRAY_SECONDS, is_older_than
from app.store import Store
from app.store.records.forms import RecordDamaged
from app.webhooks.records import Delivery, delivery_of, read_delivery, write_delivery

LONGEST_PAUSE_SECONDS = 3600.0
"""The longest pause between two attempts that a service chooses, in seconds."""
LONGEST_RETRY_AFTER_SECONDS = 86_400.0
"""The longest pause that a receiver may ask for, in seconds."""
DAMAGED_PAUSE_SECONDS = 60.0
"""The pause, in seconds, after which a damaged record is read again, because it may have been removed or replaced."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A webhook whose next attempt is due."""

    job_id: str
    url: str


class HeldDelivery:
    """A delivery whose lock this process holds until `release`."""

    def __init__(
        self, job: Job, delivery: Delivery, lock: contextlib.ExitStack, write: Callable[[Delivery], None]
    ) -> None:
        self.job = job
        self.delivery = delivery
        """What became of the attempts so far."""
        self.write = write
        """Writes the delivery's record. Raises StoreError and OSError."""
        self.release = lock.close


class Outbox:
    """The deliveries of the webhooks of one model folder, in `.store/webhooks/`. The methods block."""

    def __init__(self, store: Store, jobs: Jobs, *, keep: timedelta | None) -> None:
        """`keep` is how long after its end a job is kept whose webhook is still to be sent; None for no limit.

        A service that sends no webhooks needs a limit, because maybe no service will ever send them.
        """
        self._jobs = jobs
        self._volume = store.volume
        self._locks = store.locks
        self._folder = store.volume.webhooks_dir
        self._keep = keep
        self._settled = set[str]()
        """The ids of jobs without a webhook."""
        self._over = set[str]()
        """The ids of jobs whose delivery is over, as long as its record exists."""
        self._owed = dict[str, str]()
        """The URLs of the webhooks that are still to be sent, by the job's id."""
        self._not_before = dict[str, float]()
        """The monotonic time before which a job is not looked at again, with or without a record."""
        self._paused = dict[str, float]()
        """The monotonic time before which a job is not looked at again, as long as its record exists."""

    @property
    def pending(self) -> int:
        """The number of webhooks of finished jobs that are still to be sent, as the last look found."""
        return len(self._owed)

    def due(self) -> list[Owed]:
        """Return the webhooks whose next attempt is due, those of the oldest jobs first. Raises StoreUnavailable."""
        ids = self._jobs.ids()
        self._forget_all_but(set(ids))
        self._look_for_removed_records()
        now = time.monotonic()
        return [
            Owed(job_id, url)
            for job_id in ids
            if job_id not in self._settled
            and job_id not in self._over
            and max(self._not_before.get(job_id, now), self._paused.get(job_id, now)) <= now
            and (url := self._url_of(job_id))
            and self._is_due(job_id)
        ]

    def hold(self, owed: Owed) -> HeldDelivery | None:
        """Lock a delivery and return it; None if another process holds it, or it is over or no longer due.

        Raises StoreUnavailable, StoreReadOnly: without a record, the webhook would be sent again and again.
        """
        self._volume.check_writable()
        with contextlib.ExitStack() as lock:
            try:
                lock.enter_context(self._locks.exclusive(f"/webhooks/{owed.job_id}", seconds=0.0))
                job = self._jobs.get(owed.job_id)
            except (ModelLocked, ModelInUse, JobNotFound):
                return None
            if not self._is_due(job.id):
                return None
            delivery = read_delivery(self._volume, job.id) or Delivery(job.id, datetime.now(UTC))

            def write(delivery: Delivery) -> None:
                self._volume.check_writable()
                write_delivery(self._folder, delivery)

            return HeldDelivery(job, delivery, lock.pop_all(), write)

    def postpone(self, owed: Owed, seconds: float) -> None:
        """Leave a webhook alone for `seconds`: its record cannot be written, or a defect has ended the delivery."""
        self._not_before[owed.job_id] = time.monotonic() + seconds

    def needs_job(self, job: Job) -> bool:
        """Return True if a finished job is needed to send its webhook, so that it must not be removed yet."""
        delivery = delivery_of(self._volume, job)
        if delivery is None or delivery.is_over or job.finished_at is None:
            return False
        return self._keep is None or datetime.now(UTC) < job.finished_at + self._keep

    def sweep(self) -> None:
        """Remove the records of jobs that were removed, and the drafts of killed processes. Raises StoreUnavailable."""
        self._volume.check_writable()
        job_ids = set(self._jobs.ids())
        for path in self._folder.iterdir():
            is_of_job = path.suffix == ".json" and path.stem in job_ids
            if JOB_ID.match(path.name) and not is_of_job and is_older_than(path, STRAY_SECONDS):
                path.unlink(missing_ok=True)

    def _url_of(self, job_id: str) -> str | None:
        """Return the URL of a finished job's webhook; None if there is none, or if the job is not finished."""
        if url := self._owed.get(job_id):
            return url
        try:
            job = self._jobs.get(job_id)
        except JobNotFound:  # it was just removed, or its record is damaged
            return None
        if job.webhook is None:
            self._settled.add(job_id)
        elif job.is_finished:
            self._owed[job_id] = job.webhook
            return job.webhook
        return None

    def _is_due(self, job_id: str) -> bool:
        try:
            delivery = read_delivery(self._volume, job_id)
        except RecordDamaged:
            self._paused[job_id] = time.monotonic() + DAMAGED_PAUSE_SECONDS
            return False
        if delivery is None:
            return True
        if delivery.is_over:
            self._over.add(job_id)
            self._owed.pop(job_id, None)
            return False
        now = datetime.now(UTC)
        pause_seconds = ((delivery.next_attempt_at or now) - now).total_seconds()
        if pause_seconds <= 0 or pause_seconds > LONGEST_RETRY_AFTER_SECONDS + 1:  # the clock has been set back
            return True
        self._paused[job_id] = time.monotonic() + min(pause_seconds, LONGEST_PAUSE_SECONDS)
        return False

    def _look_for_removed_records(self) -> None:
        """Make webhooks due whose record an operator has removed for that."""
        if self._over or self._paused:
            with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
                recorded = {entry.name.removesuffix(".json") for entry in entries}
                self._over &= recorded
                for gone in self._paused.keys() - recorded:
                    del self._paused[gone]

    def _forget_all_but(self, ids: set[str]) -> None:
        self._settled &= ids
        self._over &= ids
        for gone in self._owed.keys() - ids:
            del self._owed[gone]
        for times in (self._not_before, self._paused):
            for gone in times.keys() - ids:
                del times[gone]
