"""Jobs of a former version, each run by one process that holds the job's lock: end them, or make them units.

Such a job has `<id>.json`, and beside it `<id>.cancel`, a marker that tells its process to cancel it, and
`<id>.result`, a result that is too large for the record. A former version may still run jobs on the folder. The methods
block.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.errors import JobAbandoned, LookupStale, ModelInUse, ModelLocked
from app.jobs.records import (
    JOB,
    Failure,
    Job,
    JobState,
    new_draft_of,
    read_anew,
    record_of,
    record_of_units,
    write_record,
)
from app.jobs.units.new_units import RECEIVED_SUFFIX, NewUnits
from app.jobs.units.open_jobs import lock_name
from app.jobs.units.records import Task, Unit
from app.store import Store, explaining_refusals
from app.store.records.forms import RecordDamaged
from app.store.records.reader import read_regular
from app.store.volume.renames import rename_path

FORMER_LOCK_SECONDS = 0.2
"""How long to wait for a job's lock, in seconds. A process of a former version holds it until the job ends."""
LEFT_AFTER = timedelta(seconds=10)
"""The age from which an unlocked record of a pull counts as left by a service of a former version. That service takes
a new pull within a second, and locks it."""
CANCEL_SUFFIX, RESULT_SUFFIX = ".cancel", ".result"


class FormerJobs:
    """The jobs of a former version in one model folder."""

    def __init__(self, store: Store, continued: Collection[str]) -> None:
        """`continued` are the kinds of job whose records become jobs of one unit; others fail."""
        self._volume = store.volume
        self._locks = store.locks
        self._claims = store.claims
        self._folder = store.volume.jobs_dir
        self._continued = frozenset(continued)

    def settle(self, job_id: str) -> None:
        """End an unfinished job that no process runs, or make it a job of one unit, which any service can work on.

        A pull whose record was written just now is left alone: it may wait for a service of a former version. Raises
        StoreUnavailable, StoreReadOnly, StoreFull.
        """
        with (
            explaining_refusals(),
            contextlib.suppress(ModelLocked, ModelInUse, LookupStale),
            self._locks.exclusive(lock_name(job_id), seconds=FORMER_LOCK_SECONDS),
        ):
            job = self._read(job_id)
            if job is None or job.is_finished:
                return
            if os.path.lexists(self._beside(job_id, CANCEL_SUFFIX)):
                self._end(job, JobState.CANCELLED)
            elif job.kind in self._continued:
                if datetime.now(UTC) - job.updated_at >= LEFT_AFTER:
                    self._make_units(job)
            else:
                error = JobAbandoned(job.kind, job.owner)
                self._end(job, JobState.FAILED, Failure(type(error).__name__, str(error)))

    def cancel(self, job_id: str) -> None:
        """Cancel a job, at once if no process runs it. Raises StoreUnavailable, StoreReadOnly, StoreFull."""
        with explaining_refusals(), contextlib.suppress(FileExistsError):
            # Anything that exists at the marker's path, such as a link, counts as a marker.
            path = self._beside(job_id, CANCEL_SUFFIX)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        self.settle(job_id)

    def tidy(self, job_id: str) -> None:
        """Remove the marker of a finished job, which a late cancellation may have left. Raises OSError."""
        self._beside(job_id, CANCEL_SUFFIX).unlink(missing_ok=True)

    def remove(self, job_id: str) -> None:
        """Remove a job. The record goes last, so that a removal that was interrupted is repeated. Raises OSError."""
        for path in (self._beside(job_id, CANCEL_SUFFIX), self.result_file(job_id), record_of(self._folder, job_id)):
            path.unlink(missing_ok=True)

    def result_file(self, job_id: str) -> Path:
        """Return the path of a job's result file; the file need not exist."""
        return self._beside(job_id, RESULT_SUFFIX)

    def _beside(self, job_id: str, suffix: str) -> Path:
        return self._folder / f"{job_id}{suffix}"

    def _read(self, job_id: str) -> Job | None:
        """Read a record under the job's lock; on a shared volume, from the server and not from this machine's cache."""
        if self._volume.is_shared:
            return read_anew(self._folder, job_id, self._claims)
        with contextlib.suppress(FileNotFoundError, RecordDamaged):
            job = JOB.parse(read_regular(record_of(self._folder, job_id), JOB.max_bytes))
            return job if job.id == job_id else None
        return None

    def _end(self, job: Job, state: JobState, failure: Failure | None = None) -> None:
        self._volume.check_writable()
        job = replace(job, state=state, failure=failure, finished_at=datetime.now(UTC), units=None)
        write_record(self._folder, job, is_lasting=True)
        with contextlib.suppress(IsADirectoryError):  # the service puts no folder there
            self.tidy(job.id)

    def _make_units(self, job: Job) -> None:
        """Make a record that of a job of one unit: the record itself moves, so that no version sees the job twice.

        If this process is killed between the two renames, the next call completes the move.
        """
        self._volume.check_writable()
        for left in (job.id, f"{job.id}{RECEIVED_SUFFIX}"):
            shutil.rmtree(self._folder / left, ignore_errors=True)
        new = NewUnits.begin(self._folder, job.id)
        new.add_all([Unit()])
        new.finish(Task(job.request))
        new.take_name()
        draft, record = new_draft_of(self._folder, job.id), record_of(self._folder, job.id)
        with draft.open("x") as file:
            file.write(json.dumps(json.loads(job.to_json()) | {"units": 1}))
            file.flush()
            os.fsync(file.fileno())
        rename_path(draft, record)
        rename_path(record, record_of_units(self._folder, job.id))
