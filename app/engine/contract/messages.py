"""The messages on the socket between the service and the engine process: one JSON object per line, plain fields only.

The service sends calls; the engine process sends one reply to each. Exceptions cross as text, because a pickled
exception that the service cannot load would stop its reader.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

MAX_LINE_BYTES = 1 << 20
"""The longest line, in bytes. A longer line raises ProtocolError, so larger data is passed as the path of a file."""


class ProtocolError(Exception):
    """The engine process or the service sent something that is not a message."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the engine: the method's name and its keyword arguments."""

    id: int
    name: str
    params: dict[str, Any]

    def encode(self) -> bytes:
        """Return the call as a line of JSON."""
        return _line({"id": self.id, "call": self.name, "params": self.params})

    @classmethod
    def decode(cls, line: bytes) -> "Call":
        """Build a call from a line of JSON. Raises ProtocolError."""
        match _object(line):
            case {"id": int(number), "call": str(name), "params": dict(params)} if not isinstance(number, bool):
                return cls(number, name, params)
        raise ProtocolError(_shown(line))


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to a call: its result, or an error that says why there is no result."""

    id: int
    result: Any = None
    error: str | None = None

    def encode(self) -> bytes:
        """Return the reply as a line of JSON.

        Replaces each lone surrogate by `?`, because UTF-8 cannot encode surrogates.
        """
        message = {"id": self.id, "result": self.result, "error": self.error}
        return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Reply":
        """Build a reply from a line of JSON. Raises ProtocolError."""
        match _object(line):
            case {"id": int(number), "result": result, "error": str() | None as error} if not isinstance(number, bool):
                _require_unicode(line, result, error)
                return cls(number, result, error)
        raise ProtocolError(_shown(line))


class CapabilityName(StrEnum):
    """The name of a capability of the engine."""

    MODELS = "models"
    """List the models of the model folder and report the folder's path. This capability is always available."""
    AI = "ai"
    """Load an AI model and process texts with it."""
    RECOGNITION = "recognition"
    """Recognise the text in images."""
    GPU = "gpu"
    """Compute AI models on a GPU. Only a build of llama.cpp for GPUs has this capability."""


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability of the engine: whether it is available on this machine and, if not, why."""

    name: str
    available: bool
    reason: str | None

    @classmethod
    def from_status(cls, capability: object) -> "Capability":
        """Build a Capability from its fields in the engine's answer to `status`. Raises ProtocolError."""
        match capability:
            case {"name": str(name), "available": bool(available), "reason": str() | None as reason}:
                return cls(name, available, reason)
        msg = f"not a capability: {reprlib.repr(capability)}"
        raise ProtocolError(msg)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The provisioned build of llama.cpp."""

    build: str
    """What the build computes on: `cpu`, `vulkan` or `cuda`."""
    gpus: tuple[str, ...]
    """What the driver calls each GPU that the build finds. Without any, the build computes on the CPU."""

    @classmethod
    def from_status(cls, runtime: object) -> "Runtime | None":
        """Build a Runtime from its fields in the engine's answer to `status`. Raises ProtocolError."""
        match runtime:
            case None:
                return None
            case {"build": str(build), "gpus": list(gpus)} if all(isinstance(gpu, str) for gpu in gpus):
                return cls(build, tuple(gpus))
        msg = f"not a runtime: {reprlib.repr(runtime)}"
        raise ProtocolError(msg)


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What AsposeAI answered to a `status` call, which takes about a millisecond."""

    asked_at: datetime
    vendor_package: str
    vendor_version: str
    is_licensed: bool
    local_path: str
    """AsposeAI's `get_local_path()`, the model folder, as an absolute path with links resolved."""
    list_local: tuple[str, ...]
    """The answer of AsposeAI's `list_local()`, unchanged: paths relative to the engine process's working directory."""
    resources_list_local: tuple[str, ...]
    """The answer of the vendor's `Resources.list_local()`: OCR models directly in the model folder, named without
    `.ocr`."""
    recognised: frozenset[str]
    """The files in `list_local` and `resources_list_local`, as names of models."""
    is_initialized: bool
    capabilities: tuple[Capability, ...]
    runtime: Runtime | None = None
    """The provisioned build of llama.cpp; None if there is none."""
    known_models: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)
    """The models that were in the folder before the `status` call, by name. The answer says nothing about models that
    arrived later."""

    @classmethod
    def from_status(cls, asked_at: datetime, status: object) -> "EngineFacts":
        """Build the facts from the engine's `status` answer. Raises ProtocolError."""
        match status:
            case {
                "vendor_package": str(package),
                "vendor_version": str(version),
                "is_licensed": bool(is_licensed),
                "local_path": str(local_path),
                "list_local": list(list_local),
                "resources_list_local": list(resources),
                "recognised": list(recognised),
                "is_initialized": bool(is_initialized),
                "capabilities": list(capabilities),
                "runtime": runtime,
            } if all(isinstance(name, str) for name in (*list_local, *resources, *recognised)):
                return cls(
                    asked_at,
                    package,
                    version,
                    is_licensed,
                    local_path,
                    tuple(list_local),
                    tuple(resources),
                    frozenset(recognised),
                    is_initialized,
                    tuple(Capability.from_status(capability) for capability in capabilities),
                    Runtime.from_status(runtime),
                )
        msg = f"the engine's status lacks fields: {reprlib.repr(status)}"
        raise ProtocolError(msg)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> object:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(_shown(line)) from exc


def _require_unicode(line: bytes, *values: object) -> None:
    """Raise ProtocolError if one of `values` has a lone surrogate, which UTF-8 cannot encode."""
    if b"\\u" not in line:
        return
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as exc:
        raise ProtocolError(_shown(line)) from exc


def _shown(line: bytes) -> str:
    return f"not a message: {line[:200]!r}"
