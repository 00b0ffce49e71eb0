"""What crosses the socket between the service and the engine process: one JSON object a line, plain fields only.

The service sends calls, the engine process answers each. Exceptions cross as text: one that could not be unpickled
would stop the reader for good.
"""

import json
import reprlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_LINE_BYTES = 1 << 20
"""Longer lines break the protocol; what is larger travels as a file path."""


class ProtocolError(Exception):
    """The other side sent something that is no message."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the engine: the method's name and its keyword arguments."""

    id: int
    name: str
    params: dict[str, Any]

    def encode(self) -> bytes:
        """The call as a line."""
        return _line({"id": self.id, "call": self.name, "params": self.params})

    @classmethod
    def decode(cls, line: bytes) -> "Call":
        """Read a line; raises ProtocolError."""
        match _object(line):
            case {"id": int(number), "call": str(name), "params": dict(params)} if not isinstance(number, bool):
                return cls(number, name, params)
        raise ProtocolError(_shown(line))


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a call: its result, or the sentence that says why there is none."""

    id: int
    result: Any = None
    error: str | None = None

    def encode(self) -> bytes:
        """The answer as a line, with ? for what is no text: half a surrogate pair."""
        message = {"id": self.id, "result": self.result, "error": self.error}
        return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Reply":
        """Read a line; raises ProtocolError."""
        match _object(line):
            case {"id": int(number), "result": result, "error": str() | None as error} if not isinstance(number, bool):
                _insist_on_text(line, result, error)
                return cls(number, result, error)
        raise ProtocolError(_shown(line))


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing the engine can do here, or the reason why it cannot."""

    name: str
    available: bool
    reason: str | None

    @classmethod
    def from_status(cls, capability: object) -> "Capability":
        """Read one of the engine's `status` call; raises ProtocolError."""
        match capability:
            case {"name": str(name), "available": bool(available), "reason": str() | None as reason}:
                return cls(name, available, reason)
        msg = f"not a capability: {reprlib.repr(capability)}"
        raise ProtocolError(msg)


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What AsposeAI said of itself when it was last asked. It is asked between two turns, for a millisecond."""

    asked_at: datetime
    vendor_package: str
    vendor_version: str
    is_licensed: bool
    local_path: str
    """`get_local_path()`, made absolute, links resolved."""
    list_local: tuple[str, ...]
    """`list_local()` as AsposeAI gives it: paths relative to its working directory."""
    recognised: frozenset[str]
    """The same files as names of models."""
    is_initialized: bool
    capabilities: tuple[Capability, ...]

    @classmethod
    def from_status(cls, asked_at: datetime, status: object) -> "EngineFacts":
        """Read the result of the engine's `status` call; raises ProtocolError."""
        match status:
            case {
                "vendor_package": str(package),
                "vendor_version": str(version),
                "is_licensed": bool(is_licensed),
                "local_path": str(local_path),
                "list_local": list(list_local),
                "recognised": list(recognised),
                "is_initialized": bool(is_initialized),
                "capabilities": list(capabilities),
            } if all(isinstance(name, str) for name in (*list_local, *recognised)):
                return cls(
                    asked_at,
                    package,
                    version,
                    is_licensed,
                    local_path,
                    tuple(list_local),
                    frozenset(recognised),
                    is_initialized,
                    tuple(Capability.from_status(capability) for capability in capabilities),
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


def _insist_on_text(line: bytes, *values: object) -> None:
    """JSON can say half a surrogate pair, which could be shown to nobody as UTF-8."""
    if b"\\u" not in line:
        return
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as exc:
        raise ProtocolError(_shown(line)) from exc


def _shown(line: bytes) -> str:
    return f"not a message: {line[:200]!r}"
