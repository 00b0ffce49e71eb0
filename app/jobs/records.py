"""A job's record: what was asked for, how far it is and what came of it, in one JSON file that is replaced whole."""

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
from app.store.actor import Actor
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
    """Why a job failed. What that is on the wire, `app.api.http.problem_table` says."""

    error: str
    """The name of a class of `app.errors`."""
    detail: str
    """Its sentence."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it is now."""

    id: str
    """Sorts by the time of its creation."""
    kind: str
    """What it does: `pull` or another."""
    created_at: datetime
    created_by: Actor
    request: dict[str, Any]
    """What was asked for: enough to run it, whoever does."""
    updated_at: datetime
    state: JobState = JobState.QUEUED
    phase: str = "waiting"
    """What it does, or did last, in a word or two."""
    progress: Progress = field(default_factory=Progress)
    result: dict[str, Any] | None = None
    """What came of it; a large result lies in a file beside the record, `result_of()`."""
    failure: Failure | None = None
    finished_at: datetime | None = None
    owner: str | None = None
    """The host and the process that wrote this, for people."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in UNFINISHED

    def to_json(self) -> str:
        """The record as text."""
        fields = asdict(self) | {"created_by": self.created_by.to_record()}
        return json.dumps(fields, default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read a record; raises ValueError, KeyError or TypeError when it is none."""
        fields = json.loads(text)
        for name in ("created_at", "updated_at", "finished_at"):
            fields[name] = datetime.fromisoformat(fields[name]) if fields[name] else None
        fields["created_by"] = Actor.from_record(fields["created_by"])
        fields["progress"] = Progress(**fields["progress"])
        fields["failure"] = Failure(**fields["failure"]) if fields["failure"] else None
        return cls(**fields | {"state": JobState(fields["state"])})


def new_job(kind: str, request: dict[str, Any], actor: Actor) -> Job:
    """A job that begins now, not written yet."""
    now = datetime.now(UTC)
    # Like the trash's ids, and those of one second sort too: five digits are its microseconds.
    job_id = f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(4)[:7]}"
    return Job(job_id, kind, now, actor, request, now)


def write_record(folder: Path, job: Job, *, is_lasting: bool) -> Job:
    """Replace the record in one step; a lasting one is on the disk before this returns. Hold the job's lock meanwhile.

    Raises StoreFull, StoreReadOnly.
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
    """The job of a record; None where there is none, or none that can be read."""
    with contextlib.suppress(FileNotFoundError):
        return _job_in(record.read_text())
    return None


def _job_in(text: str) -> Job | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return Job.from_json(text)
    return None


def read_anew(folder: Path, job_id: str, claims: Claims) -> Job | None:
    """The job's record as the file system's server has it. Hold the job's lock meanwhile; raises LookupStale.

    A client may go on reading the record that another machine has replaced, so it is claimed, read and given back.
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
    """Where a job's record lies."""
    return folder / f"{job_id}.json"


def new_draft_of(folder: Path, job_id: str) -> Path:
    """The path for a new draft of a job's record, which is then renamed to the record.

    Each draft has a name of its own: a client that remembers an older draft would write into the record it has become.
    """
    return folder / f"{job_id}.{secrets.token_hex(4)}{DRAFT_SUFFIX}"


def job_of_draft(path: Path) -> str | None:
    """The id of the job that a draft is of; None for what is no draft."""
    return path.name.partition(".")[0] if path.suffix == DRAFT_SUFFIX else None


def marker_of(folder: Path, job_id: str) -> Path:
    """What tells a job's runner, wherever it is, that somebody asked for its end."""
    return folder / f"{job_id}.cancel"


def result_of(folder: Path, job_id: str) -> Path:
    """Where a result that is too large for the record lies."""
    return folder / f"{job_id}.result"
