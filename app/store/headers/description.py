"""Describes a model file from its header, without reading its tensors, and checks the header against the file's size.

A header costs at most 64 MiB of reading and well under a second; see `app.store.headers.bounded`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from app.store.headers import onnx, safetensors
from app.store.headers.bounded import BadHeader, BeyondBounds, Fact, Facts, HeaderReader
from app.store.headers.formats import Format, format_of_name
from app.store.headers.gguf import MAGIC, read_gguf
from app.store.headers.onnx import read_onnx
from app.store.headers.safetensors import read_safetensors

__all__ = ["Description", "Fact", "describe", "format_of_name"]

READERS: dict[Format, Callable[[HeaderReader, Facts], None]] = {
    "gguf": read_gguf,
    "onnx": read_onnx,
    "safetensors": read_safetensors,
}
BEGINNING_BYTES = 16
"""This many bytes tell the format."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the header of one file says."""

    format: Format
    """The format of the content, not of the name."""
    problem: str | None = None
    """Why the file is not what it should be, as a clause without a full stop: cut off, corrupt, another format than its
    name says, or a header beyond what is read of one. None if the header and the file's size agree."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """The facts, by the names in FACTS of the format's module. With a problem, those that were read before it."""
    is_damaged: bool = False
    """True if the file is cut off or corrupt; False if its header is only beyond what is read here."""


def describe(file: int | BinaryIO, size_bytes: int, name: str = "") -> Description:
    """Read the header of an open file, a descriptor or a binary file, of that size.

    The name matters in two cases: only by its name is a truncated ONNX file known to be one, and a name of another
    format than the content's is a problem. Any content gives a description; raises OSError alone. The position of a
    descriptor is neither used nor moved; that of a file object is moved.
    """
    if not size_bytes:
        return Description("unknown", "the file is empty", is_damaged=True)
    promised = format_of_name(name)
    reader = HeaderReader(file, size_bytes)
    facts: Facts = {}
    found: Format = "unknown"
    problem, is_damaged = None, False
    try:
        window, index = reader.window(min(BEGINNING_BYTES, size_bytes))
        found = _format_of(window[index : index + BEGINNING_BYTES])
        if found != "unknown":
            READERS[found](reader, facts)
    except BadHeader as exc:
        problem, is_damaged = str(exc), not isinstance(exc, BeyondBounds)
    if found == "onnx" and promised != "onnx" and problem:  # no magic number: only the whole file could have told
        found, problem, is_damaged, facts = "unknown", None, False, {}
    if promised not in {"unknown", found}:
        problem = f"its name ends in .{promised}, and its content is {found if found in READERS else 'something else'}"
    return Description(found, problem, facts, is_damaged)


def _format_of(beginning: bytes) -> Format:
    if beginning.startswith(MAGIC):
        return "gguf"
    if safetensors.recognised(beginning):
        return "safetensors"
    return "onnx" if onnx.recognised(beginning) else "unknown"
