"""Descriptions of any file: the content decides the format, and no content raises, hangs or needs much memory."""

import io
import os
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.headers.description import READERS, Description, describe, format_of_name
from app.store.headers.formats import BY_SUFFIX, Format
from tests.support.files.model_files import (
    described,
    message,
    peak_of,
    safetensors,
    tiny_gguf,
    tiny_onnx,
    tiny_safetensors,
)

TINY = {
    "a.gguf": tiny_gguf(),
    "big-endian.gguf": tiny_gguf(3, ">"),
    "v1.gguf": tiny_gguf(1),
    "a.safetensors": tiny_safetensors(),
    "a.onnx": tiny_onnx(),
}


def test_each_format_has_a_suffix_and_a_reader() -> None:
    formats = {*get_args(Format)} - {"unknown"}

    assert formats == set(BY_SUFFIX.values())
    assert formats == {reader.format for reader in READERS}
    assert len(READERS) == len(formats)


@pytest.mark.parametrize("name", TINY)
def test_whole_files_have_no_problem(name: str) -> None:
    """A whole file has no problem, with its name in upper or lower case, another name or none."""
    data = TINY[name]

    for given_name in (name, name.upper(), "", "model.bin"):
        description = described(data, given_name)
        assert (description.format, description.problem) == (format_of_name(name), None)
        assert description.facts.get("expected_size_bytes", len(data)) == len(data)


@pytest.mark.parametrize("name", TINY)
def test_a_descriptor_is_read_without_moving_it(tmp_path: Path, name: str) -> None:
    """A descriptor gives the description that a file object gives, and its position stays."""
    (tmp_path / name).write_bytes(TINY[name])
    with (tmp_path / name).open("rb", buffering=0) as file:
        descriptor = file.fileno()
        os.lseek(descriptor, 3, os.SEEK_SET)

        assert describe(descriptor, len(TINY[name]), name) == described(TINY[name], name)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 3


@pytest.mark.parametrize("name", TINY)
def test_a_file_cut_anywhere_is_a_problem(name: str) -> None:
    """A file cut at any byte has a problem, except an ONNX file cut after its operator sets."""
    data = TINY[name]
    opset = message((8, message((1, ""), (2, 17))))
    complete = data.index(opset) + len(opset) if name == "a.onnx" else len(data)

    for length in range(len(data)):
        assert described(data[:length], name).problem or length >= complete
        assert described(data[:length]).format in {format_of_name(name), "unknown"}


@pytest.mark.parametrize("name", TINY)
def test_a_file_shorter_than_its_size_is_a_problem(name: str) -> None:
    """A file that was cut after its size was read has a problem."""
    data = TINY[name]
    for length in range(0, min(len(data) // 2, 450), 7):
        assert describe(io.BytesIO(data[:length]), len(data), name).problem


@pytest.mark.parametrize("name", ["a.gguf", "a.safetensors", "a.onnx"])
def test_a_suffix_of_another_format_is_a_problem(name: str) -> None:
    """A file whose suffix names another format has a problem, such as an error page that was saved as a model."""
    for data in (
        b"<html>Not found</html>",
        bytes(100),
        *(data for other, data in TINY.items() if other[-4:] != name[-4:]),
    ):
        assert f"its name ends in .{format_of_name(name)}" in (described(data, name).problem or "")


@pytest.mark.parametrize(
    "data", [b"an example, not a model\n", bytes(4096), b"\x08", b"PK\3\4" + bytes(60), b"GGU", b"{}"]
)
def test_other_files_are_unknown_and_no_problem(data: bytes) -> None:
    """A file of no known format is `unknown`, and has no problem without a known suffix."""
    assert described(data, "x.bin") == Description("unknown")


def test_an_empty_file_is_a_problem() -> None:
    """An empty file is damaged, with any name."""
    for name in ("", "x.bin", "x.gguf"):
        assert described(b"", name) == Description("unknown", "the file is empty", is_damaged=True)


@pytest.mark.parametrize("beginning", [b"", *TINY.values()])
def test_a_sparse_file_of_20_gb_is_described_by_its_beginning(tmp_path: Path, beginning: bytes) -> None:
    """Only the header of a file of 20 GB is read."""
    path = tmp_path / "x.bin"
    path.write_bytes(beginning)
    os.truncate(path, 20 * 10**9)
    with path.open("rb") as file:
        description = describe(file.fileno(), 20 * 10**9)

    if beginning.startswith(b"GGUF"):
        assert description.problem is None  # padding may follow the tensors
    assert (description.problem is None) == (description.format in {"gguf", "unknown"})


def test_another_protobuf_message_is_not_taken_for_onnx() -> None:
    """A message that begins like ONNX and continues differently is `unknown`."""
    for data in (message((1, 5), (2, "x")), message((1, 5), (7, 3)), message((1, 5), (2, b"\xff" * 9)) + b"\x3a\xff"):
        assert described(data).format == "unknown"


def test_texts_of_headers_are_safe_for_logs_and_terminals() -> None:
    """Control characters, invisible characters and invalid text are escaped or replaced, and long texts are cut."""
    metadata = {"a\n\x1b[31m": "line\r\nline", "b": "\u202egnp\u202c", "c": "x" * 1000, "\ud800": "\u0000"}
    facts = described(safetensors({"__metadata__": metadata})).facts

    assert facts["metadata.a\\n\\x1b[31m"] == "line\\r\\nline"
    assert facts["metadata.b"] == "\\u202egnp\\u202c"
    assert facts["metadata.c"] == "x" * 199 + "…"
    assert facts["metadata.\\ud800"] == "\\x00"


@given(st.binary(max_size=300), st.sampled_from(["", *TINY]))
def test_no_bytes_raise(data: bytes, name: str) -> None:
    """Random bytes, also after the beginning of a format, raise no error."""
    for beginning in (b"", b"GGUF\3\0\0\0", data[:3] + bytes(5) + b'{"', b"\x08\x08\x12", b"\x08\x08\x3a"):
        described(beginning + data, name)


@given(st.sampled_from(list(TINY)), st.data())
def test_no_damage_raises(name: str, data: st.DataObject) -> None:
    """A file with bytes replaced, removed and inserted raises no error."""
    damaged = bytearray(TINY[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, min(len(damaged), 700) - 1)))
        new = data.draw(st.one_of(st.binary(max_size=9), st.sampled_from([b"\xff" * 8, bytes(8), bytes(7) + b"\x80"])))
        damaged[at : at + data.draw(st.sampled_from([0, len(new), len(new), 4]))] = new
    described(bytes(damaged), name)


@pytest.mark.parametrize("name", TINY)
def test_a_small_file_takes_little_memory(name: str) -> None:
    """Reading a small file takes less than 300 kB."""
    assert peak_of(TINY[name], name) < 300_000


def test_format_of_name_reads_the_suffix() -> None:
    """Suffixes in upper and lower case give the format; other suffixes give `unknown`."""
    names = {"a.gguf": "gguf", "org/A.GGUF": "gguf", "x.y.onnx": "onnx", "m.safetensors": "safetensors"}
    unknown = dict.fromkeys(["x.bin", "gguf", "a.gguf/x", "", "x."], "unknown")

    assert {name: format_of_name(name) for name in names | unknown} == names | unknown
