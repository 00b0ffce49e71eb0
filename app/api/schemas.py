"""What answers look like on the wire. The docstrings are the text of the docs page."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PlainSerializer, WithJsonSchema

from app.store.formats import Format


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
    format: Format
    """By the suffix of its name."""
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


class HeaderOut(Schema):
    """What a model file says of itself, read from its header; its tensors are not looked at."""

    format: Literal["gguf", "onnx", "safetensors", "unknown"]
    """What it is by its content, whatever its suffix says."""
    problem: str | None
    """What is wrong with it: truncated, corrupt, or beyond what is read of a header."""
    facts: dict[str, str | int | bool | None]
    """What it tells, null where it does not say. GGUF: `architecture`, `parameter_count`, `quantisation`,
    `context_length`, `has_chat_template` and more; safetensors: `tensor_count`, `dtypes`, `metadata.…`; ONNX:
    `producer_name`, `opset_imports`, `node_count`."""


class ModelDetail(ModelOut):
    """One model, with what its file says of itself, and what is known beside it."""

    header: HeaderOut
    """What its file says of itself."""

    sha256: str | None
    """The SHA-256 of the bytes that an upload brought; null when they came another way, or the file has changed."""


class ScanWarningOut(Schema):
    """Something in the model folder that could not be listed."""

    path: str
    """Where it lies, relative to the model folder."""
    reason: str
    """Why it is not in the list."""


class ModelList(Schema):
    """The models below the model folder: all, those that match, or a page of them."""

    count: NonNegativeInt
    """How many models match, on this page or another."""
    total_size_bytes: NonNegativeInt
    """What they take together."""
    models: list[ModelOut]
    """The models of this page, sorted as was asked, by name if nothing was."""
    next_cursor: str | None
    """What to send as `cursor` for the next page; null when this is the last, as it always is without `limit`."""
    warnings: list[ScanWarningOut]
    """What the scan met and could not list: links, devices, unreadable folders, names that no URL can carry. They are
    the folder's, whatever is asked for; a page that a `cursor` led to does not repeat them."""


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
    action: Literal["uploaded", "trashed", "deleted", "restored", "purged"]
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


class FindingOut(Schema):
    """What the audit says of one model."""

    name: str
    """The model."""
    path: str
    """Its absolute path on the machine of this service."""
    size_bytes: NonNegativeInt
    """Its size."""
    status: Literal["current", "old"]
    """`old` when there is any reason."""
    reasons: list[Literal["stale_pattern", "superseded"]]
    """Why it is old."""
    stale_pattern: str | None
    """The pattern of `OCR_OLD_PATTERNS` that it matches."""
    superseded_by: str | None
    """The newest version of the same name."""
    protected_by: str | None
    """The pattern of `OCR_PROTECTED` that forbids deleting it, old or not."""


class AuditOut(Schema):
    """Every model judged."""

    old_count: NonNegativeInt
    """How many are old."""
    current_count: NonNegativeInt
    """How many are not."""
    reclaimable_bytes: NonNegativeInt
    """What deleting the old ones that are not protected would free."""
    models: list[FindingOut]
    """The models, sorted by name."""


class PrunedOut(Schema):
    """What is to become, or became, of one model of a plan."""

    name: str
    """The model."""
    size_bytes: NonNegativeInt
    """Its size."""
    reasons: list[Literal["stale_pattern", "superseded"]]
    """Why it is old."""
    outcome: Literal["planned", "trashed", "deleted", "stayed"]
    """What became of it."""
    problem: str | None
    """What kept it: the end of a problem's `type`, such as `model-in-use`."""
    detail: str | None
    """The same for people."""
    trash_id: str | None
    """Its entry in the trash."""
    freed_bytes: NonNegativeInt
    """What the disk has back of it."""


class PruneOut(Schema):
    """A plan, or what became of it."""

    plan_id: str
    """What executes this very plan."""
    dry_run: bool
    """Whether nothing was done."""
    complete: bool
    """Whether every model went as planned."""
    count: NonNegativeInt
    """How many models it is about."""
    total_size_bytes: NonNegativeInt
    """What they take together."""
    freed_bytes: NonNegativeInt
    """What the disk has back."""
    models: list[PrunedOut]
    """Each of them, sorted by name."""


class StorageOut(Schema):
    """Where the bytes are."""

    volume_id: str | None
    """The identity of the volume, which was checked; null where none could be written."""
    is_writable: bool
    """Whether the folder could be written when the service started."""
    models_bytes: NonNegativeInt
    """What the models take."""
    trash_bytes: NonNegativeInt
    """What the trash takes; `DELETE /trash` gives it back."""
    free_bytes: NonNegativeInt
    """What is free on the disk for this service."""
    total_bytes: NonNegativeInt
    """The whole disk, with what others have on it."""


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
