"""Reads the header of a GGUF file: its key-values and the list of its tensors, but no tensor.

Follows the specification (docs/gguf.md of ggml); where it says nothing, accepts what llama.cpp's gguf.cpp accepts.
"""

import struct
from dataclasses import dataclass, field
from struct import Struct

from app.store.headers.bounded import MAX_SIZE, MAX_TEXT, BadHeader, BeyondBounds, Fact, Facts, HeaderReader, shown
from app.store.headers.gguf_types import FILE_TYPES, MAX_TYPE, TENSOR_TYPES, TensorType

MAGIC = b"GGUF"
VERSIONS = (1, 2, 3)
MAX_KEY_BYTES = 65_535
"""The longest key that the specification allows. Names of tensors are shorter."""
MAX_KEPT_KEY_BYTES = 100
MAX_DIMENSIONS = 8
"""The most dimensions of a tensor that are accepted. The specification allows 4 today."""
DEFAULT_ALIGNMENT = 32
ENTRY_STEPS = 30
"""The cost, in steps, of reading one key-value or one tensor. A header may cost MAX_STEPS."""
ELEMENT_STEPS = 20
"""The cost, in steps, of reading one array within an array. A header may cost MAX_STEPS."""
MAX_DEPTH = 4
"""How deep arrays may be nested. The specification allows nested arrays, no known file has any, and llama.cpp refuses
them."""

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""`struct`'s format character for each type of scalar value, by GGUF's number of the type."""
FLOATS = "fd"
STRING = 8
ARRAY = 9

FACTS = (
    "version",
    "byte_order",
    "architecture",
    "name",
    "quantisation",
    "parameter_count",
    "context_length",
    "embedding_length",
    "block_count",
    "vocabulary_size",
    "has_chat_template",
    "tensor_count",
    "shard",
    "shard_count",
    "expected_size_bytes",
)
"""The names of the facts. The description of a GGUF file has all of them; a fact that the file lacks is None."""
GENERAL = ("general.architecture", "general.name", "general.file_type", "general.alignment")
TOKENS = "tokenizer.ggml.tokens"
CHAT_TEMPLATE = "tokenizer.chat_template"
KEPT_KEYS = {*GENERAL, TOKENS, CHAT_TEMPLATE, "split.no", "split.count"}
OF_ARCHITECTURE = ("context_length", "embedding_length", "block_count")


def is_gguf(beginning: bytes) -> bool:
    """True if these are the first bytes of a GGUF file."""
    return beginning.startswith(MAGIC)


def read_gguf(reader: HeaderReader, facts: Facts) -> None:
    """Add the facts of a GGUF file to `facts`. Reads versions 1, 2 and 3, little and big endian.

    Sizes are in bytes. parameter_count is the number of elements of all tensors of this file, which may be one shard of
    a model. expected_size_bytes is the end of the last tensor, after which padding may follow. quantisation is the
    quantisation that the file names, or else the type of most elements. Raises BadHeader at the first error, after
    adding the facts before it.
    """
    facts.update(dict.fromkeys(FACTS))
    reader.skip(len(MAGIC))
    file = _Gguf(reader, facts)
    tensors, pairs = reader.number(file.size), reader.number(file.size)
    facts["tensor_count"] = tensors if tensors <= MAX_SIZE else None
    file.check_room(pairs, "key-values", file.size.size + 5)
    file.check_room(tensors, "tensors", file.size.size + 16)
    try:
        for _ in range(pairs):
            file.read_pair()
    finally:
        file.note_values()
    facts["has_chat_template"] = CHAT_TEMPLATE in file.values
    listed = _Tensors(_alignment(file.values))
    for _ in range(tensors):
        listed.add(*file.read_tensor())
    _note_tensors(listed, reader, facts)


class _Gguf:
    """Reads the parts of a GGUF header in this file's version and byte order, and keeps the wanted values."""

    def __init__(self, reader: HeaderReader, facts: Facts) -> None:
        self.reader = reader
        self.facts = facts
        self.values: dict[str, Fact] = {}
        self._keys: set[int] = set()
        little = reader.take(4)
        # A big-endian 3 reads as 3 << 24 in little endian. The specification has no other sign of a big-endian file.
        self.order = ">" if little[:2] == b"\0\0" else "<"
        version = int.from_bytes(little, "big" if self.order == ">" else "little")
        facts["version"], facts["byte_order"] = version, "big" if self.order == ">" else "little"
        if version not in VERSIONS:
            raise BeyondBounds(f"GGUF has no version {version:,} that is known here; the last is {VERSIONS[-1]}")
        self.number = Struct(self.order + "I")
        self.size = Struct(self.order + ("I" if version == 1 else "Q"))

    def check_room(self, count: int, what: str, least_bytes: int) -> None:
        """Check that the file can hold `count` entries of `least_bytes` or more, and count the steps of reading all."""
        if count * least_bytes > self.reader.size_bytes - self.reader.position:
            size = self.reader.size_bytes
            raise BadHeader(f"its header lists {count:,} {what}, more than a file of {size:,} bytes can hold")
        self.reader.step(ENTRY_STEPS * count)

    def read_pair(self) -> None:
        """Read one key and its value, and keep the value if it is wanted."""
        length = self._length_of_name()
        key = self.reader.take(length)
        known = len(self._keys)
        self._keys.add(hash(key))  # seeded per process, so that no file can force collisions
        if len(self._keys) == known:
            raise BadHeader(f"its key {_shown(key)!r} is there twice")
        kind = self.reader.number(self.number)
        name = key.decode(errors="replace")
        if name in KEPT_KEYS or (length <= MAX_KEPT_KEY_BYTES and name.endswith(OF_ARCHITECTURE)):
            self.values[name] = self._value(kind, key)
        else:
            self._skip_value(kind, key)

    def read_tensor(self) -> tuple[bytes, tuple[int, ...], int, int]:
        """Read the name, dimensions, type and offset of the next tensor."""
        name = self.reader.take(self._length_of_name())
        dimensions = self.reader.number(self.number)
        if dimensions > MAX_DIMENSIONS:
            raise BadHeader(f"its tensor {_shown(name)!r} has {dimensions:,} dimensions")
        layout = f"{self.order}{dimensions}{self.size.format[-1]}IQ"
        *shape, kind, offset = struct.unpack(layout, self.reader.take(struct.calcsize(layout)))
        return name, tuple(shape), kind, offset

    def note_values(self) -> None:
        """Add the facts that the key-values contain."""
        values, facts = self.values, self.facts
        architecture = facts["architecture"] = _text(values.get("general.architecture"))
        facts["name"] = _text(values.get("general.name"))
        facts["vocabulary_size"] = _count(values.get(TOKENS))
        facts["shard"] = _count(values.get("split.no"))
        facts["shard_count"] = _count(values.get("split.count"))
        file_type = _count(values.get("general.file_type"))
        facts["quantisation"] = None if file_type is None else FILE_TYPES.get(file_type)
        for what in OF_ARCHITECTURE:
            facts[what] = _count(values.get(f"{architecture}.{what}"))

    def _length_of_name(self) -> int:
        length = self.reader.number(self.size)
        if length > MAX_KEY_BYTES:
            raise BadHeader(f"a name in its header is {length:,} bytes long")
        return length

    def _value(self, kind: int, key: bytes) -> Fact:
        """Read a value: a text, a whole number or a truth value; for an array its length; for a float None."""
        if kind == STRING:
            return self.reader.text(self.reader.number(self.size))
        if kind == ARRAY:
            return self._skip_array(key, 1)
        code = self._code(kind, key)
        value = self.reader.number(Struct(self.order + code))
        return None if code in FLOATS else value

    def _skip_value(self, kind: int, key: bytes) -> None:
        if kind == STRING:
            self.reader.skip(self.reader.number(self.size))
        elif kind == ARRAY:
            self._skip_array(key, 1)
        else:
            self.reader.skip(struct.calcsize(self._code(kind, key)))

    def _skip_array(self, key: bytes, depth: int) -> int:
        """Skip an array, and return how many elements it has."""
        kind, length = self.reader.number(self.number), self.reader.number(self.size)
        if kind == STRING:
            self.reader.step(length)
            self._skip_strings(length)
        elif kind == ARRAY:
            if depth == MAX_DEPTH:
                raise BeyondBounds(f"its key {_shown(key)!r} has arrays nested deeper than {MAX_DEPTH}")
            self.reader.step(ELEMENT_STEPS * length)
            for _ in range(length):
                self._skip_array(key, depth + 1)
        else:
            self.reader.skip(length * struct.calcsize(self._code(kind, key)))
        return length

    def _skip_strings(self, count: int) -> None:
        """Skip strings, one window of read bytes at a time, since a tokenizer has hundreds of thousands of strings."""
        unpack, width, reader = self.size.unpack_from, self.size.size, self.reader
        while count:
            window, start = reader.window(width)
            index, last = start, len(window) - width
            for _ in range(count):
                if index > last:
                    break
                index += width + unpack(window, index)[0]
                count -= 1
            reader.skip(index - start)

    def _code(self, kind: int, key: bytes) -> str:
        if kind not in SCALARS:
            raise BeyondBounds(f"its key {_shown(key)!r} has a value of no known type, {kind:,}")
        return SCALARS[kind]


@dataclass(slots=True)
class _Tensors:
    """The tensors read so far. llama.cpp requires that the tensors' data has no gaps and the order of the list."""

    alignment: int
    end: int = 0
    """The end of the last tensor's data, in bytes after the beginning of the first tensor's data."""
    sized: bool = True
    """True if the type of the last tensor is known, so that `end` is known."""
    count: int = 0
    """How many elements all tensors have together."""
    elements: dict[str, int] = field(default_factory=dict)
    """By type, how many elements the tensors of the type have together."""
    names: set[int] = field(default_factory=set)

    def add(self, name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> None:
        """Add the next tensor. Raises BadHeader if the file cannot contain it."""
        count = 1
        for dimension in shape:
            count *= dimension
        known = TENSOR_TYPES.get(kind, TensorType(f"type {kind}", 1, 0))
        problem = self._problem(shape, kind, offset, known, count)
        if hash(name) in self.names:
            problem = "is there twice"
        if problem:
            raise BadHeader(f"its tensor {_shown(name)!r} {problem}")
        self.names.add(hash(name))
        self.elements[known.name] = self.elements.get(known.name, 0) + count
        self.count += count
        self.end, self.sized = offset + count // known.block_size * known.block_bytes, kind in TENSOR_TYPES
        if max(self.end, self.count) > MAX_SIZE:
            raise BadHeader("its tensors are larger than any file can be")

    def _problem(self, shape: tuple[int, ...], kind: int, offset: int, known: TensorType, count: int) -> str | None:
        expected = _aligned(self.end, self.alignment)
        if kind > MAX_TYPE:
            return f"is of a type that does not exist, {kind:,}"
        if count > MAX_SIZE:
            return "has more elements than any file can hold"
        if (shape[0] if shape else 1) % known.block_size:
            return f"has rows of {shape[0] if shape else 1:,}, and {known.name} stores {known.block_size} at a time"
        if offset % self.alignment or (self.sized and offset != expected) or offset < expected:
            return f"begins at byte {offset:,} of the data, and {expected:,} would be next"
        return None


def _note_tensors(listed: _Tensors, reader: HeaderReader, facts: Facts) -> None:
    """Add the facts about the tensors. Raises BadHeader if the file is too short for them."""
    elements = listed.elements
    facts["parameter_count"] = listed.count
    if elements and facts["quantisation"] is None:
        facts["quantisation"] = max(elements, key=elements.__getitem__)
    start = _aligned(reader.position, listed.alignment) if elements else reader.position
    if listed.sized:
        facts["expected_size_bytes"] = start + listed.end
    if start + listed.end > reader.size_bytes:
        raise BadHeader(
            f"the header describes a file of {start + listed.end:,} bytes, and this one ends after "
            f"{reader.size_bytes:,}"
        )


def _alignment(values: dict[str, Fact]) -> int:
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        raise BadHeader(f"its general.alignment is {alignment!r}, and can only be a power of two")
    return alignment


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _text(value: Fact) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Fact) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_SIZE else None


def _shown(name: bytes) -> str:
    return shown(name[: 4 * MAX_TEXT].decode(errors="replace"))
