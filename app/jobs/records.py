"""A job's record: its request, its progress and its outcome, in one JSON file that is replaced as a whole."""

import contextlib
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.jobs.progress import Progress
from app.store import Actor, Claims, explaining_refusals
from app.store.volume.renames import rename_path

DRAFT_SUFFIX = ".new"


class JobState(StrEnum):
    """The state of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = frozenset({JobState.QUEUED, JobState.RUNNING})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed."""

    error: str
    """The name of a class of `app.errors`."""
    detail: str
    """The error's message."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as its record describes it."""

    id: str
    """Ids sort by the time of creation."""
    kind: str
    """The kind of job, such as `pull`."""
    created_at: datetime
    created_by: Actor
    request: dict[str, Any]
    """The parameters of the job: everything that a runner needs."""
    updated_at: datetime
    state: JobState = JobState.QUEUED
    phase: str = "waiting"
    """The current step of the job; of a finished job, the last step."""
    progress: Progress = field(default_factory=Progress)
    result: dict[str, Any] | None = None
    """The result, once the job has succeeded. A large result is in a file beside the record: see `result_of`."""
    failure: Failure | None = None
    finished_at: datetime | None = None
    owner: str | None = None
    """`<host>:<pid>` of the process that last wrote the record, for messages."""

    @property
    def is_finished(self) -> bool:
        """True if the state is final."""
        return self.state not in UNFINISHED

    def to_json(self) -> str:
        """Return the record as JSON."""
        fields = asdict(self) | {"created_by": self.created_by.to_record()}
        return json.dumps(fields, default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Build a job from a record's JSON; raises ValueError, KeyError or TypeError if the text is no record."""
        fields = json.loads(text)
        for name in ("created_at", "updated_at", "finished_at"):
            fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
        fields["created_by"] = Actor.from_record(fields["created_by"])
        fields["progress"] = Progress(**fields["progress"])
        fields["failure"] = Failure(**fields["failure"]) if fields["failure"] else None
        return cls(**fields | {"state": JobState(fields["state"])})


def new_job(kind: str, request: dict[str, Any], actor: Actor, progress: Progress) -> Job:
    """Return a new queued job with a new id. This writes no record."""
    now = datetime.now(UTC)
    # Like the ids of the trash. Five hex digits are the microseconds, so that ids of the same second sort by time too.
    job_id = f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(4)[:7]}"
    return Job(job_id, kind, now, actor, request, now, progress=progress)


def write_record(folder: Path, job: Job, *, is_lasting: bool) -> Job:
    """Replace a job's record atomically, and return the job as written. The caller must hold the job's lock.

    With `is_lasting` the record is synced to the disk first. Raises StoreFull, StoreReadOnly.
    """
    job = replace(job, updated_at=datetime.now(UTC), owner=f"{socket.gethostname()}:{os.getpid()}")
    draft = new_draft_of(folder, job.id)
    with explaining_refusals():
        with draft.open("x") as record:
            record.write(job.to_json())
            if is_lasting:
                record.flush()
                os.fsync(record.fileno())
        rename_path(draft, record_of(folder, job.id))
    return job


def read_record(record: Path) -> Job | None:
    """Return the job in a record; None if the record is missing or is not valid."""
    with contextlib.suppress(FileNotFoundError):
        return _job_in(record.read_text())
    return None


def _job_in(text: str) -> Job | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return Job.from_json(text)
    return None


def read_anew(folder: Path, job_id: str, claims: Claims) -> Job | None:
    """Read a job's record past this machine's cache and return the job. The caller must hold the job's lock.

    A network file system's client may continue to read a record that another machine has replaced. So the record is
    claimed (renamed), read and renamed back. Returns None if it is missing or not valid. Raises LookupStale.
    """
    try:
        claim = claims.claim(record_of(folder, job_id))
    except FileNotFoundError:
        return None
    try:
        claim.status()
        return _job_in(claim.read_text())
    finally:
        claim.give_back()


def record_of(folder: Path, job_id: str) -> Path:
    """Return the path of a job's record."""
    return folder / f"{job_id}.json"


def new_draft_of(folder: Path, job_id: str) -> Path:
    """Return the path for a new draft of a job's record. `write_record` renames the draft to the record.

    Each draft has a new name: a network file system's client that has cached an older draft of the same name would
    write into the record that this draft has become.
    """
    return folder / f"{job_id}.{secrets.token_hex(4)}{DRAFT_SUFFIX}"


def job_of_draft(path: Path) -> str | None:
    """Return the job id in a draft's path; None if the path is no draft."""
    return path.name.partition(".")[0] if path.suffix == DRAFT_SUFFIX else None


def marker_of(folder: Path, job_id: str) -> Path:
    """Return the path of a job's cancellation marker: an empty file that tells the job's runner to cancel the job."""
    return folder / f"{job_id}.cancel"


def result_of(folder: Path, job_id: str) -> Path:
    """Return the path of the file for a job's result that is too large for the record."""
    return folder / f"{job_id}.result"
