"""The record of a service: what the service is and does, for the other services on its folder.

The records are the files `<id>.<number>.json` in `.store/services/`, beside the files of the registry. A record is
never changed: the service writes the next one under the next number and deletes the former, because a client of a
network file system may go on to read a file that was replaced under the same name. Services that know no records
ignore these files.
"""

import contextlib
import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from app.store.records.forms import Finite, ModelName, RecordForm, Size, Time, Word

RECORD_NAME = re.compile(r"(?P<id>[0-9a-f]{16})\.(?P<number>\d{1,18})\.json")
DRAFT_NAME = re.compile(r"\.(?P<id>[0-9a-f]{16})\.json")
MAX_SERVICE_BYTES = 1 << 16
"""The largest record of a service that is read, in bytes."""
MOST_WORKS = 100
"""How many pieces of work a service names in its record."""


@dataclass(frozen=True, slots=True)
class LoadedRecord:
    """What the engine of a service has loaded."""

    processor: Word
    """A value of `app.engine.contract.processors.Processor`, or a processor that a newer version has."""
    model: ModelName
    since: Time
    mapped_bytes: Size
    """How many bytes of files in the model folder the engine's process has mapped."""


@dataclass(frozen=True, slots=True)
class LoadingRecord:
    """What the engine of a service is loading."""

    processor: Word
    model: ModelName
    model_bytes: Size
    """The size of the model's file."""


@dataclass(frozen=True, slots=True)
class WorkRecord:
    """One piece of work that a service does."""

    kind: Word
    """What is done, such as `recognise` or `pull`."""
    since: Time
    """When this work began."""
    job_id: Word | None = None
    """The job that the work belongs to; None for a request's own work."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """What one service is and does.

    Every field except `written_at` may be missing in the record of another version, and newer versions may write fields
    that are not here.
    """

    written_at: Time
    """When the record was written, by the clock of the service's machine."""
    name: Word | None = None
    """The name in the header `X-Served-By`; None if the service names itself nowhere."""
    host: Word | None = None
    """The name of the service's machine; None if the service does not tell it."""
    pid: Size | None = None
    version: Word | None = None
    started_at: Time | None = None
    is_read_only: bool = False
    engine_state: Word | None = None
    """A value of `app.engine.states.EngineState`, or a state that a newer version has."""
    loaded: LoadedRecord | None = None
    loading: LoadingRecord | None = None
    works: tuple[WorkRecord, ...] = ()
    """What the service works at, longest first."""
    waiting: Size = 0
    """How many calls wait for the engine."""
    expected_seconds: Finite | None = None
    """In how many seconds a call that comes now is expected to begin; None if the service does not know."""


SERVICE = RecordForm(ServiceRecord, "service", max_bytes=MAX_SERVICE_BYTES)


def write_service_record(folder: Path, service_id: str, number: int, record: ServiceRecord) -> None:
    """Write a record under a number, and delete the record with the number before. Raises OSError.

    The record is not synced to the disk: it means nothing after the end of the service.
    """
    draft = folder / f".{service_id}.json"
    draft.unlink(missing_ok=True)
    with draft.open("x") as file:
        json.dump(asdict(record), file, default=datetime.isoformat)
    draft.rename(record_path(folder, service_id, number))
    remove_service_record(folder, service_id, number - 1)


def remove_service_record(folder: Path, service_id: str, number: int) -> None:
    """Delete a record, if it is there. Raises OSError."""
    record_path(folder, service_id, number).unlink(missing_ok=True)


def record_path(folder: Path, service_id: str, number: int) -> Path:
    """Return the path of a record."""
    return folder / f"{service_id}.{number}.json"


def newest_numbers(names: tuple[str, ...]) -> dict[str, int]:
    """Return the number of the newest record of each service, by the service's id, from the names in the folder."""
    newest = dict[str, int]()
    for name in names:
        if match := RECORD_NAME.fullmatch(name):
            newest[match["id"]] = max(int(match["number"]), newest.get(match["id"], 0))
    return newest


def owner_of(name: str) -> str | None:
    """Return the id of the service that a record or a draft of one belongs to; None for any other name."""
    match = RECORD_NAME.fullmatch(name) or DRAFT_NAME.fullmatch(name)
    return match["id"] if match else None


def delete_leftover(folder: Path, name: str) -> None:
    """Delete a record or a draft that a dead service left. Something else under its name stays. Raises OSError."""
    with contextlib.suppress(IsADirectoryError):
        (folder / name).unlink(missing_ok=True)
