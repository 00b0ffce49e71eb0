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
from app.store import Actor
from app.store.volume.claims import Claims
from app.store.volume.volume import explaining_refusals

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
    """One job as it is now."""

    id: str
    """Ids sort by the time of creation."""
    kind: str
    """The kind of job, such as `pull`."""
    created_at: datetime
    created_by: Actor
    request: dict[str, Any]
    """The request: everything that any runner needs."""
    updated_at: datetime
    state: JobState = JobState.QUEUED
    phase: str = "waiting"
    """The step that the job is at, or was at last."""
    progress: Progress = field(default_factory=Progress)
    result: dict[str, Any] | None = None
    """The result; a large one is in a file beside the record, see `result_of`."""
    failure: Failure | None = None
    finished_at: datetime | None = None
    owner: str | None = None
    """The host and the process that last wrote the record, for people."""

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self.state not in UNFINISHED

    def to_json(self) -> str:
        """Return the record as JSON."""
        fields = asdict(self) | {"created_by": self.created_by.to_record()}
        return json.dumps(fields, default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read a record; raises ValueError, KeyError or TypeError when the text is none."""
        fields = json.loads(text)
        for name in ("created_at", "updated_at", "finished_at"):
            fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
        fields["created_by"] = Actor.from_record(fields["created_by"])
        fields["progress"] = Progress(**fields["progress"])
        fields["failure"] = Failure(**fields["failure"]) if fields["failure"] else None
        return cls(**fields | {"state": JobState(fields["state"])})


def new_job(kind: str, request: dict[str, Any], actor: Actor) -> Job:
    """Return a new job, which is not written yet."""
    now = datetime.now(UTC)
    # Like the ids of the trash. Five digits are the microseconds, so that the ids of one second sort too.
    job_id = f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(4)[:7]}"
    return Job(job_id, kind, now, actor, request, now)


def write_record(folder: Path, job: Job, *, is_lasting: bool) -> Job:
    """Replace the record atomically, and return the job as written. The caller holds the job's lock.

    With `is_lasting` the record is on the disk before this returns. Raises StoreFull, StoreReadOnly.
    """
    job = replace(job, updated_at=datetime.now(UTC), owner=f"{socket.gethostname()}:{os.getpid()}")
    draft = new_draft_of(folder, job.id)
    with explaining_refusals():
        with draft.open("x") as record:
            record.write(job.to_json())
            if is_lasting:
                record.flush()
                os.fsync(record.fileno())
        draft.replace(record_of(folder, job.id))
    return job


def read_record(record: Path) -> Job | None:
    """Return the job of a record; None when the record is missing or cannot be read."""
    with contextlib.suppress(FileNotFoundError):
        return _job_in(record.read_text())
    return None


def _job_in(text: str) -> Job | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return Job.from_json(text)
    return None


def read_anew(folder: Path, job_id: str, claims: Claims) -> Job | None:
    """Return the job as the file system's server has its record; raises LookupStale. The caller holds the job's lock.

    A client may continue to read a record that another machine has replaced, so it is claimed, read and released.
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
    """Return the path for a new draft of a job's record, which is then renamed to the record.

    Each draft has a name of its own: a client that remembers an older draft would write into the record it has become.
    """
    return folder / f"{job_id}.{secrets.token_hex(4)}{DRAFT_SUFFIX}"


def job_of_draft(path: Path) -> str | None:
    """Return the id of a draft's job; None for a path that is no draft."""
    return path.name.partition(".")[0] if path.suffix == DRAFT_SUFFIX else None


def marker_of(folder: Path, job_id: str) -> Path:
    """Return the path of the marker that tells a job's runner, in any process, that the job is cancelled."""
    return folder / f"{job_id}.cancel"


def result_of(folder: Path, job_id: str) -> Path:
    """Return the path of a result that is too large for the record."""
    return folder / f"{job_id}.result"
