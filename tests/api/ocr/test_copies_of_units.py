"""The copy of a job's file for the engine: which folder an error names decides which disk an operator looks at."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from app.api.images.service import copy_of_unit
from app.errors import StateUnavailable, StoreUnavailable
from app.store.records.forms import RecordDamaged
from app.store.records.reader import CHUNK_BYTES


def test_a_copy_has_every_byte(tmp_path: Path) -> None:
    """A file of several reads is copied whole."""
    data = os.urandom(2 * CHUNK_BYTES + 7)
    (tmp_path / "in").write_bytes(data)

    copy_of_unit(tmp_path / "in", tmp_path / "image")

    assert (tmp_path / "image").read_bytes() == data


def test_a_file_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    """A read that fails is damage of the unit's file, and says nothing about the state folder."""
    with pytest.raises(RecordDamaged, match="it cannot be read: Input/output error"):
        copy_of_unit(Path("/proc/self/mem"), tmp_path / "image")  # a regular file whose first byte gives EIO


@pytest.mark.parametrize("call", ["open", "read"])
def test_a_file_server_that_does_not_answer_is_the_model_folder_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The service gives the unit back for the model folder's sake, and does not take the error for a defect."""
    (tmp_path / "in").write_bytes(b"1")
    answered = getattr(os, call)

    def fail(of: Any, *rest: Any) -> Any:  # stands in for a file server
        is_chunk = call == "read" and rest == (CHUNK_BYTES,)
        if is_chunk or of == tmp_path / "in":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return answered(of, *rest)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreUnavailable, match="Stale file handle"):
        copy_of_unit(tmp_path / "in", tmp_path / "image")


def test_a_copy_that_cannot_be_written_is_the_state_folder_s(tmp_path: Path) -> None:
    """An error of the target is the state folder's."""
    (tmp_path / "in").write_bytes(b"1")

    with pytest.raises(StateUnavailable):
        copy_of_unit(tmp_path / "in", tmp_path / "removed" / "image")


def test_a_missing_file_stays_a_missing_file(tmp_path: Path) -> None:
    """A unit whose file is gone has failed; the folder is there."""
    with pytest.raises(FileNotFoundError):
        copy_of_unit(tmp_path / "in", tmp_path / "image")
