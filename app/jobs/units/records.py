"""The records of a job of units: what its units are, and the log of what was done with them."""

import contextlib
import errno
import json
import os
import secrets
import stat
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from app.jobs.records import RECORD_NAME, Failure, JobState, record_of_units
from app.store.records.forms import HeaderText, JsonObject, RecordDamaged, RecordForm, Size, Time, Token, Word
from app.store.records.reader import open_regular
from app.store.volume.server_lookups import FRESH_SECONDS, LOOKUP_PAUSE_SECONDS

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
"""The permissions of a job's files: its units and results are the callers' documents, and units may have passwords."""
MAX_UNITS = 1_000_000
"""A record that states more units than this is damaged; no request can create as many."""
MAX_UNIT_BYTES = 16 << 20
"""The longest line of `units.jsonl`, in bytes: a text, and the escapes of JSON."""
MAX_UNITS_BYTES = 4 << 30
"""The longest `units.jsonl` that is read, in bytes."""
MAX_ENTRY_BYTES = 1 << 15
"""The longest line of the log, in bytes: a failure's message, whose characters may take twelve bytes each."""
MAX_RESULT_BYTES = 256 << 20
"""The longest result that is read, in bytes."""
MAX_DETAIL_CHARS = 2000
"""The longest message of a unit's failure in the log. The unit's result has the whole message."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of a job: a file in the job's folder or at a URL, a text, or a pull, whose request is in the task."""

    name: str | None = None
    """The file's name, as its sender gave it, or its URL without the query."""
    text: str | None = None
    url: str | None = None
    password: str | None = None
    """The password of an encrypted PDF."""
    unreadable: str | None = None
    """Why the unit has no file that can be read, as of a damaged file in an archive."""

    def to_json(self) -> str:
        """Return the unit as a line of `units.jsonl`, without the line feed."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})


class EntryKind(StrEnum):
    """What an entry of a job's log says."""

    BEGUN = "begun"
    """A service has begun to work on a unit."""
    GIVEN_BACK = "given_back"
    """A service has stopped its work on a unit without a result, for another service to do it."""
    RESULT = "result"
    """The unit has its result, a part of a file of results. A second result of a unit is ignored."""
    END = "end"
    """The job has ended. Entries after this one are ignored."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a job's log."""

    event: Word
    """An EntryKind. An entry of another kind, as of a newer version, is ignored."""
    at: Time
    unit: Size | None = None
    """The unit's number, counted from 0."""
    offset: Size | None = None
    """Where the unit's result begins in the file of results, in bytes."""
    length: Size | None = None
    """How many bytes the result has."""
    writer: Token | None = None
    """Which process has written the result: the result is in `results.<writer>.jsonl`. None for `results.jsonl`."""
    failure: Failure | None = None
    """Why the unit failed; None if it succeeded."""
    state: JobState | None = None
    """The job's final state, in the entry `end`."""
    owner: str | None = None
    """`<host>:<pid>` of the process that wrote the entry."""

    def to_json(self) -> str:
        """Return the entry as a line of the log, without the line feed."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(fields, default=datetime.isoformat)


@dataclass(frozen=True, slots=True)
class Task:
    """What to do with each unit of a job: a kind's own parameters, and the request that gave them."""

    parameters: JsonObject
    path: HeaderText = ""
    """The path of the request, which problems of units show."""


UNIT = RecordForm(Unit, "job", max_bytes=MAX_UNIT_BYTES)
ENTRY = RecordForm(Entry, "job", max_bytes=MAX_ENTRY_BYTES)
TASK = RecordForm(Task, "job")


def task_json(task: Task) -> str:
    """Return a task as its record has it."""
    return json.dumps(asdict(task))


def failure_of(error: Exception) -> Failure:
    """Return an error as the log has it."""
    return Failure(type(error).__name__, str(error)[:MAX_DETAIL_CHARS])


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """Where a unit's result is, in `results.<writer>.jsonl`."""

    unit: int
    offset: int
    length: int
    writer: str | None
    read_at: float
    """When this process has read the place from the log, by the monotonic clock."""

    @property
    def end(self) -> int:
        """Where the result ends in its file, in bytes."""
        return self.offset + self.length

    @classmethod
    def unknown(cls, unit: int) -> "ResultPlace":
        """Return the place of a result that the log has lost. Nothing can be read there."""
        return cls(unit, 0, 0, None, 0.0)


class JobFolder:
    """The paths of one job of units, below `.store/jobs/<id>/`."""

    def __init__(self, jobs_dir: Path, job_id: str) -> None:
        self.path = record_of_units(jobs_dir, job_id).parent
        self.record = self.path / RECORD_NAME
        self.task = self.path / "task.json"
        self.units = self.path / "units.jsonl"
        """One line for each unit."""
        self.log = self.path / "log.jsonl"
        """What was done, in the order in which it was done. Only the holder of the job's lock appends to it."""
        self.inputs = self.path / "in"
        """The files of the units that have no result yet."""

    def check(self) -> None:
        """Raise RecordDamaged if the folder is a link, which could lead anywhere. A missing folder is no damage."""
        if self.path.is_symlink():
            raise RecordDamaged("its folder is a symbolic link", self.path)

    def has_irregular_log(self) -> bool:
        """Return True if a link, a folder or the like is in the place of the log. Raises RecordDamaged and OSError."""
        self.check()
        try:
            return not stat.S_ISREG(self.log.lstat().st_mode)
        except FileNotFoundError:
            return False

    def set_log_aside(self) -> Path:
        """Rename the log, so that a new one can begin, and return its new path. The caller holds the job's lock.

        Follows no link. Raises OSError.
        """
        return self.log.rename(self.path / f"log.damaged.{secrets.token_hex(4)}")

    def remove_inputs(self, *numbers: int) -> None:
        """Remove the files of units, by default of all. Files that cannot be removed go when the job is removed."""
        with contextlib.suppress(OSError):
            # By a descriptor, because the folder could be a link, or be replaced by one meanwhile.
            folder = os.open(self.inputs, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                for name in map(str, numbers) if numbers else os.listdir(folder):  # noqa: PTH208 - a Path has no descriptor
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=folder)
            finally:
                os.close(folder)

    def results_of(self, writer: str | None) -> Path:
        """Return the path of the results of one process, a line each. No other process writes to this file."""
        return self.path / (f"results.{writer}.jsonl" if writer else "results.jsonl")

    def read_result(self, place: ResultPlace, *, is_shared: bool) -> bytes:
        """Return a result as JSON. Raises RecordDamaged if it cannot be read, and OSError.

        If another machine may have written the result (`is_shared`), this one may see an older state of the file. Then
        it tries again until FRESH_SECONDS after it has read from the log where the result is.
        """
        while place.length <= MAX_RESULT_BYTES:
            try:
                descriptor = open_regular(self.results_of(place.writer))
                try:
                    data = os.pread(descriptor, place.length, place.offset)
                finally:
                    os.close(descriptor)
                if len(data) == place.length and data.endswith(b"\n"):
                    return data
            except FileNotFoundError:
                pass
            except OSError as exc:
                if exc.errno != errno.ESTALE:
                    raise
            if not is_shared or time.monotonic() >= place.read_at + FRESH_SECONDS:
                break
            time.sleep(LOOKUP_PAUSE_SECONDS)
        raise RecordDamaged("it is missing, incomplete or too large")

    def input_of(self, number: int) -> Path:
        """Return the path of a unit's file."""
        return self.inputs / str(number)
