"""The jobs of units in a model folder: create, cancel, read results, remove. The methods block."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from app.events import OnEvent
from app.jobs.idempotency import IdempotencyKeys
from app.jobs.records import Job, JobState, Priority, new_job
from app.jobs.units.job_log import JobLog
from app.jobs.units.lost_results import lost_units, unplaced_units
from app.jobs.units.new_units import NewUnits
from app.jobs.units.open_jobs import JOB_LOCK_SECONDS, OpenJob, OpenJobs, explaining_damage, lock_name
from app.jobs.units.records import JobFolder, ResultPlace, Task, Unit
from app.jobs.units.unit_claims import UnitClaims
from app.jobs.units.unit_descriptions import line_of, task_of, unit_of
from app.store import Actor, Store, explaining_refusals
from app.store.records.forms import RecordDamaged
from app.store.volume.renames import rename_path

REMOVED_SUFFIX = ".removed"
"""The end of the name of a folder whose job is being removed; before it is the id of the job."""


@dataclass(frozen=True, slots=True)
class UnitCounts:
    """How many units of a job have no usable result."""

    failed: int
    """How many units have a problem; those whose results are lost are among them."""
    lost: int
    """How many units had a result that is damaged or missing on the disk."""


class UnitJobs:
    """The jobs of units of one model folder, in `.store/jobs/<id>/`."""

    def __init__(self, store: Store, get: Callable[[str], Job], on_event: OnEvent = lambda *_: None) -> None:
        """`get` returns a job by its id, or raises JobNotFound."""
        self._open_jobs = OpenJobs(store, on_event)
        self._volume = store.volume
        self._get = get
        self.keys = IdempotencyKeys(store)
        self.claims = UnitClaims(self._open_jobs)

    @contextmanager
    def new(self) -> Iterator[NewUnits]:
        """Make the folder of a new job, into which its units are written.

        If no job is created, the folder is removed at the end of the context. Raises StoreUnavailable, StoreReadOnly,
        StoreFull.
        """
        self._volume.check_writable()
        with ExitStack() as lock:
            with explaining_refusals():
                new = NewUnits.begin(self._volume.jobs_dir)
                # A sweep removes no folder whose lock is held.
                lock.enter_context(self._open_jobs.locks.exclusive(lock_name(new.job_id), seconds=JOB_LOCK_SECONDS))
            try:
                yield new
            finally:
                new.close()
                if not new.is_created:
                    shutil.rmtree(new.folder.path, ignore_errors=True)

    def create(
        self,
        new: NewUnits,
        kind: str,
        request: dict[str, Any],
        actor: Actor,
        task: Task,
        priority: Priority = Priority.NORMAL,
        webhook: str | None = None,
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
        room: AbstractContextManager[None] | None = None,
    ) -> Job:
        """Create the job of the units that were received, and return it. From now on any service may work on it.

        If the caller has sent the same units, task and webhook with the same `idempotency_key` before, return the job
        that was created then. `fingerprint` tells requests apart whose units cannot be read again. `room` is held while
        a new job is created, see `Jobs.room_for`; it is not needed for an earlier one. Raises what it raises,
        IdempotencyKeyReused, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        self._volume.check_writable()
        with explaining_refusals(), self.keys.held(actor, idempotency_key) as held:
            new.finish(task)
            if idempotency_key:
                fingerprint = fingerprint or new.fingerprint(kind)
                if earlier := held.job_of(fingerprint, self._get, lambda job: job.webhook == webhook):
                    return earlier
            with room or nullcontext():
                if idempotency_key:
                    held.note(new.job_id, fingerprint or "")
                job = new_job(kind, request, actor, JobLog(new.folder.log, new.count).progress(), webhook)
                return new.become(replace(job, id=new.job_id, units=new.count, priority=priority))

    def create_of_one(self, new: NewUnits, job: Job) -> Job:
        """Create a job that is one unit and counts bytes, and return it. From now on any service may work on it.

        Its parameters are its request, and its id becomes that of `new`. Raises StoreUnavailable, StoreReadOnly,
        StoreFull.
        """
        self._volume.check_writable()
        with explaining_refusals():
            new.add_all([Unit()])
            new.finish(Task(job.request))
            return new.become(replace(job, id=new.job_id, units=new.count))

    def withdraw(self, new: NewUnits) -> None:
        """Undo the creation of a job that could not be queued; its folder is removed at the end of `new`.

        No service has begun it: `new` still holds the job's lock. Raises StoreUnavailable, StoreReadOnly, StoreFull.
        """
        with explaining_refusals():
            new.lose_name()
        new.is_created = False
        self._open_jobs.forget(new.job_id)

    def cancel(self, job: Job, is_done: Callable[[], bool] = lambda: False) -> Job:
        """Cancel a job, and return it as it has ended. Services that work on its units notice the end soon.

        If `is_done` returns True, the work on the job was done before: then the job is returned as it is. Raises
        JobNotFound, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        open_job = self._open_jobs.open(job)
        with explaining_damage(job), self._open_jobs.locked(open_job):
            if open_job.log.end is None and not open_job.log.is_complete and is_done():
                return job
            # If every unit has its result, a service was killed before it could end the job.
            return self._open_jobs.end(open_job, None if open_job.log.is_complete else JobState.CANCELLED)

    def results(self, job: Job, *, after: int, limit: int) -> list[ResultPlace]:
        """Return the places of up to `limit` results, from the result `after` on, in the order of their completion.

        The results of a finished job that the log has lost come last, in the order of their units. Raises JobNotFound,
        StoreUnavailable.
        """
        with self._refreshed(job) as open_job:
            placed = open_job.log.results
            found = placed[after : after + limit]
            if len(found) < limit and (lost := unplaced_units(open_job, job)):
                begin = max(0, after - len(placed))
                found += map(ResultPlace.unknown, lost[begin : begin + limit - len(found)])
            return found

    def counts(self, job: Job) -> UnitCounts:
        """Return how many units of a job have failed, and of how many the result is lost, as far as that is known.

        Raises JobNotFound, StoreUnavailable.
        """
        with self._refreshed(job) as open_job:
            lost = lost_units(open_job, job, is_shared=self._volume.is_shared)
            return UnitCounts(len(open_job.log.failures.keys() | lost), len(lost))

    def read_result(self, job: Job, place: ResultPlace) -> bytes:
        """Return a result as JSON. Raises RecordDamaged if it cannot be read, and OSError."""
        return JobFolder(self._volume.jobs_dir, job.id).read_result(place, is_shared=self._volume.is_shared)

    def note_read(self, job: Job, unit: int, *, is_readable: bool) -> None:
        """Remember whether the result of a unit could be read, for `counts`."""
        open_job = self._open_jobs.open(job)
        with open_job.using:
            (open_job.unreadable.discard if is_readable else open_job.unreadable.add)(unit)

    def origin(self, job: Job, unit: int) -> tuple[str | None, str]:
        """Return a unit's name and the path of the request that created its job; None and empty if unreadable.

        Raises StoreUnavailable.
        """
        open_job = self._open_jobs.open(job)
        name, path = None, ""
        with open_job.using, explaining_refusals():
            with suppress(RecordDamaged):
                name = unit_of(line_of(open_job, unit))[0].name
            with suppress(RecordDamaged):
                path = task_of(open_job).path
        return name, path

    @contextmanager
    def _refreshed(self, job: Job) -> Iterator[OpenJob]:
        """Hold a job open, with its log read. Raises JobNotFound, StoreUnavailable."""
        open_job = self._open_jobs.open(job)
        with open_job.using, explaining_refusals(), explaining_damage(job):
            if job.is_finished and self._volume.is_shared:
                open_job.refresh_to_end()
            else:
                open_job.refresh()
            yield open_job

    def remove(self, job_id: str) -> None:
        """Remove a job and its files. Raises OSError.

        The folder loses its name first: so the job is gone at once, and a folder without a record is a damaged job.
        """
        folder = JobFolder(self._volume.jobs_dir, job_id).path
        removed = folder.with_name(f"{job_id}.{secrets.token_hex(4)}{REMOVED_SUFFIX}")
        os.utime(folder)  # or another service's sweep would take it for one that was left an hour ago
        rename_path(folder, removed)
        shutil.rmtree(removed)
        self._open_jobs.forget(job_id)
