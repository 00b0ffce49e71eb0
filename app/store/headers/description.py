"""Describes a model file from its header, without reading its tensors, and checks the header against the file's size.

A header costs at most 64 MiB of reading and well under a second; see `app.store.headers.bounded`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from app.store.headers.bounded import BadHeader, BeyondBounds, Fact, Facts, HeaderReader
from app.store.headers.formats import Format, format_of_name
from app.store.headers.gguf import is_gguf, read_gguf
from app.store.headers.onnx import is_onnx, read_onnx
from app.store.headers.safetensors import is_safetensors, read_safetensors

__all__ = ["Description", "Fact", "describe", "format_of_name"]

BEGINNING_BYTES = 16
"""This many bytes tell the format."""


class FormatReader(NamedTuple):
    """How one format is recognised and read."""

    format: Format
    recognises: Callable[[bytes], bool]
    """True if a file with this beginning, of BEGINNING_BYTES at most, is of the format."""
    read: Callable[[HeaderReader, Facts], None]
    """Notes the facts, and raises BadHeader at the first thing that is wrong."""


READERS = (
    FormatReader("gguf", is_gguf, read_gguf),
    FormatReader("safetensors", is_safetensors, read_safetensors),
    FormatReader("onnx", is_onnx, read_onnx),
)
"""The readers of all formats. The first that recognises a file reads it; ONNX is last, since it has no magic number."""


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
        if chosen := _reader_of(window[index : index + BEGINNING_BYTES]):
            found = chosen.format
            chosen.read(reader, facts)
    except BadHeader as exc:
        problem, is_damaged = str(exc), not isinstance(exc, BeyondBounds)
    if found == "onnx" and promised != "onnx" and problem:  # no magic number: only the whole file could have told
        found, problem, is_damaged, facts = "unknown", None, False, {}
    if promised not in {"unknown", found}:
        content = "something else" if found == "unknown" else found
        problem = f"its name ends in .{promised}, and its content is {content}"
    return Description(found, problem, facts, is_damaged)


def _reader_of(beginning: bytes) -> FormatReader | None:
    return next((reader for reader in READERS if reader.recognises(beginning)), None)
