"""The jobs in a model folder: one record each, which any service on the folder can read and cancel.

The methods block.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.errors import JobNotFound, TooManyUnits
from app.events import OnEvent
from app.jobs.former_jobs import FormerJobs
from app.jobs.records import (
    JOB,
    JOB_ID,
    RECORD_NAME,
    Job,
    JobState,
    id_of,
    read_record,
    record_of,
    record_of_units,
)
from app.jobs.units.open_jobs import lock_name
from app.jobs.units.unit_jobs import UnitJobs
from app.store import Actor, Store, explaining_refusals
from app.store.expiry import Expiry


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list of jobs."""

    jobs: list[Job]
    count: int
    """How many jobs there are on all pages."""
    has_more: bool
    """True if there are older jobs on further pages."""


class Jobs:
    """The jobs of one model folder, in `.store/jobs/`.

    A job has the folder `<id>/`; a job that a former version ran has `<id>.json`.
    """

    def __init__(self, store: Store, continued: Collection[str] = (), on_event: OnEvent = lambda *_: None) -> None:
        """`continued`: the kinds whose unfinished jobs of a former version are turned into jobs of one unit."""
        self.units = UnitJobs(store, self.get, on_event)
        self.former = FormerJobs(store, continued)
        self.volume = store.volume
        self._locks = store.locks
        self._claims = store.claims
        self._folder = store.volume.jobs_dir
        self._finished: dict[str, tuple[str, JobState]] = {}
        """The kind and the final state of each finished job that was read, by the job's id. A finished job stays
        finished."""
        self._unfinished: dict[str, tuple[tuple[int, int, int], Job]] = {}
        """Each unfinished job that was read, with the inode, time and size of its record then, by the job's id."""
        self._creating: dict[str, dict[str, int]] = {}
        """How many units each job has that this service is creating: by the caller's name, and the job's id."""
        self._creating_lock = threading.Lock()
        self.expiry = Expiry(store.clock)
        """Decides when a finished job is too old."""

    def get(self, job_id: str) -> Job:
        """Read one job's record and return the job; raises JobNotFound, StoreUnavailable.

        A record that is lost is reported.
        """
        self._check()
        if JOB_ID.fullmatch(job_id):
            for pause_seconds in self._claims.lookup_pauses:
                if pause_seconds:
                    time.sleep(pause_seconds)  # another machine may have renamed the record for a moment to claim it
                for record in (record_of_units(self._folder, job_id), record_of(self._folder, job_id)):
                    if job := read_record(self.volume.records, record):
                        return job
            raise JobNotFound(job_id, is_damaged=self._is_damaged(job_id))
        raise JobNotFound(job_id)

    def _is_damaged(self, job_id: str) -> bool:
        """Return True if a job cannot be read although it was not removed."""
        return self.note_lost(job_id) or any(
            os.path.lexists(record)
            for record in (record_of_units(self._folder, job_id), record_of(self._folder, job_id))
        )

    def note_lost(self, job_id: str) -> bool:
        """Report the record of a job as damaged if it is missing although the job's folder is there; return whether."""
        record = record_of_units(self._folder, job_id)
        # The record of a job of a former version moves into the folder. So its former place is looked at first.
        if os.path.lexists(record_of(self._folder, job_id)) or os.path.lexists(record):
            return False
        if record.parent.is_symlink() or not record.parent.is_dir():
            return False
        self.volume.records.note(record, JOB.kind, "it is missing", may_be_missing=True)
        return True

    def ids(self) -> list[str]:
        """Return the ids of all jobs, oldest first; no record is read. Raises StoreUnavailable."""
        self._check()
        return [id_of(record) for record in self._records()]

    def newest(self, kinds: Iterable[str] | None = None, state: JobState | None = None) -> Iterator[Job]:
        """Yield jobs, newest first, filtered by kind and state; each record is read when its job is yielded.

        Raises StoreUnavailable.
        """
        self._check()
        wanted = None if kinds is None else frozenset(kinds)
        for record in reversed(self._records()):
            job = read_record(self.volume.records, record)
            if job and (wanted is None or job.kind in wanted) and state in {None, job.state}:
                yield job

    def page(self, kind: str, state: JobState | None, *, limit: int, after: str | None) -> Page:
        """Return one page of the jobs of a kind and state, newest first, and the count of all such jobs.

        The page has up to `limit` jobs older than the job with the id `after`; None begins with the newest job. `state`
        None means any state.

        Raises StoreUnavailable.
        """
        self._check()
        jobs: list[Job] = []
        count, has_more = 0, False
        for record in reversed(self._records()):
            finished = self._finished.get(id_of(record))
            job = None if finished else self._read(record)
            found = (job.kind, job.state) if job else finished
            if found is None or found[0] != kind or state not in {None, found[1]}:
                continue
            count += 1
            if after is not None and id_of(record) >= after:
                continue
            if len(jobs) == limit:
                has_more = True
            elif job := job or read_record(self.volume.records, record):
                jobs.append(job)
        return Page(jobs, count, has_more)

    def unfinished(self, kind: str) -> list[Job]:
        """Return the unfinished jobs of a kind, oldest first; raises StoreUnavailable."""
        return [job for job in self._all_unfinished() if job.kind == kind]

    def unfinished_of_units(self) -> list[Job]:
        """Return the unfinished jobs of units, oldest first; raises StoreUnavailable."""
        return [job for job in self._all_unfinished() if job.units is not None]

    def waiting_units(self, actor: Actor) -> int:
        """Return how many units without a result the unfinished jobs of a caller have. Raises StoreUnavailable."""
        own = (job for job in self.unfinished_of_units() if job.created_by.name == actor.name)
        return sum(job.units_left for job in own)

    @contextmanager
    def room_for(self, actor: Actor, job_id: str, count: int, most: int) -> Iterator[None]:
        """Hold room for `count` units of a new job of a caller until its record is written.

        Raises TooManyUnits if the caller's jobs would have more than `most` units without a result, those included
        that this service creates at the same time; and StoreUnavailable.
        """
        with self._creating_lock:
            own = self._creating.setdefault(actor.name, {})
            earlier = dict(own)  # of two requests at the same time, only the later one counts the other
            own[job_id] = count
        try:
            own_jobs = (job for job in self.unfinished_of_units() if job.created_by.name == actor.name)
            waiting = sum(earlier.values()) + sum(job.units_left for job in own_jobs if job.id not in earlier)
            if waiting + count > most:
                raise TooManyUnits(waiting, most)
            yield
        finally:
            with self._creating_lock:
                del own[job_id]
                if not own:
                    self._creating.pop(actor.name, None)

    def waiting_by_kind(self) -> dict[str, tuple[int, datetime]]:
        """Return how many units have no result, and when the oldest job was created, by the kind of unfinished jobs.

        Raises StoreUnavailable.
        """
        found: dict[str, tuple[int, datetime]] = {}
        for job in self.unfinished_of_units():
            waiting, oldest = found.get(job.kind, (0, job.created_at))
            found[job.kind] = waiting + job.units_left, min(oldest, job.created_at)
        return found

    def _all_unfinished(self) -> Iterator[Job]:
        self._check()
        records = self._records()
        present = {id_of(record) for record in records}
        for remembered in (self._finished, self._unfinished):
            for job_id in remembered.keys() - present:
                remembered.pop(job_id, None)
        for record in records:
            # This runs every second, and there may be thousands of jobs.
            job = None if id_of(record) in self._finished else self._read_changed(record)
            if job and not job.is_finished:
                yield job

    def _read_changed(self, record: Path) -> Job | None:
        """Return the job in a record as `_read` does, but read the record only if its file has changed."""
        try:
            status = record.lstat()
        except OSError:
            return self._read(record)
        version = status.st_ino, status.st_mtime_ns, status.st_size
        remembered = self._unfinished.get(id_of(record))
        if remembered and remembered[0] == version:
            return remembered[1]
        job = self._read(record)
        if job and not job.is_finished:
            self._unfinished[job.id] = version, job
        return job

    def is_locked(self, job_id: str) -> bool:
        """Return True if a living process holds the job's lock: it creates the job, or writes to its files."""
        return self._locks.is_locked(lock_name(job_id))

    def cancel(self, job_id: str, is_done: Callable[[], bool] = lambda: False) -> Job:
        """Cancel a job and return it. Services that work on its units notice that soon.

        A finished job is not changed, nor one whose work was done before, which `is_done` says. Raises JobNotFound,
        StoreUnavailable, StoreReadOnly, StoreFull.
        """
        self.volume.check_writable()
        job = self.get(job_id)
        if job.is_finished:
            return job
        if job.units is not None:
            return self.units.cancel(job, is_done)
        self.former.cancel(job_id)
        return self.get(job_id)

    def needs_no_partials(self, job_id: str) -> bool:
        """Return True if a job has succeeded or was cancelled, so that its partial files are no longer needed.

        The partial files of a failed job are kept until they expire, also after the job's record has been removed: the
        next equal request continues them. Raises StoreUnavailable.
        """
        try:
            return self.get(job_id).state in {JobState.SUCCEEDED, JobState.CANCELLED}
        except JobNotFound:
            return False

    def note_damaged(self, job: Job, reason: str, path: Path | None = None) -> None:
        """Report that a file of a job of units cannot be read: the one at `path`, or else the job's record."""
        record = record_of_units(self._folder, job.id)
        self.volume.records.note(path or record, JOB.kind, reason, may_be_missing=True)

    def _check(self) -> None:
        self.volume.check()
        self.volume.check_folder(self._folder)

    def _records(self) -> list[Path]:
        """List the records, oldest first."""
        with explaining_refusals():
            try:
                with os.scandir(self._folder) as entries:
                    found = sorted(entry.name for entry in entries)  # faster than sorting paths
            except FileNotFoundError:
                return []
        names = (name for name in found if JOB_ID.fullmatch(name.removesuffix(".json")))
        return [self._folder / (name if name.endswith(".json") else f"{name}/{RECORD_NAME}") for name in names]

    def _read(self, record: Path) -> Job | None:
        """Read a record and return the job, None if the record cannot be read. Remember the job if it is finished."""
        job = read_record(self.volume.records, record)
        if job and job.is_finished:
            self._finished[job.id] = job.kind, job.state
        return job
