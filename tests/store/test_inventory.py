"""Scans and rescans of a real folder."""

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import StoreUnavailable
from app.store.inventory import Model
from app.store.volume.scan import rescan, scan


def test_every_regular_file_below_the_folder_is_a_model(tmp_path: Path) -> None:
    """Files with any suffix, at any depth, are models, sorted by name; hidden files and `.store/` are not."""
    for name in ("b.bin", "a", "org_repo/model.gguf", "org_repo/deep/er/x.onnx", ".hidden", ".store/trash/y", "d/.z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")

    inventory = scan(tmp_path)

    assert list(inventory.models) == ["a", "b.bin", "org_repo/deep/er/x.onnx", "org_repo/model.gguf"]
    assert inventory.total_size_bytes == 20
    assert inventory.warnings == ()


@pytest.mark.parametrize(("seconds", "year"), [(1 << 40, 9999), (-(1 << 40), 1), (-5, 1969)])
def test_a_time_outside_the_calendar_becomes_the_nearest_year(seconds: int, year: int) -> None:
    """A modification time outside the years 1 to 9999 becomes the nearest year inside."""
    assert Model("a.bin", 1, seconds * 10**9, 0, 1).modified_at.year == year


def test_entries_that_cannot_be_models_are_warnings(tmp_path: Path) -> None:
    """Links, pipes, sockets and names that no URL can carry are warnings with a reason; links are not followed."""
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
    """The ETag changes when a file grows or is replaced, and not when it is scanned again."""
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
    """A scan of a missing folder raises StoreUnavailable instead of returning an empty inventory."""
    with pytest.raises(StoreUnavailable):
        scan(tmp_path / "missing")


NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", ".h", "d/.h", "x\\y"])
CHANGES = st.tuples(st.sampled_from(["write", "grow", "mkdir", "link", "remove", "rename"]), NAMES, NAMES)


def change(root: Path, verb: str, name: str, other: str) -> None:
    """Make one change of the folder."""
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


def notified_paths(root: Path, name: str) -> set[str]:
    """The paths that the kernel reports for a change at a name. Paths through links are not reported."""
    path = root / name
    try:
        places = [path.parent.resolve() / path.name, path.resolve()]
    except (OSError, RuntimeError):  # a loop of links
        places = [path]
    return {str(place.relative_to(root)) for place in places if place.is_relative_to(root)} - {"."}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CHANGES, max_size=12), st.integers(1, 4))
def test_a_rescan_of_changed_paths_equals_a_full_scan(changes: list[tuple[str, str, str]], batch: int) -> None:
    """After any changes of files, folders and links, in batches, `rescan` returns what `scan` returns."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        inventory = scan(root)
        for start in range(0, len(changes), batch):
            touched = set()
            for verb, name, other in changes[start : start + batch]:
                notified = notified_paths(root, name) | notified_paths(root, other)
                try:
                    change(root, verb, name, other)
                except OSError:
                    continue
                touched |= notified
            inventory, is_complete = rescan(root, inventory, touched)
            assert is_complete
            assert inventory == scan(root)
            assert list(inventory.models) == sorted(inventory.models)


@pytest.mark.parametrize("moment", ["sibling", "parent"])
def test_a_folder_replaced_by_a_link_during_a_scan_is_not_entered(tmp_path: Path, moment: str) -> None:
    """A neighbour replaces a folder by a link between its listing and its reading: nothing behind the link is listed.

    The scan tells when it reads a folder, so the replacement happens at the right moment each time.
    """
    root, outside = tmp_path / "models", tmp_path / "outside"
    for name in ("a/x", "a/y", "b/x", "b/y"):
        (root / name).mkdir(parents=True)
        (outside / name.removeprefix("a/").removeprefix("b/")).mkdir(parents=True, exist_ok=True)
    (outside / "secret.bin").write_bytes(b"secret")
    (outside / "x/secret.bin").write_bytes(b"secret")
    (outside / "y/secret.bin").write_bytes(b"secret")
    replaced: list[str] = []

    def replace(prefix: str, _: int) -> None:
        """Replace the other folder when a first one is read, or the parent when the first of two folders is read."""
        here = prefix.removesuffix("/")
        if replaced or here.count("/") != (moment == "parent") or not here:
            return
        victim = here.rpartition("/")[0] if moment == "parent" else {"a": "b", "b": "a"}[here]
        (root / victim).rename(tmp_path / "away")
        (root / victim).symlink_to(outside)
        replaced.append(victim)

    found = scan(root, None, replace)

    assert replaced
    assert found.models == {}
    (warning,) = scan(root).warnings
    assert (warning.path, warning.reason) == (replaced[0], "a symbolic link")


def test_a_rescan_does_not_look_through_links(tmp_path: Path) -> None:
    """A path through a link, or through a folder of another name, is absent."""
    root = tmp_path / "models"
    (root / "real").mkdir(parents=True)
    (root / "real/a.bin").touch()
    (root / "link").symlink_to("real")
    (root / "loop").symlink_to("loop")
    before = scan(root)

    after, is_complete = rescan(root, before, ["link/a.bin", "loop/a.bin", "real/../real/a.bin", "real/a.bin"])

    assert is_complete
    assert after is before


def test_a_rescan_leaves_large_folders_to_a_scan(tmp_path: Path) -> None:
    """A rescan that would read too many entries leaves such folders as they were, and says so."""
    (tmp_path / "large").mkdir()
    before = scan(tmp_path)
    for number in range(20):
        (tmp_path / f"large/{number}.bin").touch()
    (tmp_path / "small").mkdir()
    (tmp_path / "small/a.bin").touch()

    after, is_complete = rescan(tmp_path, before, ["large", "small"], max_walked=10)

    assert not is_complete
    assert list(after.models) == ["small/a.bin"]
    assert rescan(tmp_path, before, ["large", "small"]) == (scan(tmp_path), True)


def test_a_scan_rests_if_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that rests finds what a scan finds, and rests after every few hundred entries; else it does not rest."""
    for number in range(1000):
        (tmp_path / f"{number}.bin").touch()
    rests: list[float] = []
    monkeypatch.setattr(time, "sleep", rests.append)  # a real sleep could not be counted

    assert scan(tmp_path) == scan(tmp_path, rest=2)

    assert len(rests) == 5
    assert all(rest > 0 for rest in rests)
