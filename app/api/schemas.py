"""What answers look like on the wire. The docstrings are the text of the docs page."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PlainSerializer, WithJsonSchema


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Timestamp = Annotated[
    datetime, PlainSerializer(_rfc3339, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]


class Schema(BaseModel):
    """What all answers share: they are read from the domain's own objects, and never change."""

    model_config = ConfigDict(
        from_attributes=True,
        use_attribute_docstrings=True,
        frozen=True,
        json_schema_serialization_defaults_required=True,
    )


class ModelOut(Schema):
    """One model: a regular file below the model folder."""

    name: str
    """Its path relative to the model folder, with `/`."""
    path: str
    """Its absolute path on the machine of this service."""
    size_bytes: NonNegativeInt
    """Its size."""
    modified_at: Timestamp
    """When it was last written."""
    status: Literal["current", "old"]
    """`old` when it matches a pattern of `OCR_OLD_PATTERNS`."""
    protected: bool
    """Whether a pattern of `OCR_PROTECTED` forbids deleting it."""
    in_use: bool
    """Whether anybody holds a lease on it, on this machine or another. A model in use cannot be deleted."""
    recognised: bool | None
    """Whether AsposeAI's own `list_local()` names it; null while the engine has not been asked since the file came."""
    etag: str
    """Changes whenever the file is replaced, grows or is written."""


class ScanWarningOut(Schema):
    """Something in the model folder that could not be listed."""

    path: str
    """Where it lies, relative to the model folder."""
    reason: str
    """Why it is not in the list."""


class ModelList(Schema):
    """Every model below the model folder, by name."""

    count: NonNegativeInt
    """How many models there are."""
    total_size_bytes: NonNegativeInt
    """What they take together."""
    models: list[ModelOut]
    """The models, sorted by name."""
    warnings: list[ScanWarningOut]
    """What the scan met and could not list: links, devices, unreadable folders, names that no URL can carry."""


class PathOut(Schema):
    """Where models lie on the machine of this service."""

    path: str
    """The absolute path, links resolved."""


class ReceiptOut(Schema):
    """What a deletion did."""

    name: str
    """The model that is gone."""
    size_bytes: NonNegativeInt
    """Its size."""
    freed_bytes: NonNegativeInt
    """What the disk has back: nothing while the model is in the trash."""
    trash_id: str | None
    """Its entry in the trash; null when it was deleted at once, without a way back."""
    expires_at: Timestamp | None
    """When the trash lets go of it, and its bytes come back; null when they already have."""
    dry_run: bool
    """Whether this only says what would be done."""


class TrashEntryOut(Schema):
    """One deleted model."""

    id: str
    """What restores or purges it."""
    name: str
    """The name it had."""
    size_bytes: NonNegativeInt
    """Its size, still taken on the disk."""
    deleted_at: Timestamp
    """When it was deleted."""
    expires_at: Timestamp
    """When it goes for good."""


class TrashList(Schema):
    """Everything that can be restored."""

    count: NonNegativeInt
    """How many entries there are."""
    total_size_bytes: NonNegativeInt
    """What they take on the disk together."""
    entries: list[TrashEntryOut]
    """The entries, oldest first."""


class PurgeOut(Schema):
    """What a purge deleted for good."""

    count: NonNegativeInt
    """How many entries went. Those that another caller purged meanwhile are not among them."""
    freed_bytes: NonNegativeInt
    """What they took on the disk together."""
    entries: list[TrashEntryOut]
    """The entries that went, oldest first."""


class EventOut(Schema):
    """One line of the journal."""

    at: Timestamp
    """When."""
    actor: str
    """Who: the name of an API key, `anonymous` where none is needed, or `service` for what a service did by itself."""
    action: Literal["trashed", "deleted", "restored", "purged"]
    """What was done."""
    name: str
    """To which model."""
    trash_id: str | None
    """Its entry in the trash, if it was there before or after."""
    size_bytes: NonNegativeInt
    """Its size."""
    request_id: str | None
    """The request that asked for it."""


class JournalOut(Schema):
    """What happened to the models of this folder."""

    events: list[EventOut]
    """The last events, newest first."""


class VendorOut(Schema):
    """The engine's own package."""

    package: str
    """Its name on PyPI."""
    version: str
    """Its version."""


class LicenseOut(Schema):
    """How the engine is licensed."""

    mode: Literal["licensed", "evaluation"]
    """What AsposeAI says. In evaluation it loads one model only, and cuts recognised text."""
    error: str | None
    """Why the file of `OCR_LICENSE_FILE` could not be applied."""


class CapabilityOut(Schema):
    """One thing the engine can do, or cannot do here."""

    name: str
    """`models` (list, path), `ai` (load a model and correct text) or `recognition` (read images)."""
    available: bool
    """Whether it works here."""
    reason: str | None
    """What is missing when it does not."""


class MemoryOut(Schema):
    """What the engine's process holds now."""

    resident_bytes: NonNegativeInt
    """Memory in use, what it shares with other processes included."""
    private_bytes: NonNegativeInt
    """Memory that no other process shares: what the kernel has back when the process ends."""


class EngineExitOut(Schema):
    """How the last engine process ended."""

    at: Timestamp
    """When."""
    pid: int
    """Which process it was."""
    reason: str
    """Its exit status or signal, and why the service ended it when it did."""
    output: list[str]
    """The last lines it printed."""


class EngineOut(Schema):
    """The engine: AsposeAI, supervised in a process of its own."""

    state: Literal["stopped", "starting", "ready", "stopping", "backing_off", "failed"]
    """`backing_off` after a death, `failed` when it died too often in a row."""
    reason: str | None
    """Why it is not ready."""
    pid: int | None
    """Its process, or null while there is none."""
    started_at: Timestamp | None
    """When that process was started."""
    uptime_seconds: NonNegativeFloat | None
    """How long that process has been running."""
    restarts: NonNegativeInt
    """How often the process was replaced, releases included."""
    last_exit: EngineExitOut | None
    """How the process before this one ended."""
    busy: bool
    """Whether a call runs."""
    waiting: NonNegativeInt
    """How many calls wait for their turn."""
    memory: MemoryOut | None
    """What its process holds, or null while there is none."""
    vendor: VendorOut | None
    """The engine's own package; null until the engine was ready once, as is all that follows."""
    license: LicenseOut | None
    """How it is licensed."""
    local_path: str | None
    """AsposeAI's `get_local_path()`, made absolute, links resolved: the model folder."""
    list_local: list[str] | None
    """AsposeAI's `list_local()` as it is: the files it would use itself, relative to its working directory."""
    is_initialized: bool | None
    """AsposeAI's `is_initialized()`: whether a model is loaded."""
    asked_at: Timestamp | None
    """When AsposeAI said the above. It is asked when it is ready, and again when the model folder changes."""
    capabilities: list[CapabilityOut] | None
    """What works here, and why the rest does not."""


class ReleaseOut(Schema):
    """What a release gave back. The old process is gone when this is answered, and a fresh one is starting."""

    pid: int | None
    """The process that ended; null when none was ready."""
    exit_reason: str | None
    """How it ended."""
    resident_bytes_before: NonNegativeInt
    """Its memory in use before."""
    returned_bytes: NonNegativeInt
    """What the kernel has back: the memory that it shared with nobody."""
    seconds: NonNegativeFloat
    """From the request to the moment the kernel had reaped the process."""


class Alive(Schema):
    """The service's process answers."""

    status: Literal["alive"]
    """Always this."""


class Ready(Schema):
    """The service does all of its work."""

    status: Literal["ready"]
    """Always this; anything else is a 503."""
