"""What answers about the engine and the service's health look like on the wire."""

from typing import Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt

from app.api.http.schema import Schema, Timestamp
from app.engine.contract.processors import Processor


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


class LoadedOut(Schema):
    """What the engine's process has loaded."""

    processor: Processor
    """For which work."""
    model: str
    """The model's name."""
    since: Timestamp
    """When it was loaded."""
    mapped_bytes: NonNegativeInt
    """How much of the model's file is mapped into the process."""


class LoadingOut(Schema):
    """What is being loaded."""

    processor: Processor
    """For which work."""
    model: str
    """The model's name."""
    model_bytes: NonNegativeInt
    """The size of its file."""


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
    loading: LoadingOut | None
    """What is being loaded now."""
    loaded: LoadedOut | None
    """What its process has loaded; null when nothing is."""
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
    """Its memory in use before, what it shared with other processes included."""
    private_bytes_before: NonNegativeInt
    """The part of that which it shared with nobody."""
    mapped_bytes_before: NonNegativeInt
    """How much of models' files it had mapped."""
    tree_bytes_after: NonNegativeInt
    """What the whole service holds now, pages that its processes share counted once."""
    returned_bytes: NonNegativeInt
    """What the kernel has back: the memory that it shared with nobody."""
    seconds: NonNegativeFloat
    """From the request to the moment the kernel had reaped the process."""


class Alive(Schema):
    """The service's process answers."""

    status: Literal["alive"]
    """Always this."""


class CheckOut(Schema):
    """One thing that was looked at."""

    name: str
    """`store`, `store-writable`, `engine`; `volume-` and a check of `GET /storage`; or a capability of the engine."""
    ok: bool
    """Whether it is as it should be."""
    required: bool
    """Whether the service is unready without it."""
    reason: str | None
    """What is wrong when it is not ok, and what would help."""


class Ready(Schema):
    """The service does its work."""

    # What is left out of the answer is not required by the document either.
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    status: Literal["ready"]
    """Always this; anything else is a 503."""
    checks: list[CheckOut] = Field(default=[])
    """With `?verbose`: what was looked at. The libraries of `ai` and `recognition` were really loaded by the engine."""
