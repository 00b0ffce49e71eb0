"""Which results of a job are lost: the log lacks their places, or their files lack their bytes. The functions block."""

import stat
import time

from app.jobs.records import Job, JobState
from app.jobs.units.open_jobs import OpenJob
from app.store.volume.server_lookups import FRESH_SECONDS

MOST_WRITERS = 1000
"""How many files of results are looked at. A job has one for each process that has worked on it."""


def unplaced_units(open_job: OpenJob, job: Job) -> list[int]:
    """Return the units of a finished job whose results the log has lost, in order.

    `job` is what the job's record says, which was written after the log. Of a cancelled job it says only how many units
    were done. If the log has fewer, all other units count as lost, because nothing tells which of them were done.
    """
    if not job.is_finished or job.counts_bytes:
        return []
    done = job.progress.done if job.state is JobState.CANCELLED else job.units or 0
    return open_job.log.missing if len(open_job.log.done) < done else []


def lost_units(open_job: OpenJob, job: Job, *, is_shared: bool) -> set[int]:
    """Return the units whose results are known to be lost, without reading the results.

    `is_shared`: another machine may have written them, and this one may see an older size of a file for a moment.
    Raises OSError.
    """
    lost = open_job.unreadable | set(unplaced_units(open_job, job))
    if len(open_job.log.ends) > MOST_WRITERS:
        return lost
    sizes = {writer: _size_of(open_job, writer) for writer in open_job.log.ends}
    if all(sizes[writer] >= end for writer, end in open_job.log.ends.items()):
        return lost
    seen_until = time.monotonic() - (FRESH_SECONDS if is_shared else 0.0)
    short = (place for place in open_job.log.results if place.end > sizes[place.writer])
    return lost | {place.unit for place in short if place.read_at <= seen_until}


def _size_of(open_job: OpenJob, writer: str | None) -> int:
    """Return the size of a file of results in bytes; 0 if it is missing or no regular file."""
    try:
        status = open_job.folder.results_of(writer).lstat()
    except FileNotFoundError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
