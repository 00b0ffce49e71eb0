"""Reads the header of a safetensors file: JSON with the type, shape and offsets of every tensor.

Follows the format's README; where it says nothing, accepts what the reference implementation (tensor.rs) accepts.
"""

import json
import re
from collections.abc import Iterator
from math import prod
from struct import Struct
from typing import TypeGuard

from app.store.headers.bounded import MAX_SIZE, MAX_TEXT, BadHeader, BeyondBounds, Facts, HeaderReader, shown

MAX_HEADER_BYTES = 100_000_000
"""The largest header that the reference implementation accepts."""
MAX_PARSED_BYTES = 8 * 1024 * 1024
"""The largest header that is parsed: about 60,000 tensors of 100 to 150 bytes. Published files have a few thousand."""
MAX_METADATA = 20
"""How many entries of `__metadata__` are kept."""
TENSOR_STEPS = 30
"""The cost, in steps, of reading one tensor. A header may cost MAX_STEPS."""
METADATA_STEPS = 10
"""The cost, in steps, of reading one entry of `__metadata__`. A header may cost MAX_STEPS."""

HEADER_LENGTH = Struct("<Q")
BEGINNING = re.compile(rb"[\s\S]{6}\0\0\{[\"} \t\r\n]")
"""Matches the length of a header, which is below 2^48 in any real file, and the beginning of a JSON object."""

# The possessive quantifiers never backtrack, so matching takes time in proportion to the text.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = r"[ \t\r\n]*+"
_KEY = re.compile(rf"{_SPACE}({_STRING}){_SPACE}:{_SPACE}", re.DOTALL)
_TEXT = re.compile(_STRING, re.DOTALL)
_TENSOR = re.compile(r"\{[^{}]{0,1000}+\}")
_NEXT = re.compile(rf"{_SPACE}([,}}]){_SPACE}")
_EMPTY = re.compile(rf"{_SPACE}\}}{_SPACE}")

BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""The bits of one element, by type, from enum Dtype of tensor.rs. Sizes of other types are not checked."""

FACTS = ("header_bytes", "tensor_count", "parameter_count", "dtypes", "expected_size_bytes")
"""The names of the facts. The description of a safetensors file has all of them; a fact that was not read is None."""
METADATA = "metadata."
"""The prefix of facts that come from `__metadata__`."""


def is_safetensors(beginning: bytes) -> bool:
    """True if the first 10 bytes can begin a safetensors file. The format has no magic number."""
    return BEGINNING.match(beginning) is not None


def read_safetensors(reader: HeaderReader, facts: Facts) -> None:
    """Add the facts of a safetensors file to `facts`.

    Sizes are in bytes. parameter_count is the number of elements of all tensors as stored, so that several weights
    packed into one integer count once. dtypes are the types of the tensors, the type of most elements first. Raises
    BadHeader at the first error, after adding the facts before it.
    """
    facts.update(dict.fromkeys(FACTS))
    length = reader.number(HEADER_LENGTH)
    facts["header_bytes"] = length
    if length > MAX_HEADER_BYTES:
        raise BadHeader(f"its header is said to be {length:,} bytes, and the format allows {MAX_HEADER_BYTES:,}")
    if reader.position + length > reader.size_bytes:
        raise BadHeader(f"its header is said to be {length:,} bytes, and the file ends after {reader.size_bytes:,}")
    if length > MAX_PARSED_BYTES:
        raise BeyondBounds(
            f"its header of {length:,} bytes is larger than the {MAX_PARSED_BYTES:,} that this service reads"
        )
    try:
        text = reader.take(length).decode()
    except UnicodeDecodeError:
        raise BadHeader("its header is not UTF-8") from None
    tensors = _Tensors(reader, facts)
    tensors.read(_Json(text))
    tensors.note(reader.position)


class _Json:
    """Reads a JSON text one member at a time. However deep the text is nested, no part of it is in memory twice."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.index = 0

    def members(self) -> Iterator[str]:
        """Yield each key of the object that begins at `index`, with its quotes and escapes.

        The caller must move `index` past the key's value before it asks for the next key.
        """
        if not self.text.startswith("{", self.index):
            raise self.unexpected()
        self.index += 1
        if empty := _EMPTY.match(self.text, self.index):
            self.index = empty.end()
            return
        more = True
        while more:
            yield self.match(_KEY)[1]
            more = self.match(_NEXT)[1] == ","

    def match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Match a pattern at the index, and move past the match. Raises BadHeader if the pattern does not match."""
        found = pattern.match(self.text, self.index)
        if found is None:
            raise self.unexpected()
        self.index = found.end()
        return found

    def unexpected(self) -> BadHeader:
        """Return the error for a text that breaks the format at `index`."""
        return BadHeader(f"its header is not the JSON that the format requires, at character {self.index:,}")


class _Tensors:
    """The tensors read so far."""

    def __init__(self, reader: HeaderReader, facts: Facts) -> None:
        self._reader = reader
        self._facts = facts
        self._names: set[int] = set()
        self._places: list[tuple[int, int]] = []
        self._elements: dict[str, int] = {}
        """By type, how many elements the tensors of the type have together."""

    def read(self, header: _Json) -> None:
        """Read all tensors and the metadata from the header."""
        for key in header.members():
            if key == '"__metadata__"':
                self._read_metadata(header)
            else:
                self._add(key, header)
        if header.index != len(header.text):
            raise header.unexpected()

    def note(self, start: int) -> None:
        """Add the facts about the tensors.

        Raises BadHeader unless the data from byte `start` on has the expected length and no gaps.
        """
        facts, elements = self._facts, self._elements
        facts["tensor_count"] = len(self._places)
        if sum(elements.values()) > MAX_SIZE:
            raise BadHeader("its tensors have more elements than any file can hold")
        facts["parameter_count"] = sum(elements.values())
        facts["dtypes"] = shown(", ".join(sorted(elements, key=lambda dtype: -elements[dtype])))
        end = 0
        for begins, ends in sorted(self._places):
            if begins != end:
                what = "overlap" if begins < end else "leave a gap"
                raise BadHeader(f"its tensors {what} at byte {min(begins, end):,} of the data")
            end = ends
        facts["expected_size_bytes"] = start + end
        if start + end != self._reader.size_bytes:
            verb = "ends after" if start + end > self._reader.size_bytes else "has"
            raise BadHeader(
                f"the header describes a file of {start + end:,} bytes, and this one {verb} {self._reader.size_bytes:,}"
            )

    def _read_metadata(self, header: _Json) -> None:
        if header.text.startswith("null", header.index):
            header.index += len("null")
            return
        kept = 0
        for key in header.members():
            self._reader.step(METADATA_STEPS)
            value = header.match(_TEXT)[0]
            if kept < MAX_METADATA:
                self._facts[METADATA + _decoded(key, header)] = _decoded(value, header)
                kept += 1

    def _add(self, key: str, header: _Json) -> None:
        """Add the next tensor. Raises BadHeader if the file cannot contain it."""
        self._reader.step(TENSOR_STEPS)
        name = shown(key[1:-1])
        if hash(key) in self._names:  # seeded per process, so that no file can force collisions
            raise BadHeader(f"its tensor {name!r} is there twice")
        self._names.add(hash(key))
        try:
            tensor = json.loads(header.match(_TENSOR)[0])
        except (ValueError, RecursionError):
            raise header.unexpected() from None
        dtype, shape, place = tensor.get("dtype"), tensor.get("shape"), tensor.get("data_offsets")
        if not (isinstance(dtype, str) and _are_sizes(shape) and _are_sizes(place) and len(place) == len("be")):
            raise BadHeader(f"its tensor {name!r} lacks a type, a shape or its place")
        elements, (begins, ends) = prod(shape), place
        if elements > MAX_SIZE:
            raise BadHeader(f"its tensor {name!r} has more elements than any file can hold")
        bits, size = BITS.get(dtype), ends - begins
        if size < 0 or (bits is not None and elements * bits != 8 * size):
            raise BadHeader(f"its tensor {name!r} has {elements:,} elements of {shown(dtype)} in {size:,} bytes")
        self._places.append((begins, ends))
        self._elements[dtype] = self._elements.get(dtype, 0) + elements


def _are_sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size <= MAX_SIZE for size in value)


def _decoded(written: str, header: _Json) -> str:
    """Return the beginning of a JSON string, decoded; the rest is cut off."""
    most = 12 * (MAX_TEXT + 1) + 1  # no character takes more than two escapes of 6
    if len(written) > most:
        cut = next((end for end in range(most, most - 6, -1) if _is_json(written[:end] + '"')), 1)
        written = written[:cut] + '"'
    try:
        return shown(json.loads(written, strict=False))
    except ValueError:
        raise header.unexpected() from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except ValueError:
        return False
    return True
