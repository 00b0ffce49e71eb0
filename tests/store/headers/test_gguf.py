"""Descriptions of GGUF files."""

import io
import math
import struct
from typing import Any, BinaryIO, cast

import pytest

from app.store.headers.bounded import MAX_READ_BYTES, MAX_STEPS
from app.store.headers.description import Description, describe
from app.store.headers.gguf import FACTS
from app.store.headers.gguf_types import TENSOR_TYPES
from tests.support.files.model_files import (
    ARRAY,
    F32,
    LLAMA_TENSORS,
    Q4_K,
    STRING,
    U32,
    U64,
    Gguf,
    Tensor,
    described,
    peak_of,
    tiny_gguf,
)

V3 = Gguf()


def with_pairs(*pairs: tuple[str, int, Any]) -> Description:
    """Describe a file that has these key-values and no tensors."""
    return described(V3.file(pairs, []))


def problem_of(data: bytes) -> str:
    """Return the problem of a file; fail if it has none."""
    problem = described(data).problem
    assert problem
    return problem


@pytest.mark.parametrize(("version", "order"), [(1, "<"), (2, "<"), (3, "<"), (3, ">")])
def test_a_whole_file(version: int, order: str) -> None:
    """The description of a whole file has every fact, in every version and byte order."""
    data = tiny_gguf(version, order)
    description = described(data)

    assert description == Description(
        "gguf",
        None,
        {
            "version": version,
            "byte_order": "big" if order == ">" else "little",
            "architecture": "llama",
            "name": "Tiny Llama",
            "quantisation": "Q4_K_M",
            "parameter_count": 2 * 5 * 256 + 256,
            "context_length": 8192,
            "embedding_length": 256,
            "block_count": 2,
            "vocabulary_size": 5,
            "has_chat_template": True,
            "tensor_count": 3,
            "shard": None,
            "shard_count": None,
            "expected_size_bytes": len(data),
        },
    )
    assert tuple(sorted(description.facts)) == tuple(sorted(FACTS))


def test_a_file_cut_in_its_tensors_still_has_every_fact() -> None:
    """A partial download has the facts of the whole file, and the problem says how much is missing."""
    data = tiny_gguf()
    description = described(data[:-1000])

    assert description.problem == "the header describes a file of 3,152 bytes, and this one ends after 2,152"
    assert description.facts == described(data).facts
    assert described(data[:300]).facts["architecture"] == "llama"


def test_facts_that_a_file_lacks_are_none() -> None:
    """A file without key-values and tensors has no problem, and the other facts are None."""
    facts = with_pairs().facts

    said = {key: value for key, value in facts.items() if value is not None}
    assert said == {
        "version": 3,
        "byte_order": "little",
        "tensor_count": 0,
        "parameter_count": 0,
        "has_chat_template": False,
        "expected_size_bytes": 24,
    }


def test_the_architecture_may_come_last() -> None:
    """Keys may have any order, and keys of another architecture are ignored."""
    facts = with_pairs(
        ("llama.context_length", U32, 1),
        ("clip.vision.block_count", U32, 5),
        ("qwen2.context_length", U64, 4096),
        ("general.architecture", STRING, "qwen2"),
        ("split.no", 2, 1),
        ("split.count", 2, 3),
    ).facts

    assert (facts["context_length"], facts["block_count"]) == (4096, None)
    assert (facts["shard"], facts["shard_count"]) == (1, 3)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(STRING, "8192"), (6, 1.5), (5, -1), (7, True), (ARRAY, (STRING, ["x"])), (12, math.inf), (U64, 2**64 - 1)],
)
def test_a_number_of_a_wrong_type_is_ignored(kind: int, value: Any) -> None:
    """A count that is a text, a float, a truth value or out of range is None, and no problem."""
    description = with_pairs(("general.architecture", STRING, "x"), ("x.block_count", kind, value))

    assert description.problem is None
    assert description.facts["block_count"] == (1 if kind == ARRAY else None)


def test_every_type_of_value_is_skipped_by_its_width() -> None:
    """The key after a value of any type is found."""
    numbers = [(f"x{kind}", kind, 1) for kind in (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12)]
    arrays = [(f"y{kind}", ARRAY, (kind, [1, 0, 1])) for _, kind, _ in numbers]
    nested = ("z", ARRAY, (ARRAY, [(ARRAY, [(STRING, ["a", "b"])]), (U32, [1, 2])]))

    assert with_pairs(*numbers, *arrays, nested, ("general.name", STRING, "end")).facts["name"] == "end"


def test_a_tokenizer_larger_than_the_window_is_counted() -> None:
    """Strings of all lengths are counted, also those longer than the window of read bytes."""
    tokens = ["x" * (index % 300) for index in range(20_000)] + ["y" * 600_000, "z"]
    description = with_pairs(("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)), ("general.name", STRING, "end"))

    assert (description.facts["vocabulary_size"], description.facts["name"]) == (20_002, "end")


@pytest.mark.parametrize(
    ("file_type", "expected"),
    [(0, "F32"), (7, "Q8_0"), (15, "Q4_K_M"), (38, "MXFP4_MOE"), (1024, "Q4_K"), (None, "Q4_K")],
)
def test_the_quantisation_is_that_of_the_file_or_of_most_parameters(file_type: int | None, expected: str) -> None:
    """The quantisation is the one that the file names, or else the type of most parameters."""
    pairs = [("general.file_type", U32, file_type)] if file_type is not None else []
    norms = [Tensor(f"norm{number}", (256,), F32, 1024) for number in range(4)]

    assert described(V3.file(pairs, [*norms, *LLAMA_TENSORS])).facts["quantisation"] == expected


def test_the_sizes_of_well_known_types() -> None:
    """The bits per weight of known types are those in llama.cpp's documentation."""
    bits = {kind.name: 8 * kind.block_bytes / kind.block_size for kind in TENSOR_TYPES.values()}
    documented = {"Q4_0": 4.5, "Q8_0": 8.5, "Q2_K": 2.625, "Q3_K": 3.4375, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625}
    documented |= {"IQ1_S": 1.5625, "IQ2_XXS": 2.0625, "IQ3_S": 3.4375, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "TQ1_0": 1.6875}
    documented |= {"IQ1_M": 1.75, "TQ2_0": 2.0625, "MXFP4": 4.25, "BF16": 16, "F32": 32, "NVFP4": 4.5, "Q1_0": 1.125}

    assert bits | documented == bits


@pytest.mark.parametrize("kind", TENSOR_TYPES)
def test_every_type_of_tensor_is_sized(kind: int) -> None:
    """A file of one tensor of each type has no problem, and one byte less is noticed."""
    known = TENSOR_TYPES[kind]
    data = V3.file([], [Tensor("t", (2 * known.block_size, 3), kind, 6 * known.block_bytes)])

    assert described(data).problem is None
    assert described(data).facts["quantisation"] == known.name
    assert "describes a file of" in problem_of(data[:-1])


def test_an_unknown_type_of_tensor_is_no_problem() -> None:
    """The size of a tensor of unknown type is known from the next tensor, and unknown for the last."""
    tensors = [Tensor("a", (32,), 144, 500), Tensor("b", (32,), F32, 128), Tensor("c", (32,), 144, 500)]
    data = V3.file([], tensors)

    assert described(data) == described(data[:-500])
    facts = described(data).facts
    assert (facts["quantisation"], facts["parameter_count"], facts["expected_size_bytes"]) == ("type 144", 96, None)
    assert "describes a file of" in problem_of(data[:-501])
    assert described(V3.file([], tensors[:2])).facts["expected_size_bytes"] == len(V3.file([], tensors[:2]))


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_the_alignment_decides_where_tensors_lie(alignment: int) -> None:
    """The tensors are expected at multiples of the alignment that the file names."""
    tensors = [Tensor("a", (3,), F32, 12), Tensor("b", (3,), F32, 12)]
    data = V3.file([("general.alignment", U32, alignment)], tensors, alignment)

    assert described(data).facts["expected_size_bytes"] == len(data)
    assert described(data).problem is None
    assert problem_of(data[:-1])


def test_invalid_utf_8_in_a_name_is_replaced() -> None:
    """Invalid bytes of a name are replaced, NUL is escaped, and a long name is cut."""
    assert with_pairs(("general.name", STRING, b"a\xffb\x00")).facts["name"] == "a\ufffdb\\x00"
    assert with_pairs(("general.name", STRING, "ä" * 5000)).facts["name"] == "ä" * 199 + "…"


NAME = V3.string("k")
HOSTILE: dict[str, bytes] = {
    "lists 9,223,372,036,854,775,808 key-values, more": V3.start(0, 2**63) + bytes(1000),
    "lists 18,446,744,073,709,551,615 tensors, more": V3.start(2**64 - 1, 0) + bytes(1000),
    "a name in its header is 4,611,686,018,427,387,904 bytes": V3.start(0, 1) + V3.size(2**62) + bytes(1000),
    "the file ends inside its header": V3.start(0, 1) + NAME + struct.pack("<IQ", STRING, 2**62) + bytes(100),
    "ends inside its header, after 164 bytes": V3.start(0, 1)
    + V3.string("general.name")
    + struct.pack("<IQ", STRING, 2**64 - 1)
    + bytes(108),
    "is there twice": V3.file([("k", U32, 1), ("k", U32, 1)], []),
    "its tensor 'a' is there twice": V3.file([], [Tensor("a", (8,), F32, 32), Tensor("a", (8,), F32, 32)]),
    "has a value of no known type, 13": V3.start(0, 1) + NAME + struct.pack("<I", 13) + bytes(100),
    "no known type, 4,294,967,295": V3.start(0, 1) + NAME + struct.pack("<IIQ", ARRAY, 2**32 - 1, 1) + bytes(100),
    "nested deeper than 4": V3.start(0, 1) + NAME + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 10_000,
    "lists more than this service": V3.start(0, 1) + NAME + struct.pack("<IIQ", ARRAY, ARRAY, 2**62) + bytes(9999),
    "more than this": V3.start(0, 1) + NAME + struct.pack("<IIQ", ARRAY, STRING, 2**62) + bytes(9999),
    "ends inside its header, after": V3.start(0, 1) + NAME + struct.pack("<IIQ", ARRAY, U64, 2**62) + bytes(9999),
    "its general.alignment is 0,": V3.file([("general.alignment", U32, 0)], []),
    "its general.alignment is 24,": V3.file([("general.alignment", U32, 24)], []),
    "its general.alignment is -8,": V3.file([("general.alignment", 5, -8)], []),
    "its general.alignment is '32',": V3.file([("general.alignment", STRING, "32")], []),
    "describes a file of 2,147,483,680": V3.header([("general.alignment", U32, 2**31)], [Tensor("t", (8,))]),
    "2,147,483,648 dimensions": V3.start(1, 0) + NAME + struct.pack("<I", 2**31) + bytes(100),
    "has more elements than any": V3.file([], [Tensor("t", (2**62, 2**62, 2**62, 2**62))]) + bytes(100),
    "larger than any file can be": V3.file([], [Tensor("a", (2**62,)), Tensor("b", (2**62,), F32, 0, 2**64 - 32)]),
    "of a type that does not exist, 4,294,967,295": V3.file([], [Tensor("t", (8,), 2**32 - 1)]),
    "has rows of 8, and Q4_K stores 256": V3.file([], [Tensor("t", (8,), Q4_K, 144)]),
    "has rows of 1, and Q4_K stores 256": V3.file([], [Tensor("t", (), Q4_K, 144)]),
    "begins at byte 7 of the data": V3.file([], [Tensor("t", (8,), F32, 32, 7)]),
    "begins at byte 18,446,744,073,709,551,584 of": V3.file([], [Tensor("t", (8,), F32, 32, 2**64 - 32)]),
    "begins at byte 0 of the data, and 32 would": V3.file(
        [], [Tensor("a", (8,), F32, 32), Tensor("b", (8,), F32, 32, 0)]
    ),
    "begins at byte 64 of the data, and 32 would": V3.file(
        [], [Tensor("a", (8,), F32, 32), Tensor("b", (8,), F32, 32, 64)]
    ),
    "no version 0": b"GGUF" + bytes(100),
    "no version 4 ": b"GGUF" + struct.pack("<IQQ", 4, 0, 0),
    "no version 1,414,213,562": b"GGUF" + struct.pack("<IQQ", 1_414_213_562, 0, 0),
}


@pytest.mark.parametrize("problem", HOSTILE)
def test_a_hostile_header_is_a_problem_and_takes_little_memory(problem: str) -> None:
    """Reading a hostile header gives its problem and takes less than 1 MB."""
    assert problem in problem_of(HOSTILE[problem])
    assert peak_of(HOSTILE[problem]) < 1_000_000


def test_work_is_bounded() -> None:
    """Reading a header of too many strings or keys ends after MAX_STEPS with a problem."""
    strings = V3.start(0, 1) + NAME + struct.pack("<IIQ", ARRAY, STRING, MAX_STEPS) + bytes(8 * MAX_STEPS)
    pairs = V3.start(0, MAX_STEPS // 10) + bytes(13 * (MAX_STEPS // 10))

    for data in (strings, pairs):
        assert "lists more than this service reads" in problem_of(data)
        assert peak_of(data) < 1_000_000


def test_reading_is_bounded() -> None:
    """Reading strings that are far apart ends after MAX_READ_BYTES with a problem."""

    class Endless(io.RawIOBase):
        """A file that has the length of another string wherever it is read."""

        read_bytes = 0

        def seek(self, offset: int, whence: int = 0) -> int:
            self.offset = offset
            return offset

        def read(self, size: int = -1) -> bytes:
            self.read_bytes += size
            return ((b"" if self.offset else start) + struct.pack("<Q", 100_000) * (size // 8 + 1))[:size]

    start = V3.start(0, 1) + V3.string("key8") + struct.pack("<IIQ", ARRAY, STRING, MAX_STEPS // 2)
    file = Endless()

    description = describe(cast("BinaryIO", file), 10**15)

    assert "its header is larger than the 67,108,864 bytes" in (description.problem or "")
    assert file.read_bytes <= MAX_READ_BYTES


def test_many_keys_that_might_be_wanted_take_little_memory() -> None:
    """Keeping the values of 10,000 keys with a wanted ending takes less than 5 MB."""
    pairs = [(f"{number}.block_count", U32, number) for number in range(10_000)]
    assert peak_of(V3.file(pairs, [])) < 5_000_000
