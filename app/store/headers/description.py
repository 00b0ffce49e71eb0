"""What a model file says of itself: read from its header, without its tensors, and believed no further than it adds up.

A header costs at most 64 MiB of reading and well under a second, whatever it says; see `app.store.headers.bounded`.
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
"""So many tell the format."""


@dataclass(frozen=True, slots=True)
class Description:
    """What one file says of itself."""

    format: Format
    """By the content, not by the name."""
    problem: str | None = None
    """Why the file is not what it should be, as a clause without a full stop: cut off, corrupt, another format than its
    name says, or a header beyond what is read of one. None if the header and the file's size agree."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """By name; which ones there are is said by FACTS of the format's module. With a problem, those read before it."""
    is_damaged: bool = False
    """Whether the problem is that the file is cut off or corrupt, and not that it is more than is read here."""


def describe(file: int | BinaryIO, size_bytes: int, name: str = "") -> Description:
    """Read the header of an open file, a descriptor or a binary file, of that size.

    The name helps in two cases: an ONNX file that is cut off is known for one only by its name, and a file whose name
    promises a format that it does not have is a problem. No content makes it raise; OSError is let through. A
    descriptor's position is neither used nor moved; a file's is moved.
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
    if found == "onnx" and promised != "onnx" and problem:  # no magic number: only the whole could have told
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
