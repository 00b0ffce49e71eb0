"""Writers of small model files, written from the formats' specifications, and helpers that read descriptions."""

import io
import json
import struct
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.store.headers.bounded import MAX_TEXT
from app.store.headers.description import Description, describe

F32, Q4_K = 0, 12
U32, STRING, ARRAY, U64 = 4, 8, 9, 10
CODES = {0: "B", 1: "b", 2: "H", 3: "h", U32: "I", 5: "i", 6: "f", 7: "?", U64: "Q", 11: "q", 12: "d"}

Typed = tuple[int, Any]
"""A GGUF value with the number of its type. An array is (ARRAY, (type of its elements, its elements))."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a GGUF file. Without a given offset, it follows the tensors before it."""

    name: str
    shape: Sequence[int]
    kind: int = F32
    size_bytes: int = 0
    offset: int | None = None


class Gguf:
    """A writer of GGUF files."""

    def __init__(self, version: int = 3, order: str = "<") -> None:
        self.version = version
        self.order = order
        self.size_code = "I" if version == 1 else "Q"

    def number(self, code: str, number: float) -> bytes:
        """Return a number in this file's byte order."""
        return struct.pack(self.order + code, number)

    def size(self, number: int) -> bytes:
        """Return a length or a count, in the width of this GGUF version."""
        return self.number(self.size_code, number)

    def string(self, text: str | bytes) -> bytes:
        """Return a text, preceded by its length."""
        data = text.encode() if isinstance(text, str) else text
        return self.size(len(data)) + data

    def value(self, kind: int, value: Any) -> bytes:
        """Return a value without its type."""
        if kind == STRING:
            return self.string(value)
        if kind == ARRAY:
            element, elements = value
            written = b"".join(self.value(element, each) for each in elements)
            return self.number("I", element) + self.size(len(elements)) + written
        return self.number(CODES[kind], value)

    def start(self, tensors: int, pairs: int) -> bytes:
        """Return the bytes before the first key."""
        return b"GGUF" + self.number("I", self.version) + self.size(tensors) + self.size(pairs)

    def pair(self, key: str | bytes, kind: int, value: Any) -> bytes:
        """Return a key and its value."""
        return self.string(key) + self.number("I", kind) + self.value(kind, value)

    def tensor(self, tensor: Tensor, offset: int = 0) -> bytes:
        """Return the header's description of a tensor."""
        shape = b"".join(self.size(length) for length in tensor.shape)
        place = self.number("I", tensor.kind) + self.number("Q", offset if tensor.offset is None else tensor.offset)
        return self.string(tensor.name) + self.number("I", len(tensor.shape)) + shape + place

    def header(self, pairs: Iterable[tuple[str, int, Any]], tensors: Sequence[Tensor], alignment: int = 32) -> bytes:
        """Return all bytes before the data, without the padding."""
        pairs = list(pairs)
        parts = [self.start(len(tensors), len(pairs)), *(self.pair(*each) for each in pairs)]
        offset = 0
        for tensor in tensors:
            parts.append(self.tensor(tensor, offset))
            offset += tensor.size_bytes + -tensor.size_bytes % alignment
        return b"".join(parts)

    def file(self, pairs: Iterable[tuple[str, int, Any]], tensors: Sequence[Tensor], alignment: int = 32) -> bytes:
        """Return a whole file. All tensors are zeros, and the last of them is not padded."""
        data = self.header(pairs, tensors, alignment)
        for tensor in tensors:
            data += bytes(-len(data) % alignment + tensor.size_bytes)
        return data


NO_TENSORS = Gguf().start(0, 0)
"""The smallest valid GGUF file."""

LLAMA_PAIRS: tuple[tuple[str, int, Any], ...] = (
    ("general.architecture", STRING, "llama"),
    ("general.name", STRING, "Tiny Llama"),
    ("general.file_type", U32, 15),
    ("llama.context_length", U32, 8192),
    ("llama.embedding_length", U32, 256),
    ("llama.block_count", U32, 2),
    ("llama.rope.freq_base", 6, 500000.0),
    ("tokenizer.ggml.tokens", ARRAY, (STRING, ["<s>", "</s>", "a", "\u2581b", ""])),
    ("tokenizer.ggml.scores", ARRAY, (6, [0.0, 0.0, -1.0, -2.0, -3.0])),
    ("tokenizer.chat_template", STRING, "{{ messages }}"),
)
LLAMA_TENSORS = (
    Tensor("token_embd.weight", (256, 5), Q4_K, 5 * 144),
    Tensor("output_norm.weight", (256,), F32, 1024),
    Tensor("output.weight", (256, 5), Q4_K, 5 * 144),
)


def tiny_gguf(version: int = 3, order: str = "<") -> bytes:
    """Return a small GGUF file with each kind of content that real files have."""
    return Gguf(version, order).file(LLAMA_PAIRS, LLAMA_TENSORS)


def safetensors(header: Mapping[str, Any] | str, data_bytes: int = 0) -> bytes:
    """Return a safetensors file. All tensors are zeros; the header is padded to 8 bytes, as by the reference writer."""
    text = (header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(data_bytes)


def tensor(dtype: str, shape: Sequence[int], begin: int, end: int) -> dict[str, Any]:
    """What a safetensors header says of a tensor."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def tiny_safetensors() -> bytes:
    """Return a small safetensors file with each kind of content that real files have."""
    tensors = {"b": tensor("F32", [3], 12, 24), "a": tensor("BF16", [2, 3], 0, 12), "none": tensor("F32", [0], 24, 24)}
    return safetensors({"__metadata__": {"format": "pt", "title": 'A "tiny" one'}, **tensors}, 24)


def varint(number: int) -> bytes:
    """Return a number in protobuf's encoding."""
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Return a protobuf message: numbers as varints, everything else preceded by its length."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += varint(number << 3) + varint(value % 2**64)
        else:
            written = value.encode() if isinstance(value, str) else value
            data += varint(number << 3 | 2) + varint(len(written)) + written
    return data


def tiny_onnx() -> bytes:
    """Return a small ONNX file with each kind of content that real files have, by the field numbers of onnx.proto."""
    weight = message((1, 2), (1, 3), (2, 1), (8, "w"), (9, bytes(24)))
    node = message((1, "x"), (1, "w"), (2, "y"), (4, "MatMul"))
    graph = message((1, node), (1, node), (2, "main"), (5, weight), (11, message((1, "x"))), (12, message((1, "y"))))
    opsets = [(8, message((1, ""), (2, 17))), (8, message((1, "ai.onnx.ml"), (2, 3)))]
    told: list[tuple[int, int | str | bytes]] = [
        (1, 8),
        (2, "pytorch"),
        (3, "2.1.0"),
        (5, 0),
        (7, graph),
        *opsets,
        (14, message((1, "k"), (2, "v"))),
    ]
    return message(*told)


def described(data: bytes, name: str = "") -> Description:
    """Describe bytes as a model file, and check what every description promises: printable and bounded texts."""
    description = describe(io.BytesIO(data), len(data), name)
    assert isinstance(description.problem, str | None)
    for key, fact in description.facts.items():
        assert key.isprintable()
        assert fact is None or isinstance(fact, str | int)
        assert not isinstance(fact, str) or (fact.isprintable() and len(fact) <= MAX_TEXT)
    assert len(description.problem or "") <= 3 * MAX_TEXT
    return description


def peak_of(data: bytes, name: str = "") -> int:
    """Return the most bytes of memory that describing the file took, without the file itself."""
    file = io.BytesIO(data)
    tracemalloc.start()
    try:
        describe(file, len(data), name)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
