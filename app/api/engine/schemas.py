"""Requests and answers of `/engine`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from app.api.http.schema import InlineEnum, Schema, Timestamp
from app.engine.contract.processors import Processor
from app.engine.states import EngineState


class LoadIn(BaseModel):
    """The model to load."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    processor: Processor
    """The processor that will use the model."""
    model: Annotated[str, Field(max_length=4096)] | None = None
    """The model's name. The default is AsposeAI's default model; any other model needs a licence."""


class VendorOut(Schema):
    """The package of the engine."""

    package: str
    """The name of the package on PyPI."""
    version: str
    """The version of the package."""


class LicenseOut(Schema):
    """The engine's licence."""

    mode: Literal["licensed", "evaluation"]
    """The mode that AsposeAI reports. In evaluation AsposeAI loads only its default model and cuts recognised text."""
    error: str | None
    """Why the file `OCR_LICENSE_FILE` could not be applied, or null."""


class CapabilityOut(Schema):
    """Whether the engine can do one thing on this machine."""

    name: str
    """`models` (list, path), `ai` (load a model and correct text), `recognition` (read images), or, with a build of
    llama.cpp for GPUs, `gpu` (compute AI models on a GPU)."""
    available: bool
    """Whether the engine can do this on this machine."""
    reason: str | None
    """What is missing; null if the capability is available."""


class MemoryOut(Schema):
    """The memory of the engine's process."""

    resident_bytes: NonNegativeInt
    """The memory in use, including pages shared with other processes."""
    private_bytes: NonNegativeInt
    """The memory that no other process shares; the kernel gets it back when the process ends."""


class EngineExitOut(Schema):
    """How the last engine process ended."""

    at: Timestamp
    """When the process ended."""
    pid: int
    """The id of the process."""
    reason: str
    """The exit status or signal of the process, and the service's reason if the service ended it."""
    output: list[str]
    """The last lines that the process printed."""


class LoadedOut(Schema):
    """The model that the engine's process has loaded."""

    processor: Processor
    """The processor that uses the model."""
    model: str
    """The model's name."""
    since: Timestamp
    """When the model was loaded."""
    mapped_bytes: NonNegativeInt
    """How many bytes of the model's file are mapped into the process."""


class LoadingOut(Schema):
    """The model that is being loaded."""

    processor: Processor
    """The processor that uses the model."""
    model: str
    """The model's name."""
    model_bytes: NonNegativeInt
    """The size of the model's file."""


class OpenOcrModelOut(Schema):
    """An OCR model that the engine's process has open."""

    model: str
    """The model's name."""
    mapped_bytes: NonNegativeInt
    """How many bytes of the model's file are mapped into the process; 0 if the file is open but not mapped."""


class RuntimeOut(Schema):
    """The build of llama.cpp that `python -m app provision` has fetched."""

    build: str
    """What the build computes on: `cpu`, `vulkan` or `cuda`."""
    gpus: list[str]
    """The GPUs that the build finds. Without any, models run on the CPU; `capabilities` has the reason as `gpu`."""


class EngineOut(Schema):
    """The engine: AsposeAI in a supervised process of its own."""

    state: InlineEnum[EngineState]
    """The engine's state: `backing_off` after its process died, `failed` after too many deaths in a row."""
    reason: str | None
    """Why the engine is not ready, or null."""
    pid: int | None
    """The id of the engine's process, or null while there is none."""
    started_at: Timestamp | None
    """When the process was started."""
    uptime_seconds: NonNegativeFloat | None
    """How long the process has been running."""
    restarts: NonNegativeInt
    """How many times the process was replaced, releases included."""
    last_exit: EngineExitOut | None
    """How the previous process ended, or null."""
    busy: bool
    """Whether a call is running."""
    waiting: NonNegativeInt
    """How many calls wait in the queue."""
    memory: MemoryOut | None
    """The memory of the engine's process, or null while there is none."""
    memory_limit_bytes: NonNegativeInt
    """How many bytes the engine's process may hold before its call is ended with 507; 0 for no limit."""
    gpu_layers: NonNegativeInt | None
    """How many layers of a model a GPU computes (`OCR_ENGINE_GPU_LAYERS`), or null for AsposeAI's choice. Without
    `gpus` in `runtime` and without a licence this has no effect."""
    context_size: PositiveInt | None
    """The size of a model's context in tokens (`OCR_ENGINE_CONTEXT_SIZE`), or null for AsposeAI's choice."""
    loading: LoadingOut | None
    """The model that is being loaded, or null."""
    loaded: LoadedOut | None
    """The loaded model, or null."""
    open_ocr_models: list[OpenOcrModelOut]
    """The OCR models (`.ocr`) that the engine's process has open or mapped now, by name. They cannot be deleted."""
    vendor: VendorOut | None
    """The package of the engine. This and all members below are null until the engine has been ready once."""
    license: LicenseOut | None
    """The engine's licence."""
    local_path: str | None
    """AsposeAI's `get_local_path()` as an absolute path with links resolved: the model folder."""
    list_local: list[str] | None
    """AsposeAI's `list_local()`, unchanged: the files that AsposeAI would use, relative to its working directory."""
    resources_list_local: list[str] | None
    """The vendor's `Resources.list_local()`: the OCR models that recognition finds, without `.ocr`; at most 1,000. The
    vendor looks at names only: only a recognition shows whether a file is usable."""
    runtime: RuntimeOut | None
    """The build of llama.cpp, or null if none was fetched."""
    is_initialized: bool | None
    """AsposeAI's `is_initialized()`: whether a model is loaded."""
    asked_at: Timestamp | None
    """When AsposeAI was last asked for the facts in this answer: when it became ready, or when the model folder
    changed."""
    capabilities: list[CapabilityOut] | None
    """What the engine can do on this machine, and for each function that it cannot perform, what is missing."""


class ReleaseOut(Schema):
    """The memory before and after a release. The old process has ended, and a new one is starting."""

    pid: int | None
    """The id of the process that ended, or null if none was ready."""
    exit_reason: str | None
    """How the process ended, or null."""
    resident_bytes_before: NonNegativeInt
    """The memory that the old process had in use, including pages shared with other processes."""
    private_bytes_before: NonNegativeInt
    """The part of `resident_bytes_before` that no other process shared."""
    mapped_bytes_before: NonNegativeInt
    """How many bytes of model files the old process had mapped."""
    tree_bytes_after: NonNegativeInt
    """The memory of the whole service after the release; pages that its processes share are counted once."""
    returned_bytes: NonNegativeInt
    """The memory that the kernel got back: the part that no other process shared."""
    seconds: NonNegativeFloat
    """The time from the request until the kernel had reaped the process."""
