"""A job's record: its request, its progress and its outcome, in one JSON file that is replaced as a whole."""

import contextlib
import json
import os
import re
import secrets
import socket
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.jobs.progress import Progress
from app.store import Actor, Claims, explaining_refusals
from app.store.records.forms import By, JsonObject, RecordDamaged, RecordForm, Size, Time, Url, Word
from app.store.records.reader import RecordReader
from app.store.volume.renames import rename_path
from app.tracing import traceparent

WAITING, DONE = "waiting", "done"
"""The phases of a job that no service has begun, and of one that succeeded."""
DRAFT_SUFFIX = ".new"
RECORD_NAME = "job.json"
"""The name of the record of a job of units, in the job's own folder."""
JOB_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")
MAX_JOB_BYTES = 8 << 20
"""The largest record of a job that is read, in bytes. The record of a pull of ten thousand files is smaller."""


class JobState(StrEnum):
    """The state of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Priority(StrEnum):
    """The class of a job: units of a higher class are worked on first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


RANKS = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}
"""The order of the classes: units of the lowest rank are worked on first."""
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

    id: Word
    """Ids sort by the time of creation."""
    kind: Word
    """The kind of job, such as `pull`."""
    created_at: Time
    created_by: By
    request: JsonObject
    """The parameters of the job, as the API shows them."""
    updated_at: Time
    state: JobState = JobState.QUEUED
    phase: str = WAITING
    """The current step of the job; of a finished job, the last step."""
    progress: Progress = field(default_factory=Progress)
    result: JsonObject | None = None
    """The result, once the job has succeeded."""
    failure: Failure | None = None
    finished_at: Time | None = None
    owner: str | None = None
    """`<host>:<pid>` of the process that last wrote the record, for messages."""
    units: Size | None = None
    """How many units the job has; None for a job that a former version ran as a whole."""
    priority: Priority = Priority.NORMAL
    source: str | None = None
    """Where the bytes of a pull come from, such as a host: the jobs of a caller take turns between their sources."""
    traceparent: str | None = None
    """The span of the request that created the job, as the header `traceparent` has it; None without traces."""

    webhook: Url | None = None
    """The URL that is told the end of the job; None if there is none. It may hold a secret in its query."""

    @property
    def is_downloaded(self) -> bool:
        """True if a service downloads the units of the job: it is a pull, or its units are URLs."""
        return self.counts_bytes or self.request.get("by_url") is True

    @property
    def counts_bytes(self) -> bool:
        """True if the progress of the job counts bytes, as that of a pull; otherwise it counts files or texts.

        Such a job is one unit, whose phase, progress and result are the job's. The record has the phase and the
        progress that a service has reported last.
        """
        return self.units is not None and self.progress.unit == "bytes"

    @property
    def turn_taker(self) -> str:
        """The name of what takes turns in the order of units: the caller, and for pulls the source too."""
        return f"{self.created_by.name} {self.source}" if self.source else self.created_by.name

    @property
    def units_left(self) -> int:
        """How many units of the unfinished job have no result."""
        return 1 if self.units is None or self.counts_bytes else max(0, self.units - self.progress.done)

    @property
    def is_finished(self) -> bool:
        """True if the state is final."""
        return self.state not in UNFINISHED

    def to_json(self) -> str:
        """Return the record as JSON."""
        fields = asdict(self) | {"created_by": self.created_by.to_record()}
        for name in ("source", "traceparent", "units", "webhook"):
            if fields[name] is None:
                del fields[name]
        if self.units is None:
            del fields["priority"]
        return json.dumps(fields, default=datetime.isoformat)


class _JobForm(RecordForm[Job]):
    """The form of a job's record. It refuses a record in which `finished_at` and the state disagree."""

    def parse(self, data: bytes) -> Job:
        """Read a record from JSON. Raises RecordDamaged."""
        job = super().parse(data)
        if job.is_finished != (job.finished_at is not None):
            raise RecordDamaged(f"finished_at does not agree with the state {job.state}")
        return job


JOB = _JobForm(Job, "job", max_bytes=MAX_JOB_BYTES)


def new_job(kind: str, request: dict[str, Any], actor: Actor, progress: Progress, webhook: str | None = None) -> Job:
    """Return a new queued job with a new id. This writes no record."""
    now = datetime.now(UTC)
    return Job(
        new_job_id(now),
        kind,
        now,
        actor,
        request,
        now,
        progress=progress,
        traceparent=traceparent(),
        webhook=webhook,
    )


def new_job_id(now: datetime) -> str:
    """Return a new id of a job that is created `now`."""
    # Like the ids of the trash. Five hex digits are the microseconds, so that ids of the same second sort by time too.
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(4)[:7]}"


def write_record(folder: Path, job: Job, *, is_lasting: bool) -> Job:
    """Replace a job's record atomically, and return the job as written. The caller must hold the job's lock.

    With `is_lasting` the record is synced to the disk first. Raises StoreFull, StoreReadOnly.
    """
    is_folder = job.units is not None
    draft = new_draft_of(folder / job.id if is_folder else folder, "job" if is_folder else job.id)
    job = write_new_record(draft, job, is_lasting=is_lasting)
    with explaining_refusals():
        rename_path(draft, record_of_units(folder, job.id) if is_folder else record_of(folder, job.id))
    return job


def write_new_record(path: Path, job: Job, *, is_lasting: bool = True) -> Job:
    """Write a job's record to a file that does not exist yet, and return the job as written.

    With `is_lasting` the record is synced to the disk. Raises StoreFull, StoreReadOnly.
    """
    job = replace(job, updated_at=datetime.now(UTC), owner=process_name())
    with explaining_refusals(), path.open("x") as record:
        record.write(job.to_json())
        if is_lasting:
            record.flush()
            os.fsync(record.fileno())
    return job


def process_name() -> str:
    """Return `<host>:<pid>` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def read_record(reader: RecordReader, record: Path) -> Job | None:
    """Return the job in a record; None if the record is missing or damaged."""
    if record.name == RECORD_NAME and record.parent.is_symlink():
        reader.note(record, JOB.kind, "its folder is a symbolic link")
        return None
    job = reader.read(record, JOB)
    if job and (job.id != id_of(record) or (job.units is None and record.name == RECORD_NAME)):
        reader.note(record, JOB.kind, "it names another job than its file name")
        return None
    if job and record.name != RECORD_NAME and job.units is not None:
        return replace(job, units=None)  # a process was killed while it moved the record: see `FormerJobs`
    return job


def read_anew(folder: Path, job_id: str, claims: Claims) -> Job | None:
    """Read a job's record past this machine's cache and return the job. The caller must hold the job's lock.

    A network file system's client may continue to read a record that another machine has replaced. So the record is
    claimed (renamed), read and renamed back. Returns None if the record is missing or not valid. Raises LookupStale.
    """
    try:
        claim = claims.claim(record_of(folder, job_id))
    except FileNotFoundError:
        return None
    try:
        claim.status()
        with contextlib.suppress(RecordDamaged):
            job = JOB.parse(claim.read(JOB.max_bytes))
            return job if job.id == job_id else None
        return None
    finally:
        claim.give_back()


def record_of(folder: Path, job_id: str) -> Path:
    """Return the path of the record of a job that a former version ran as a whole."""
    return folder / f"{job_id}.json"


def record_of_units(folder: Path, job_id: str) -> Path:
    """Return the path of the record of a job of units, which has a folder of its own."""
    return folder / job_id / RECORD_NAME


def id_of(record: Path) -> str:
    """Return the id of the job whose record has this path."""
    return record.parent.name if record.name == RECORD_NAME else record.stem


def new_draft_of(folder: Path, job_id: str) -> Path:
    """Return the path for a new draft of a job's record. `write_record` renames the draft to the record.

    Each draft has a new name. Otherwise a network file system's client that has cached an older draft of that name
    would write into the file that is now the record.
    """
    return folder / f"{job_id}.{secrets.token_hex(4)}{DRAFT_SUFFIX}"


def job_of_draft(path: Path) -> str | None:
    """Return the job id in a draft's path; None if the path is no draft."""
    return path.name.partition(".")[0] if path.suffix == DRAFT_SUFFIX else None
