"""The sweep of jobs: removes old jobs and stray files, and settles the jobs that a former version has left."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from app.errors import StoreError
from app.jobs.folder import Jobs
from app.jobs.idempotency import KEY_SUFFIX
from app.jobs.records import (
    JOB,
    JOB_ID,
    Job,
    job_of_draft,
    read_record,
    record_of,
    record_of_units,
)
from app.jobs.units.new_units import RECEIVED_SUFFIX
from app.jobs.units.unit_jobs import REMOVED_SUFFIX

STRAY_SECONDS = 3600.0
"""The age at which a sweep removes a file that belongs to no job, in seconds."""
LEFT_SUFFIXES = {RECEIVED_SUFFIX, REMOVED_SUFFIX}
"""The ends of the names of folders of units that are no job yet, or no longer."""


def sweep_jobs(jobs: Jobs, retention: timedelta, is_needed: Callable[[Job], bool] = lambda _: False) -> list[str]:
    """Remove the jobs that finished longer ago than `retention`, and the files that killed processes left.

    `is_needed` returns True for a finished job that must be kept longer, because its webhook is still to be sent.
    Return the ids of the removed jobs. Raises StoreUnavailable, StoreReadOnly.
    """
    jobs.volume.check_writable()
    folder, swept, job_ids = jobs.volume.jobs_dir, [], set[str]()
    for job in jobs.newest():
        job_ids.add(job.id)
        with _reporting(jobs, record_of(folder, job.id) if job.units is None else record_of_units(folder, job.id)):
            if _swept(jobs, job, retention, is_needed):
                swept.append(job.id)
    jobs.expiry.seen_all(job_ids)
    for path in folder.iterdir():
        with _reporting(jobs, path):
            if path.suffix == KEY_SUFFIX and is_older_than(path, STRAY_SECONDS):
                if not jobs.units.keys.is_needed(path, job_ids.__contains__):
                    path.unlink(missing_ok=True)
            elif JOB_ID.match(path.name) and _is_left(jobs, path, job_ids, retention):
                _remove_left(jobs, path)
    return swept


@contextlib.contextmanager
def _reporting(jobs: Jobs, path: Path) -> Iterator[None]:
    """Report a job's record as damaged if the block cannot sweep the job, so that the sweep of other jobs continues."""
    try:
        yield
    except (StoreError, OSError) as exc:
        jobs.volume.records.note(path, JOB.kind, f"it cannot be swept: {exc}")


def _swept(jobs: Jobs, job: Job, retention: timedelta, is_needed: Callable[[Job], bool]) -> bool:
    """Sweep one job. Return True if the sweep has removed it."""
    if job.finished_at is None:
        if job.units is None:
            jobs.former.settle(job.id)
    elif jobs.expiry.is_over(job.id, job.finished_at + retention, retention) and not is_needed(job):
        if job.units is None:
            jobs.former.remove(job.id)
        else:
            jobs.units.remove(job.id)
        return True
    elif job.units is None:
        jobs.former.tidy(job.id)
    return False


def _remove_left(jobs: Jobs, path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    elif path.suffix in LEFT_SUFFIXES:
        shutil.rmtree(path)
    else:
        jobs.units.remove(path.name)


def _is_left(jobs: Jobs, path: Path, job_ids: set[str], retention: timedelta) -> bool:
    """Return True if a killed process left this file: it belongs to no job, or is a draft that was not renamed."""
    if job_id := job_of_draft(path):
        if jobs.volume.has_lock_queries:
            return not jobs.is_locked(job_id)
        return is_older_than(path, STRAY_SECONDS)
    if path.stem in job_ids or not is_older_than(path, _seconds_kept(jobs, path, retention)):
        return False
    # The lock is checked first, because a new job is held until its record exists.
    if jobs.is_locked(path.stem):
        return False
    record = record_of(jobs.volume.jobs_dir, path.stem)
    if path.is_dir():
        record = record_of_units(jobs.volume.jobs_dir, path.name)
    if path.suffix in LEFT_SUFFIXES or not os.path.lexists(record):
        return True
    # A newer version of this service may have written a record that cannot be read: keep it as long as a finished job.
    return read_record(jobs.volume.records, record) is None and is_older_than(record, retention.total_seconds())


def _seconds_kept(jobs: Jobs, path: Path, retention: timedelta) -> float:
    """Return for how many seconds a path that belongs to no job is kept; report a job whose record is lost."""
    is_lost = JOB_ID.fullmatch(path.name) is not None and jobs.note_lost(path.name)
    return max(STRAY_SECONDS, retention.total_seconds()) if is_lost else STRAY_SECONDS


def is_older_than(path: Path, seconds: float) -> bool:
    """Return True if a file was last written more than `seconds` ago; False if it is missing."""
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.lstat().st_mtime > seconds
    return False
