"""Describes a model file from its header, without reading its tensors, and checks the header against the file's size.

Reading a header takes at most 64 MiB and well under a second; see `app.store.headers.bounded`.
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
"""How many bytes of a file are needed to recognise its format."""


class FormatReader(NamedTuple):
    """The functions that recognise a file of one format and read its header."""

    format: Format
    recognises: Callable[[bytes], bool]
    """Returns True if a file is of the format. Gets the first bytes of the file, at most BEGINNING_BYTES."""
    read: Callable[[HeaderReader, Facts], None]
    """Reads a file's header and adds the facts in it. Raises BadHeader at the first error."""


READERS = (
    FormatReader("gguf", is_gguf, read_gguf),
    FormatReader("safetensors", is_safetensors, read_safetensors),
    FormatReader("onnx", is_onnx, read_onnx),
)
"""The readers of all formats. The first that recognises a file reads it; ONNX is last, since it has no magic number."""


@dataclass(frozen=True, slots=True)
class Description:
    """The description of a model file, read from its header."""

    format: Format
    """The format of the file's content. The name may state another format."""
    problem: str | None = None
    """What is wrong with the file, as a clause without a full stop: the file is cut off, corrupt or of another format
    than its name says, or its header is beyond the bounds. None if the header and the file's size agree."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """The facts, by the names in FACTS of the format's module. If there is a problem, only the facts that were read
    before the problem."""
    is_damaged: bool = False
    """True if the file is cut off or corrupt; False if its header is only beyond the bounds."""
    is_misnamed: bool = False
    """True if the content is of another format than the name's suffix, such as a web page called x.gguf."""


def describe(file: int | BinaryIO, size_bytes: int, name: str = "") -> Description:
    """Describe an open file of `size_bytes` from its header. `file` is a descriptor or a binary file object.

    The name matters in two cases: a truncated ONNX file is recognised only with the suffix .onnx, and a suffix of
    another format than the content's is a problem. Raises OSError, and no error for any content. The position of a
    descriptor is neither used nor moved; the position of a file object is moved.
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
    if found == "onnx" and promised != "onnx" and problem:  # probably not ONNX, which has no magic number
        found, problem, is_damaged, facts = "unknown", None, False, {}
    is_misnamed = promised not in {"unknown", found}
    if is_misnamed:
        content = "something else" if found == "unknown" else found
        problem = f"its name ends in .{promised}, and its content is {content}"
    return Description(found, problem, facts, is_damaged, is_misnamed)


def _reader_of(beginning: bytes) -> FormatReader | None:
    return next((reader for reader in READERS if reader.recognises(beginning)), None)
