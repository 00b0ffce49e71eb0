"""What this process remembers of the jobs of units, and how a job's log and record are written under its lock."""

import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from app.errors import JobNotFound, ModelInUse, ModelLocked, StoreUnavailable
from app.events import EventName, OnEvent
from app.jobs.progress import Progress
from app.jobs.records import DONE, JOB, WAITING, Failure, Job, JobState, process_name, write_record
from app.jobs.units.job_log import JobLog
from app.jobs.units.kinds import WORKING
from app.jobs.units.records import Entry, EntryKind, JobFolder
from app.store import Store, explaining_refusals
from app.store.records.forms import RecordDamaged
from app.store.records.reader import read_regular
from app.store.volume.server_lookups import FRESH_SECONDS, LOOKUP_PAUSE_SECONDS

JOB_LOCK_SECONDS = 10.0
"""How long to wait for a job's lock, in seconds. Each holder holds it for milliseconds, on a slow volume for longer."""
CLAIM_LOCK_SECONDS = 1.0
"""How long a service waits for a job's lock that could claim a unit of another job instead, in seconds. The creator of
a job holds the lock until the job is queued, and a service that hangs may hold it for ever."""
MOST_OPEN = 1000
"""How many logs are remembered. The log of any other job is read from its beginning."""
MOST_OPEN_UNITS = 200_000
"""How many units the remembered jobs have together, except for one job that has more. A unit takes up to 400 bytes."""


@dataclass(slots=True)
class OpenJob:
    """A job whose log this process has read."""

    job: Job
    folder: JobFolder
    log: JobLog
    using: threading.RLock = field(default_factory=threading.RLock)
    """Held while the log is read or written."""
    claimed: set[int] = field(default_factory=set)
    """The units that this process has claimed."""
    first_open: int = 0
    """All units before this one have a result."""
    offsets: list[int] | None = None
    """Where each unit's line begins in `units.jsonl`; None until the file was read."""
    unreadable: set[int] = field(default_factory=set)
    """The units whose results could not be read when a caller last asked for them."""

    damaged_since: float | None = None
    """When this process first found the job's task or list of units damaged, by the monotonic clock."""
    has_waited_for_end: bool = False
    """True if the log did not show the end of the job in time, although its record did."""

    def refresh(self, *, asks_server: bool = False) -> None:
        """Read what was appended to the log. Raises JobNotFound if the job was removed, RecordDamaged and OSError."""
        self.folder.check()
        self.log.refresh(asks_server=asks_server)
        if self.first_open and self.first_open - 1 not in self.log.done:  # another program has shortened the log
            self.first_open = 0
        if not self.log.size and not self.folder.path.is_dir():
            raise JobNotFound(self.job.id)

    def believes_damage(self, *, is_shared: bool) -> bool:
        """Return True if the job's task or list of units, which was found to be damaged, is taken to be so.

        If another machine may have written the files (`is_shared`), this one may see an older state of them. Then they
        must be found damaged again after FRESH_SECONDS.
        """
        now = time.monotonic()
        self.damaged_since = self.damaged_since or now
        if is_shared and now < self.damaged_since + FRESH_SECONDS:
            self.offsets = None
            return False
        return True

    def refresh_to_end(self) -> None:
        """Read the log of a job whose record shows its end. Raises what `refresh` raises.

        This machine may see an older state of the log. It tries again for FRESH_SECONDS, once for each job.
        """
        deadline = time.monotonic() + FRESH_SECONDS
        while True:
            self.refresh()
            if self.log.end is not None or self.has_waited_for_end:
                return
            self.has_waited_for_end = time.monotonic() >= deadline
            time.sleep(LOOKUP_PAUSE_SECONDS)


class OpenJobs:
    """The open jobs of one model folder."""

    def __init__(self, store: Store, on_event: OnEvent) -> None:
        self.volume = store.volume
        self.locks = store.locks
        self.writer = secrets.token_hex(8)
        """Names the files of results to which only this process writes, so that it knows where each one ends."""
        self._on_event = on_event
        self._by_id = OrderedDict[str, OpenJob]()
        self._opening = threading.Lock()

    def open(self, job: Job) -> OpenJob:
        """Return what is remembered of a job."""
        with self._opening:
            found = self._by_id.get(job.id)
            if found is None:
                folder = JobFolder(self.volume.jobs_dir, job.id)
                log = JobLog(folder.log, job.units or 0, is_shared=self.volume.is_shared)
                found = self._by_id[job.id] = OpenJob(job, folder, log)
                self._forget_unused(job.id)
            self._by_id.move_to_end(job.id)
            return found

    def _forget_unused(self, newest: str) -> None:
        """Forget the jobs that were not used for the longest time, but none that has a claimed unit."""
        units = sum(open_job.job.units or 0 for open_job in self._by_id.values())
        unused = [each for each, open_job in self._by_id.items() if each != newest and not open_job.claimed]
        for job_id in unused:
            if len(self._by_id) <= MOST_OPEN and units <= MOST_OPEN_UNITS:
                return
            units -= self._by_id.pop(job_id).job.units or 0

    def forget(self, job_id: str) -> None:
        """Forget a job that was removed."""
        with self._opening:
            self._by_id.pop(job_id, None)

    @contextmanager
    def used(self, open_job: OpenJob, seconds: float | None = None) -> Iterator[None]:
        """Let no other thread of this process use a job. Raises StoreUnavailable if one uses it for `seconds` more."""
        if not open_job.using.acquire(timeout=JOB_LOCK_SECONDS if seconds is None else seconds):
            raise StoreUnavailable(f"this service still works on the files of the job {open_job.job.id}")
        try:
            yield
        finally:
            open_job.using.release()

    @contextmanager
    def locked(self, open_job: OpenJob, seconds: float | None = None) -> Iterator[None]:
        """Hold a job's lock, with its log read to the end. The job may have been forgotten meanwhile.

        `seconds` is how long to wait for the lock, by default JOB_LOCK_SECONDS. Raises JobNotFound, StoreUnavailable,
        StoreReadOnly, StoreFull; RecordDamaged if the log cannot be read.
        """
        seconds = JOB_LOCK_SECONDS if seconds is None else seconds
        self.volume.check_writable()  # otherwise a line could go to another folder that is now mounted there
        with open_job.using, explaining_refusals():
            try:
                with self.locks.exclusive(lock_name(open_job.job.id), seconds=seconds):
                    if open_job.folder.has_irregular_log():
                        self._begin_new_log(open_job)
                    open_job.refresh(asks_server=self.volume.is_shared)
                    yield
            except (ModelLocked, ModelInUse) as exc:
                raise StoreUnavailable(f"the job {open_job.job.id} is locked by another process") from exc

    def _begin_new_log(self, open_job: OpenJob) -> None:
        """Set the log of an unfinished job aside, which could never end otherwise."""
        if not JOB.parse(read_regular(open_job.folder.record, JOB.max_bytes)).is_finished:
            aside = open_job.folder.set_log_aside()
            self.volume.records.note(aside, JOB.kind, "it was the job's log, and is no regular file")

    def show(self, open_job: OpenJob, phase: str | None = None, progress: Progress | None = None) -> Job:
        """Write what the log says to the job's record, and return the job. The caller holds the job's lock.

        `phase` and `progress` are those of a job that counts bytes, None for those that its record has.
        """
        log, job = open_job.log, open_job.job
        if job.counts_bytes:
            last = JOB.parse(read_regular(open_job.folder.record, JOB.max_bytes))
            phase, progress = phase or last.phase, progress or last.progress
        else:
            phase, progress = WORKING if log.has_begun else WAITING, log.progress()
        job = replace(job, phase=phase, progress=progress)
        if log.end is None:
            job = replace(job, state=JobState.RUNNING)
        else:
            job = replace(job, state=log.end, finished_at=log.ended_at)
            if log.end is JobState.SUCCEEDED:
                job = replace(job, phase=DONE, result=self._result(open_job))
            elif log.end is JobState.FAILED:
                job = replace(job, failure=_first_failure(log))
        open_job.job = write_record(self.volume.jobs_dir, job, is_lasting=log.end is not None)
        return open_job.job

    def end(self, open_job: OpenJob, state: JobState | None = None) -> Job:
        """End a job: with `state`, or as its results say. The caller holds the job's lock."""
        log = open_job.log
        if log.end is None:
            has_success = len(log.failures) < len(log.done)
            state = state or (JobState.SUCCEEDED if has_success else JobState.FAILED)
            end = entry(EntryKind.END, state=state)
            log.append(end, is_lasting=True)
            if log.ended_at == end.at:  # no other service has ended the job before
                self._report_end(open_job)
        job = self.show(open_job)
        open_job.folder.remove_inputs()
        return job

    def _result(self, open_job: OpenJob) -> dict[str, Any]:
        """Return the result of a job that succeeded. Raises RecordDamaged and OSError."""
        log = open_job.log
        if not open_job.job.counts_bytes:
            return {"failed_count": len(log.failures)}
        try:
            result = json.loads(open_job.folder.read_result(log.results[0], is_shared=self.volume.is_shared))
        except (ValueError, IndexError) as exc:
            raise RecordDamaged("its result cannot be read") from exc
        return result if isinstance(result, dict) else {}

    def _report_end(self, open_job: OpenJob) -> None:
        log, job = open_job.log, open_job.job
        if job.counts_bytes:  # the work on the unit reports it
            return
        failure = _first_failure(log) if log.end is JobState.FAILED else None
        seconds = (datetime.now(UTC) - job.created_at).total_seconds()
        about = {"job_id": job.id, "kind": job.kind, "outcome": str(log.end), "done": len(log.done)}
        about |= {"error": failure.detail if failure else None, "seconds": round(seconds, 3)}
        self._on_event(EventName.JOB_FINISHED, about)


@contextmanager
def explaining_damage(job: Job) -> Iterator[None]:
    """Raise StoreUnavailable in place of RecordDamaged, for a request about a job whose files cannot be read."""
    try:
        yield
    except RecordDamaged as exc:
        raise StoreUnavailable(f"the files of the job {job.id} cannot be read: {exc}") from exc


def entry(event: EntryKind, **fields: Any) -> Entry:  # noqa: ANN401 - the fields of Entry
    """Return a new entry of a log, written by this process now."""
    return Entry(event, datetime.now(UTC), owner=process_name(), **fields)


def lock_name(job_id: str, unit: int | None = None) -> str:
    """Return the name of the lock of a job, or of one of its units. It begins with `/`, so no model can have it."""
    return f"/jobs/{job_id}" if unit is None else f"/jobs/{job_id}/{unit}"


def _first_failure(log: JobLog) -> Failure | None:
    return log.failures[min(log.failures)] if log.failures else None
