"""The claims of units: which unit a service works on, its result, and its return if the service stops.

Any number of services work on one job. A claim is a lock of the kernel, which ends with its service. A unit whose lock
is free and which has no result may be claimed by any service. The methods block.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from app.errors import JobNotFound, ModelInUse, ModelLocked, StoreError
from app.jobs.progress import Progress
from app.jobs.records import JOB, Failure, Job, JobState
from app.jobs.units.job_log import append
from app.jobs.units.open_jobs import CLAIM_LOCK_SECONDS, OpenJob, OpenJobs, entry, lock_name
from app.jobs.units.records import MAX_UNITS, EntryKind, JobFolder, Task, Unit
from app.jobs.units.unit_descriptions import described
from app.store import explaining_refusals
from app.store.records.forms import RecordDamaged, RecordNotReadable
from app.store.records.reader import open_regular, read_regular


class JobEnded(Exception):
    """The job of a unit has ended meanwhile, as by a cancellation."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a unit."""

    result: str
    """The unit's result as the API shows it: JSON on one line. A failed unit has a result too."""
    failure: Failure | None = None
    """Why the unit failed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A unit that this process works on, until `release` or the end of the process."""

    job: Job
    number: int
    """The unit's number in the job, counted from 0."""
    unit: Unit
    task: Task
    attempts: int
    """How many services have begun to work on the unit, this one included."""
    is_first: bool
    """True if no unit of the job was begun before."""
    folder: JobFolder
    open_job: OpenJob
    lock: ExitStack
    damage: str | None = None
    """Why the unit's description cannot be read; None if it can. A damaged unit has no name, text or URL."""

    def release(self) -> None:
        """End the claim. If the unit has no result, any service may claim it."""
        self.open_job.claimed.discard(self.number)
        self.lock.close()


class UnitClaims:
    """Claims units of the jobs of one model folder."""

    def __init__(self, open_jobs: OpenJobs) -> None:
        self._open_jobs = open_jobs

    @property
    def writer(self) -> str:
        """The token in the names of the files to which this process writes results."""
        return self._open_jobs.writer

    def claim(
        self,
        job: Job,
        understands: Callable[[Job, Task], bool] = lambda *_: True,
        lock_seconds: float | None = None,
    ) -> Claim | None:
        """Claim the first unit of a job that has no result and that no process works on; None if there is none.

        A job that `understands` returns False for, because a newer version created it, counts as one that cannot be
        read. `lock_seconds` is how long to wait for the job's lock, by default `open_jobs.JOB_LOCK_SECONDS`.

        If a service was killed before it could end a job whose units all have results, or before it could write the
        end to the job's record, this is done here. Raises StoreUnavailable, StoreReadOnly, StoreFull; RecordDamaged if
        the job's files cannot be read.
        """
        open_job = self._open_jobs.open(job)
        used = self._open_jobs.used(open_job, lock_seconds)
        with used, explaining_refusals(), contextlib.suppress(JobNotFound, JobEnded):
            self._refresh(open_job, lock_seconds)
            if open_job.log.end is not None or open_job.log.is_complete:
                self._end(open_job, lock_seconds)
                return None
            _check_number_of_units(job)
            while (lock := ExitStack()) and (number := self._lock_one(open_job, lock)) is not None:
                try:
                    claim = self._begin(open_job, number, lock, understands, lock_seconds)
                except BaseException:
                    open_job.claimed.discard(number)
                    lock.close()
                    raise
                if claim or open_job.log.end is not None:
                    return claim
        return None

    def claim_unit(self, job: Job, number: int, understands: Callable[[Job, Task], bool]) -> Claim | None:
        """Claim one unit of a job, as `claim` does. None if it has a result, or the job has no such unit.

        Waits up to CLAIM_LOCK_SECONDS for the job's lock. Raises ModelLocked or ModelInUse if a process works on the
        unit, JobEnded if the job has ended, and JobNotFound if it was removed or the folder is away; otherwise as
        `claim`.
        """
        open_job = self._open_jobs.open(job)
        with self._open_jobs.used(open_job, CLAIM_LOCK_SECONDS), explaining_refusals(), ExitStack() as lock:
            self._refresh(open_job, CLAIM_LOCK_SECONDS)
            if open_job.log.end is not None or open_job.log.is_complete:
                self._end(open_job, CLAIM_LOCK_SECONDS)
                raise JobEnded
            _check_number_of_units(job)
            if number in open_job.log.done or number >= (job.units or 0):
                return None
            if number in open_job.claimed:
                raise ModelLocked(lock_name(job.id, number))
            lock.enter_context(self._open_jobs.locks.exclusive(lock_name(job.id, number), seconds=0))
            open_job.claimed.add(number)
            try:
                return self._begin(open_job, number, lock, understands, CLAIM_LOCK_SECONDS)
            except BaseException:
                open_job.claimed.discard(number)
                raise

    def open_units(self, job: Job) -> list[int]:
        """Return the numbers of a job's units that have no result, and end the job if there are none.

        Waits up to CLAIM_LOCK_SECONDS for the job's lock. Raises StoreUnavailable, StoreReadOnly, StoreFull;
        RecordDamaged if the job's files cannot be read.
        """
        open_job = self._open_jobs.open(job)
        used = self._open_jobs.used(open_job, CLAIM_LOCK_SECONDS)
        with used, explaining_refusals(), contextlib.suppress(JobNotFound):
            self._refresh(open_job, CLAIM_LOCK_SECONDS)
            if open_job.log.end is None and not open_job.log.is_complete:
                _check_number_of_units(job)
                return list(open_job.log.missing)
            self._end(open_job, CLAIM_LOCK_SECONDS)
        return []

    def is_locked(self, job_id: str, number: int) -> bool:
        """Return True if a living process works on a unit. Raises StoreError and OSError."""
        return self._open_jobs.locks.is_locked(lock_name(job_id, number))

    def is_done(self, claim: Claim) -> bool:
        """Return True if a claimed unit has its result, or its job has ended, as far as this process has read."""
        with claim.open_job.using:
            return claim.open_job.log.end is not None or claim.number in claim.open_job.log.done

    def is_ended(self, claim: Claim) -> bool:
        """Return True if the job has ended, whichever service has ended it, such as by a cancellation."""
        with claim.open_job.using, contextlib.suppress(StoreError, OSError, RecordDamaged):
            try:
                claim.open_job.refresh()
            except JobNotFound:
                self._open_jobs.volume.check()  # while the folder is away, no job is there
                return True
            return claim.open_job.log.end is not None
        return False  # the end of the work shows what is wrong with the folder

    def report(self, claim: Claim, phase: str, progress: Progress) -> None:
        """Write the step and the progress of a job that counts bytes to its record, if they have changed.

        If they cannot be written, nothing is done: the next report may succeed.
        """
        open_job, job = claim.open_job, claim.open_job.job
        if job.state is JobState.RUNNING and (job.phase, job.progress) == (phase, progress):
            return
        with contextlib.suppress(StoreError, OSError, RecordDamaged), self._open_jobs.locked(open_job):
            if open_job.log.end is None:
                self._open_jobs.show(open_job, phase, progress)

    @contextlib.contextmanager
    def unended(self, claim: Claim) -> Iterator[None]:
        """Hold the job's lock, so that the job is not cancelled during the block.

        Raises JobNotFound if the job was removed, JobEnded if it has ended, and StoreUnavailable, StoreReadOnly,
        StoreFull, RecordDamaged.
        """
        with self._open_jobs.locked(claim.open_job):
            if claim.open_job.log.end is not None:
                raise JobEnded
            yield

    def complete(self, claim: Claim, outcome: Outcome) -> Job:
        """Append the result of a unit, and return the job.

        A second result of a unit, and a result after the end of the job, are dropped. Raises JobNotFound,
        StoreUnavailable, StoreReadOnly, StoreFull, RecordDamaged.
        """
        open_job, log = claim.open_job, claim.open_job.log
        with self._open_jobs.locked(open_job):
            if log.end is not None or claim.number in log.done:
                return replace(open_job.job, state=log.end or JobState.RUNNING)
            line = f"{outcome.result}\n".encode()
            offset = append(claim.folder.results_of(self.writer), line, is_lasting=True)
            place = {"unit": claim.number, "offset": offset, "length": len(line), "writer": self.writer}
            log.append(entry(EntryKind.RESULT, failure=outcome.failure, **place), is_lasting=True)
            claim.folder.remove_inputs(claim.number)
            return self._open_jobs.end(open_job) if log.is_complete else self._open_jobs.show(open_job)

    def give_back(self, claim: Claim) -> None:
        """Note that this service ends its work on a unit without a result, so that the attempt does not count.

        Raises JobNotFound, StoreUnavailable, StoreReadOnly, StoreFull, RecordDamaged.
        """
        open_job = claim.open_job
        with self._open_jobs.locked(open_job):
            if open_job.log.end is None and claim.number not in open_job.log.done:
                open_job.log.append(entry(EntryKind.GIVEN_BACK, unit=claim.number), is_lasting=False)

    def _refresh(self, open_job: OpenJob, lock_seconds: float | None) -> None:
        try:
            open_job.refresh()
        except RecordDamaged:
            with self._open_jobs.locked(open_job, lock_seconds):  # which sets a log aside that is no regular file
                pass

    def _end(self, open_job: OpenJob, lock_seconds: float | None) -> None:
        """End a job whose units all have results, and write the end to its record unless that was done."""
        with self._open_jobs.locked(open_job, lock_seconds):
            record = JOB.parse(read_regular(open_job.folder.record, JOB.max_bytes))
            if not record.is_finished:
                self._open_jobs.end(open_job)

    def _lock_one(self, open_job: OpenJob, lock: ExitStack) -> int | None:
        """Lock the first unit that has no result and is not locked, and return its number; None if there is none."""
        units, done = open_job.job.units or 0, open_job.log.done
        while open_job.first_open in done:
            open_job.first_open += 1
        for number in range(open_job.first_open, units):
            if number in done or number in open_job.claimed:
                continue
            with contextlib.suppress(ModelLocked, ModelInUse):
                lock.enter_context(self._open_jobs.locks.exclusive(lock_name(open_job.job.id, number), seconds=0))
                open_job.claimed.add(number)
                return number
        return None

    def _begin(
        self,
        open_job: OpenJob,
        number: int,
        lock: ExitStack,
        understands: Callable[[Job, Task], bool],
        lock_seconds: float | None,
    ) -> Claim | None:
        """Note in the log that this service begins a unit. None if another service has done the unit meanwhile."""
        with self._open_jobs.locked(open_job, lock_seconds):
            _check_unfinished(open_job)
            log, is_first = open_job.log, not open_job.log.has_begun
            if log.end is not None or number in log.done:
                open_job.claimed.discard(number)
                lock.close()
                return None
            unit, task, damage = self._described(open_job, number)
            _check_results(open_job, self.writer)
            if task and not understands(open_job.job, task):
                raise RecordNotReadable("a newer version of the service created it", open_job.folder.task)
            log.append(entry(EntryKind.BEGUN, unit=number), is_lasting=False)
            if is_first and not open_job.job.counts_bytes:  # the work on bytes reports its progress at once
                self._open_jobs.show(open_job)
            return Claim(
                open_job.job,
                number,
                unit,
                task or Task(open_job.job.request),
                log.attempts[number],
                is_first,
                open_job.folder,
                open_job,
                lock.pop_all(),
                damage,
            )

    def _described(self, open_job: OpenJob, number: int) -> tuple[Unit, Task | None, str | None]:
        """Return what `described` returns, and report damaged files. The caller holds the job's lock.

        Raises JobNotFound if the job was removed meanwhile, RecordDamaged if another attempt may succeed, and OSError.
        """
        unit, task, damages = described(open_job, number)
        lasting = [each for each in damages if each.path]
        if lasting:
            _check_unfinished(open_job)  # a removal removes the record first
            if not open_job.believes_damage(is_shared=self._open_jobs.volume.is_shared):
                raise lasting[0]
        for each in lasting:
            self._open_jobs.volume.records.note(
                each.path or open_job.folder.record, JOB.kind, str(each), may_be_missing=True
            )
        return unit, task, str(damages[0]) if damages else None


def _check_number_of_units(job: Job) -> None:
    """Raise RecordDamaged if the record has more units than a job can have, so that nobody lists or queues them."""
    if (job.units or 0) > MAX_UNITS:
        raise RecordDamaged(f"it has more than {MAX_UNITS:,} units")


def _check_unfinished(open_job: OpenJob) -> None:
    """Raise JobEnded if the record shows the end of the job, which its log has lost. Raises RecordDamaged, OSError.

    Otherwise a service that has listed the job before its end would begin its units again.
    """
    try:
        record = JOB.parse(read_regular(open_job.folder.record, JOB.max_bytes))
    except FileNotFoundError:
        raise JobNotFound(open_job.job.id) from None
    if record.is_finished:
        raise JobEnded


def _check_results(open_job: OpenJob, writer: str) -> None:
    """Raise RecordDamaged if no result could be appended, so that no unit is worked on in vain."""
    with contextlib.suppress(FileNotFoundError):
        os.close(open_regular(open_job.folder.results_of(writer), os.O_RDWR))
