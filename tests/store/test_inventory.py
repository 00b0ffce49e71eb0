"""One scan of a real folder."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import StoreUnavailable
from app.store.inventory import Model, rescan, scan


def test_every_regular_file_below_the_folder_is_a_model(tmp_path: Path) -> None:
    """Any suffix and any depth, sorted by name; hidden files and the store's own are not models."""
    for name in ("b.bin", "a", "org_repo/model.gguf", "org_repo/deep/er/x.onnx", ".hidden", ".store/trash/y", "d/.z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")

    inventory = scan(tmp_path)

    assert list(inventory.models) == ["a", "b.bin", "org_repo/deep/er/x.onnx", "org_repo/model.gguf"]
    assert inventory.total_size_bytes == 20
    assert inventory.warnings == ()


@pytest.mark.parametrize(("seconds", "year"), [(1 << 40, 9999), (-(1 << 40), 1), (-5, 1969)])
def test_a_time_that_no_calendar_has_stops_no_list(seconds: int, year: int) -> None:
    """Some file systems keep times of 64 bits, and whoever writes a file sets them."""
    assert Model("a.bin", 1, seconds * 10**9, 0, 1).modified_at.year == year


def test_what_cannot_be_listed_is_a_warning(tmp_path: Path) -> None:
    """Links, pipes, sockets and names that no URL can carry are told, not followed and not swallowed."""
    (tmp_path / "model.bin").write_bytes(b"x")
    (tmp_path / "link").symlink_to("model.bin")
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "back\\slash").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.bin")).touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        inventory = scan(tmp_path)

    assert list(inventory.models) == ["model.bin"]
    assert {warning.path: warning.reason for warning in inventory.warnings} == {
        "link": "a symbolic link",
        "out": "a symbolic link",
        "loop": "a symbolic link",
        "pipe": "a named pipe",
        "socket": "a socket",
        "back\\slash": "it contains a backslash",
        "\\xff.bin": "it is not valid UTF-8",
    }


def test_an_etag_changes_with_the_content(tmp_path: Path) -> None:
    """Growing and replacing a file change its ETag; looking at it does not."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    tags = [scan(tmp_path).models["model.bin"].etag, scan(tmp_path).models["model.bin"].etag]
    path.write_bytes(b"xy")
    tags.append(scan(tmp_path).models["model.bin"].etag)
    (tmp_path / "new").write_bytes(b"xy")
    (tmp_path / "new").rename(path)
    tags.append(scan(tmp_path).models["model.bin"].etag)

    assert tags[0] == tags[1]
    assert len(set(tags)) == 3


def test_a_missing_folder_is_unavailable_and_not_empty(tmp_path: Path) -> None:
    """No models and no folder are two answers."""
    with pytest.raises(StoreUnavailable):
        scan(tmp_path / "missing")


NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", ".h", "d/.h", "x\\y"])
CHANGES = st.tuples(st.sampled_from(["write", "grow", "mkdir", "link", "remove", "rename"]), NAMES, NAMES)


def change(root: Path, verb: str, name: str, other: str) -> None:
    """Do it if it can be done."""
    path = root / name
    if verb == "remove" and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif verb == "remove":
        path.unlink()
    elif verb == "rename":
        path.rename(root / other)
    elif verb == "mkdir":
        path.mkdir()
    elif verb == "link":
        path.symlink_to(root / other)
    else:
        with path.open("ab" if verb == "grow" else "wb") as file:
            file.write(b"x")


def told_of(root: Path, name: str) -> set[str]:
    """The paths at which the kernel tells of a change there: not those of the links that lead to it."""
    path = root / name
    try:
        places = [path.parent.resolve() / path.name, path.resolve()]
    except (OSError, RuntimeError):  # a loop of links
        places = [path]
    return {str(place.relative_to(root)) for place in places if place.is_relative_to(root)} - {"."}


@given(st.lists(CHANGES, max_size=12), st.integers(1, 4))
def test_looking_again_at_what_changed_finds_what_a_scan_finds(changes: list[tuple[str, str, str]], batch: int) -> None:
    """Whatever happens to files, folders and links, in batches, and whatever was there before."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        inventory = scan(root)
        for start in range(0, len(changes), batch):
            touched = set()
            for verb, name, other in changes[start : start + batch]:
                told = told_of(root, name) | told_of(root, other)
                try:
                    change(root, verb, name, other)
                except OSError:
                    continue
                touched |= told
            inventory = rescan(root, inventory, touched)
            assert inventory == scan(root)
            assert list(inventory.models) == sorted(inventory.models)
