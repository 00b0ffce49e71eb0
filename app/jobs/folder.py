"""Jobs: work that outlives the request that asked for it. One record each, which any replica can read and cancel.

A job's runner holds the kernel's lock on it for as long as it lives. A job that is not finished and whose lock nobody
holds waits for somebody to take it, or lost its runner; for both, `Jobs.take()` is what to do. These verbs block.
"""

import contextlib
import re
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from app.errors import JobAbandoned, JobNotFound, LookupStale, ModelInUse, ModelLocked, ServiceError
from app.jobs.progress import Progress
from app.jobs.records import (
    Failure,
    Job,
    JobState,
    job_of_draft,
    marker_of,
    new_job,
    read_anew,
    read_record,
    record_of,
    result_of,
    write_record,
)
from app.store.actor import Actor
from app.store.store import Store
from app.store.volume.server_lookups import files_on_server
from app.store.volume.volume import explaining_refusals

JOB_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")
CLAIM_PAUSES = (0.02, 0.1)
"""On a shared volume, how long to wait before a record that is not there is looked for again, in seconds."""
STRAY_SECONDS = 3600.0
"""How old a file that belongs to no job must be before it is removed."""
LOOK_SECONDS = 1.0
"""On a shared volume, how often a job asks the file system's server whether it is to end."""
TAKE_SECONDS = 0.2
"""How long to wait for a job's lock: whoever cancels or sweeps holds it for an instant."""


class HeldJob:
    """A job whose lock this process holds: only it may write the record. A context manager that lets go in the end."""

    def __init__(self, job: Job, folder: Path, lock: contextlib.ExitStack, *, is_shared: bool) -> None:
        self.job = job
        """As last written."""
        self._is_shared = is_shared
        self._look_at = 0.0
        self._folder = folder
        self._lock = lock
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()

    @property
    def result_file(self) -> Path:
        """Where a result that is too large for the record may be written; it goes when the record goes."""
        return result_of(self._folder, self.job.id)

    def is_cancelled(self) -> bool:
        """Whether anybody asked for its end. One `stat`: ask every half second or so."""
        marker = marker_of(self._folder, self.job.id)
        if marker.exists():
            return True
        if not self._is_shared or time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_SECONDS
        with contextlib.suppress(OSError):
            return marker.name in files_on_server(self._folder)
        return False

    def update(self, *, phase: str | None = None, progress: Progress | None = None) -> None:
        """Say how far it is; from now on it runs. Raises StoreFull, StoreReadOnly."""
        phase = self.job.phase if phase is None else phase
        self._write(replace(self.job, state=JobState.RUNNING, phase=phase, progress=progress or self.job.progress))

    def succeed(self, result: dict[str, Any] | None) -> None:
        """Finish it, done. Raises StoreFull, StoreReadOnly."""
        self._finish(replace(self.job, state=JobState.SUCCEEDED, result=result))

    def fail(self, error: ServiceError) -> None:
        """Finish it, with the reason why it is not done. Raises StoreFull, StoreReadOnly."""
        failure = Failure(type(error).__name__, str(error))
        self._finish(replace(self.job, state=JobState.FAILED, failure=failure))

    def cancel(self) -> None:
        """Finish it because somebody asked for that. Raises StoreFull, StoreReadOnly."""
        self._finish(replace(self.job, state=JobState.CANCELLED))

    def let_go(self) -> None:
        """Give the lock back. A job that is not finished is anybody's then."""
        self._lock.close()

    def _finish(self, job: Job) -> None:
        self._write(replace(job, finished_at=datetime.now(UTC)), is_lasting=True)
        marker_of(self._folder, job.id).unlink(missing_ok=True)

    def _write(self, job: Job, *, is_lasting: bool = False) -> None:
        with self._writing:
            self.job = write_record(self._folder, job, is_lasting=is_lasting)


class Jobs:
    """The jobs of one model folder, in `.store/jobs/`: `<id>.json`, and beside it `<id>.cancel` and `<id>.result`."""

    def __init__(self, store: Store, resumable: Collection[str]) -> None:
        """`resumable` are the kinds of job that another process goes on with; others fail when their runner dies."""
        self._resumable = frozenset(resumable)
        self._volume = store.volume
        self._locks = store.locks
        self._claims = store.claims
        self._folder = store.volume.jobs_dir
        self._finished: set[str] = set()

    def create(self, kind: str, request: dict[str, Any], actor: Actor) -> Job:
        """A new job of a resumable kind that waits for whoever takes it.

        Raises StoreUnavailable, StoreReadOnly, StoreFull.
        """
        with self.begin(kind, request, actor) as held:
            return held.job

    def begin(self, kind: str, request: dict[str, Any], actor: Actor) -> HeldJob:
        """A new job of the caller's own, queued, which no other process can take. Raises what `create` raises."""
        self._volume.check_writable()
        job = new_job(kind, request, actor)
        with contextlib.ExitStack() as lock:
            # Before the record, so that nobody ever finds one that seems to be without a runner.
            lock.enter_context(self._locks.exclusive(_lock_name(job.id), seconds=TAKE_SECONDS))
            job = write_record(self._folder, job, is_lasting=True)
            return self._held(job, lock)

    def take(self, job_id: str) -> HeldJob | None:
        """Take over a job that nobody holds; None when somebody does, or it is finished.

        Raises JobNotFound, StoreUnavailable.
        """
        with contextlib.ExitStack() as lock:
            try:
                lock.enter_context(self._locks.exclusive(_lock_name(job_id), seconds=TAKE_SECONDS))
            except (ModelLocked, ModelInUse):
                return None
            # As it is under the lock; on a shared volume, past what this machine remembers of it.
            try:
                job = read_anew(self._folder, job_id, self._claims) if self._volume.is_shared else self.get(job_id)
            except LookupStale:
                return None  # the next look may see it
            if job is None:
                raise JobNotFound(job_id)
            return None if job.is_finished else self._held(job, lock)

    def get(self, job_id: str) -> Job:
        """One job as it is now; raises JobNotFound, StoreUnavailable."""
        self._volume.check()
        if JOB_ID.fullmatch(job_id):
            for pause_seconds in (0.0, *CLAIM_PAUSES) if self._volume.is_shared else (0.0,):
                time.sleep(pause_seconds)  # another machine may have claimed the record for an instant
                if job := read_record(record_of(self._folder, job_id)):
                    return job
        raise JobNotFound(job_id)

    def newest(self, kinds: Iterable[str] | None = None, state: JobState | None = None) -> Iterator[Job]:
        """The jobs of some kinds, or of all, newest first, read one by one; raises StoreUnavailable."""
        self._volume.check()
        wanted = None if kinds is None else frozenset(kinds)
        for record in sorted(self._folder.glob("*.json"), reverse=True):
            job = read_record(record)
            if job and (wanted is None or job.kind in wanted) and state in {None, job.state}:
                yield job

    def unfinished(self, kind: str) -> list[Job]:
        """The jobs of a kind that may still change, oldest first; raises StoreUnavailable."""
        self._volume.check()
        jobs, records = [], sorted(self._folder.glob("*.json"))
        self._finished &= {record.stem for record in records}
        for record in records:
            # Asked every second or two, while what is finished stays so, and there may be thousands of them.
            job = None if record.stem in self._finished else read_record(record)
            if job and job.is_finished:
                self._finished.add(job.id)
            elif job and job.kind == kind:
                jobs.append(job)
        return jobs

    def unheld(self, kind: str) -> list[Job]:
        """The unfinished jobs of a kind that nobody runs, oldest first; raises StoreUnavailable."""
        return [job for job in self.unfinished(kind) if not self.is_held(job.id)]

    def is_held(self, job_id: str) -> bool:
        """Whether any living process runs it."""
        return self._locks.is_locked(_lock_name(job_id))

    def cancel(self, job_id: str) -> Job:
        """Ask for a job's end: its runner, wherever it is, hears of it; one that nobody runs ends here and now.

        A finished one stays as it is. Raises JobNotFound, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        self._volume.check_writable()
        job = self.get(job_id)
        if job.is_finished:
            return job
        with explaining_refusals():
            # First the marker: whoever takes the job before this does finds it.
            marker_of(self._folder, job_id).touch()
            if held := self.take(job_id):
                with held:
                    held.cancel()
        return self.get(job_id)

    def is_over(self, job_id: str) -> bool:
        """Whether a job has finished or is unknown; raises StoreUnavailable."""
        try:
            return self.get(job_id).is_finished
        except JobNotFound:
            return True

    def result_file(self, job_id: str) -> Path:
        """The path of a job's large result, whether there is one or not."""
        return result_of(self._folder, job_id)

    def sweep(self, retention: timedelta) -> list[str]:
        """Remove what finished longer ago than `retention`, and say which; clear what killed processes left.

        A job that lost its runner fails, unless it is of a resumable kind. Raises StoreUnavailable, StoreReadOnly.
        """
        swept, known = [], set[str]()
        for job in self.newest():
            known.add(job.id)
            if job.finished_at is None and job.kind not in self._resumable:
                self._fail_abandoned(job)
            elif job.finished_at and job.finished_at + retention <= datetime.now(UTC):
                self._remove(job.id)
                swept.append(job.id)
            elif job.finished_at:
                # Of one that asked for its end too late, or of a runner killed at its last step.
                marker_of(self._folder, job.id).unlink(missing_ok=True)
        for path in self._folder.iterdir():
            if self._is_left(path, known):
                path.unlink(missing_ok=True)
        return swept

    def _is_left(self, path: Path, known: set[str]) -> bool:
        """Whether a killed process has left a file that belongs to no job, or a draft that it did not rename."""
        if job_id := job_of_draft(path):
            if self._volume.has_lock_queries:
                return not self.is_held(job_id)
            return _is_older_than(path, STRAY_SECONDS)
        return path.stem not in known and _is_older_than(path, STRAY_SECONDS) and self._is_nobodys(path.stem)

    def _held(self, job: Job, lock: contextlib.ExitStack) -> HeldJob:
        return HeldJob(job, self._folder, lock.pop_all(), is_shared=self._volume.is_shared)

    def _is_nobodys(self, job_id: str) -> bool:
        # In this order: whoever makes a job holds it until its record is there.
        return not self.is_held(job_id) and read_record(record_of(self._folder, job_id)) is None

    def _fail_abandoned(self, job: Job) -> None:
        with contextlib.suppress(JobNotFound):
            if held := self.take(job.id):
                with held:
                    held.fail(JobAbandoned(job.kind, job.owner))

    def _remove(self, job_id: str) -> None:
        # The record last: killed in between, this is done again.
        for path_of in (marker_of, result_of, record_of):
            path_of(self._folder, job_id).unlink(missing_ok=True)


def _is_older_than(path: Path, seconds: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > seconds
    return False


def _lock_name(job_id: str) -> str:
    """A lock name that no model can have."""
    return f"/jobs/{job_id}"
