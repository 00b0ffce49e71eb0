"""Descriptions of safetensors files."""

import json
import struct
from typing import Any

import pytest

from app.store.headers.description import Description
from app.store.headers.safetensors import MAX_METADATA, MAX_PARSED_BYTES
from tests.support.files.model_files import described, peak_of, safetensors, tensor, tiny_safetensors


def test_a_whole_file() -> None:
    """The description of a whole file has every fact."""
    data = tiny_safetensors()

    assert described(data) == Description(
        "safetensors",
        None,
        {
            "header_bytes": int.from_bytes(data[:8], "little"),
            "tensor_count": 3,
            "parameter_count": 9,
            "dtypes": "BF16, F32",
            "expected_size_bytes": len(data),
            "metadata.format": "pt",
            "metadata.title": 'A "tiny" one',
        },
    )


@pytest.mark.parametrize("header", ["{}", "{ }", '{"__metadata__":{}}', '{"__metadata__":null}', " {}"[1:] + " " * 90])
def test_a_file_without_tensors(header: str) -> None:
    """A file without tensors has no problem, as in the reference implementation."""
    description = described(safetensors(header))

    assert (description.problem, description.facts["tensor_count"]) == (None, 0)


def test_the_notation_of_the_json_does_not_matter() -> None:
    """Spaces, line breaks, the order of keys, escapes, and braces in names change nothing."""
    written = {"data_offsets": [0, 4], "extra": None, "shape": [], "dtype": "F32"}
    header = json.dumps({'a"\\{}é': written, "__metadata__": {"k}{": "\u00e9\u2028\\"}}, indent=2)
    description = described(safetensors(header, 4))

    assert description.problem is None
    assert description.facts["parameter_count"] == 1
    assert description.facts["metadata.k}{"] == "é\\u2028\\"


def test_types_below_eight_bits_and_unknown_types() -> None:
    """Four-bit elements share bytes; the size of a tensor of unknown type is not checked."""
    tensors = {"a": tensor("F4", [3, 2], 0, 3), "b": tensor("F6_E2M3", [4], 3, 6), "c": tensor("X9", [7], 6, 10)}

    description = described(safetensors(tensors, 10))
    assert (description.problem, description.facts["dtypes"]) == (None, "X9, F4, F6_E2M3")
    assert described(safetensors({"a": tensor("F4", [3], 0, 1)}, 1)).problem


def test_metadata_is_bounded() -> None:
    """The first MAX_METADATA entries are kept, each cut to its beginning, also within an escape."""
    for shift in range(7):
        metadata = {f"k{number}": "a" * shift + "\U0001f600\\" * 5000 for number in range(100)}
        facts = described(safetensors({"__metadata__": metadata})).facts
        kept = {key: value for key, value in facts.items() if key.startswith("metadata.")}

        assert len(kept) == MAX_METADATA
        assert kept["metadata.k0"] == (metadata["k0"][:199] + "…")


def with_tensor(**changes: Any) -> bytes:
    """A file of one tensor whose entry has these changes."""
    return safetensors({"t": tensor("F32", [2], 0, 8) | changes}, 8)


LONG = 10 * MAX_PARSED_BYTES
HOSTILE: dict[str, bytes] = {
    "said to be 100,000,001 bytes, and the format allows": struct.pack("<Q", 100_000_001) + b'{"',
    "said to be 281,474,976,710,655 bytes": struct.pack("<Q", 2**48 - 1) + b'{"',
    "bytes, and the file ends after 1,000": struct.pack("<Q", 9999) + b'{"' + b" " * 990,
    "is larger than the 8,388,608 that this service reads": struct.pack("<Q", LONG) + b'{"' + bytes(LONG),
    "is not UTF-8": safetensors("{}")[:-1] + b"\xff",
    "not the JSON that the format requires, at character 1": safetensors('{"a'),
    "requires, at character 5": safetensors('{"a":' + "[" * 100_000),
    "requires, at character 2": safetensors("{}{}"),
    "requires, at character 1,000": safetensors('{"":{}'.replace("{}", '{"x":') + "[" * 990 + "}"),
    "at character 16": safetensors('{"__metadata__":["x"]}'),
    "at character 21": safetensors('{"__metadata__":{"a":1}}'),
    "'t' lacks a type, a shape or its place": safetensors('{"t":{}}'),
    "lacks a type, a shape": with_tensor(shape="x"),
    "lacks a type, a shape or": with_tensor(shape=[True]),
    "lacks a type, a": with_tensor(shape=[-2]),
    "lacks a type": with_tensor(shape=[2.0]),
    "lacks a": with_tensor(data_offsets=[0]),
    "lacks": with_tensor(data_offsets=[-8, 0]),
    "its tensor 't' lacks": with_tensor(data_offsets=[0, 2**64]),
    "has more elements than any file can hold": with_tensor(shape=[2**62] * 40),
    "its tensors have more elements than any": safetensors(
        {name: tensor("X9", [2**62], 0, 0) for name in ("a", "b")},
    ),
    "2 elements of F32 in 4 bytes": with_tensor(data_offsets=[0, 4]),
    "2 elements of F32 in -8 bytes": with_tensor(data_offsets=[8, 0]),
    "'t' is there twice": safetensors('{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"t":{}}'),
    "leave a gap at byte 0": with_tensor(data_offsets=[8, 16]) + bytes(8),
    "overlap at byte 4": safetensors({"a": tensor("U8", [8], 0, 8), "b": tensor("U8", [8], 4, 12)}, 12),
    "and this one has": tiny_safetensors() + b"x",
    "and this one ends after": tiny_safetensors()[:-1],
}


@pytest.mark.parametrize("problem", HOSTILE)
def test_a_hostile_header_is_a_problem_and_takes_little_memory(problem: str) -> None:
    """Reading a hostile header gives its problem and takes less than 1 MB."""
    assert problem in (described(HOSTILE[problem]).problem or "")
    assert peak_of(HOSTILE[problem]) < 1_000_000


@pytest.mark.parametrize(
    "header",
    [
        '{"a":' + "{}" * (MAX_PARSED_BYTES // 2 - 50),
        '{"' + "\\n" * (MAX_PARSED_BYTES // 2 - 50),
        '{"__metadata__":{"a":"' + "\\u1234" * (MAX_PARSED_BYTES // 6 - 50) + '"}}',
        '{"__metadata__":{' + '"":"",' * (MAX_PARSED_BYTES // 6 - 50),
        "{" + " " * (MAX_PARSED_BYTES - 50),
        '{"' + "\U0001f600" * (MAX_PARSED_BYTES // 4 - 50),
    ],
)
def test_the_largest_header_takes_a_small_multiple_of_its_size(header: str) -> None:
    """Reading takes at most 6.2 times MAX_PARSED_BYTES: bytes, text of up to four bytes for each, and one string."""
    data = safetensors(header)

    assert len(data) <= MAX_PARSED_BYTES + 8
    assert peak_of(data) < 6.2 * MAX_PARSED_BYTES
