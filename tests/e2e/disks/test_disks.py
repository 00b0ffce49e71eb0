"""Services whose disk is full, read-only, unmounted or exchanged, each in its own mount namespace."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.support.clients import tus
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawPut
from tests.support.mounts import fill, mount, removable_disk, seen_by, small_disk, with_mounts
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

MIB = 1 << 20


Disk = Callable[[str], tuple[RunningService, Path]]


@pytest.fixture(scope="module")
def shared_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service on a small disk for all tests of this module. Tests use `disk_of`."""
    folder = tmp_path_factory.mktemp("disk")
    (folder / "models").mkdir()
    with RunningService(folder, wrapper=small_disk(folder / "models", "8m"), engine_class=ECHO) as running:
        yield running


@pytest.fixture
def disk_of(shared_disk: RunningService) -> Disk:
    """Return a function that gives the shared service an empty disk of a size such as '256k'.

    The function returns the service, and the path of its model folder in the service's mount namespace.
    """
    pid, models_dir = shared_disk.process.pid, shared_disk.models_dir

    def resized(size: str) -> tuple[RunningService, Path]:
        """Resize the disk, and return the service and the path of its model folder."""
        inside = seen_by(pid, models_dir)
        mount(pid, "mount", "-o", "remount,rw,size=8m", models_dir)  # a failed test may have left it small or read-only
        shared_disk.clear(inside)
        mount(pid, "mount", "-o", f"remount,size={size}", models_dir)
        return shared_disk.wait_until_ready(), inside

    return resized


def names_of(service: RunningService) -> list[str] | None:
    """Return the names of the listed models; None while the list is not available."""
    answer = service.client.get("/models")
    return [model["name"] for model in answer.json()["models"]] if answer.status_code == 200 else None


def blocks_of(path: Path) -> int:
    """Return the number of blocks of a file; 0 if it does not exist."""
    return path.stat().st_blocks if path.exists() else 0


def changes(service: RunningService, trash_id: str) -> Iterator[Callable[[], httpx.Response]]:
    """Yield a function for every kind of change of the folder."""
    call = service.client.request
    yield lambda: call("PUT", "/models/b.bin", content=b"new")
    yield lambda: call("PUT", "/models/a.bin", content=b"new", headers={"if-match": "*"})
    yield lambda: call("DELETE", "/models/a.bin")
    yield lambda: call("DELETE", "/models/a.bin?permanent=true")
    yield lambda: call("POST", f"/trash/{trash_id}/restore")
    yield lambda: call("DELETE", f"/trash/{trash_id}")
    yield lambda: call("DELETE", "/trash")


def with_a_model_and_one_deleted(service: RunningService) -> str:
    """Create a.bin, and old.bin in the trash; return the id of old.bin's trash entry."""
    for name in ("a.bin", "old.bin"):
        service.client.put(f"/models/{name}", content=name.encode()).raise_for_status()
    return str(service.client.delete("/models/old.bin").raise_for_status().json()["trash_id"])


def test_a_full_disk_refuses_a_deletion_and_loses_nothing(disk_of: Disk) -> None:
    """On a full disk a deletion answers 507 and the model stays; once there is space the deletion succeeds."""
    service, inside = disk_of("256k")
    (inside / "a.bin").write_bytes(b"content")
    fill(inside)
    eventually(lambda: service.client.get("/models").json()["count"] == 2)

    assert problem_of(service.client.delete("/models/a.bin")) == (507, "store-full")

    assert (inside / "a.bin").read_bytes() == b"content"
    assert list((inside / ".store/trash").iterdir()) == []
    (inside / "filler").unlink()
    assert service.client.delete("/models/a.bin").status_code == 200


def test_a_full_disk_can_be_relieved(disk_of: Disk) -> None:
    """On a full disk a restore, a purge and a permanent deletion succeed, and the answers state the freed bytes."""
    service, inside = disk_of("2m")
    for name in ("a.bin", "b.bin", "c.bin"):
        (inside / name).write_bytes(b"x" * 100_000)
    entries = [service.client.delete(f"/models/{name}").json()["trash_id"] for name in ("a.bin", "b.bin")]
    fill(inside)

    assert service.client.post(f"/trash/{entries[0]}/restore").status_code == 200
    assert problem_of(service.client.put("/models/d.bin", content=b"x" * 4096)) == (507, "store-full")
    assert service.client.delete(f"/trash/{entries[1]}").json()["freed_bytes"] >= 100_000
    fill(inside)
    receipt = service.client.delete("/models/c.bin?permanent=true").raise_for_status().json()
    assert receipt["freed_bytes"] == 25 * 4096
    assert service.client.get("/storage").json()["free_bytes"] >= receipt["freed_bytes"] - 4096
    assert eventually(lambda: names_of(service) == ["a.bin", "filler"])


@pytest.mark.parametrize("has_length", [True, False], ids=["Content-Length", "chunked"])
def test_a_disk_too_small_refuses_an_upload_and_keeps_nothing(disk_of: Disk, *, has_length: bool) -> None:
    """An upload that does not fit answers 507 and keeps no bytes, whether its length is known or not."""
    service, inside = disk_of("4m")
    large = b"x" * (8 * MIB)

    refused = service.client.put("/models/a.bin", content=large if has_length else iter([large[:MIB]] * 8))

    assert problem_of(refused) == (507, "store-full")
    assert (refused.json()["need_bytes"] == 8 * MIB) is has_length
    assert list((inside / ".store/staging").iterdir()) == []
    assert names_of(service) == []
    assert service.client.put("/models/a.bin", content=large[:MIB]).status_code == 201


def with_three_deleted(service: RunningService) -> None:
    """Delete three models of one MiB, which fill most of the free space of a disk of 5 MiB."""
    for name in ("a.bin", "b.bin", "c.bin"):
        service.client.put(f"/models/{name}", content=b"x" * MIB).raise_for_status()
        service.client.delete(f"/models/{name}").raise_for_status()


def trash_of(service: RunningService) -> list[str]:
    """Return the names of the deleted models, oldest first."""
    return [entry["name"] for entry in service.client.get("/trash").json()["entries"]]


def test_an_announced_upload_costs_no_deleted_model_until_its_bytes_come(disk_of: Disk) -> None:
    """The trash makes room for the bytes that have come, and not for the size that was announced."""
    service, _ = disk_of("5m")
    with_three_deleted(service)

    path = tus.begun(service, "new.bin", 3 * MIB + MIB // 2)
    assert trash_of(service) == ["a.bin", "b.bin", "c.bin"]

    half = b"y" * (MIB + MIB // 2)
    assert tus.append(service, path, 0, half).status_code == 204
    assert trash_of(service) == ["b.bin", "c.bin"]
    assert tus.append(service, path, len(half), b"z" * (2 * MIB)).status_code == 204
    assert trash_of(service) == []
    assert service.client.get("/models/new.bin").json()["size_bytes"] == 3 * MIB + MIB // 2


def test_an_upload_without_a_length_gets_the_room_of_the_trash(disk_of: Disk) -> None:
    """A chunked upload that fits only with the trash purged succeeds, as one with a length does."""
    service, _ = disk_of("5m")
    with_three_deleted(service)

    assert service.client.put("/models/new.bin", content=iter([b"y" * MIB] * 3)).status_code == 201
    assert trash_of(service) == []


def test_a_full_disk_says_what_frees_space(disk_of: Disk) -> None:
    """507 for a deletion names the deletion that needs no space, and that one succeeds."""
    service, inside = disk_of("256k")
    (inside / "a.bin").write_bytes(b"content")
    fill(inside)
    eventually(lambda: service.client.get("/models").json()["count"] == 2)

    assert "permanent=true" in service.client.delete("/models/a.bin").json()["detail"]

    assert service.client.delete("/models/filler?permanent=true").status_code == 200


@pytest.mark.parametrize("size", [1, 10_000, 1_000_000])
def test_freed_bytes_are_those_of_the_disk(disk_of: Disk, size: int) -> None:
    """`freed_bytes` is the space that the file system gains, counted in blocks."""
    service, inside = disk_of("8m")
    (inside / "a.bin").write_bytes(b"x" * size)
    service.client.delete("/models/none.bin")  # creates the journal and the locks, which take blocks too
    eventually((inside / ".store/clock.json").exists)  # the first sweep writes it
    before, journal_before = os.statvfs(inside), blocks_of(inside / ".store/journal.jsonl")

    freed = service.client.delete("/models/a.bin?permanent=true").raise_for_status().json()["freed_bytes"]

    after = os.statvfs(inside)
    written_meanwhile = (blocks_of(inside / ".store/journal.jsonl") - journal_before) * 512
    assert freed == (after.f_bavail - before.f_bavail) * after.f_frsize + written_meanwhile


def test_a_read_only_disk_lists_and_refuses_every_change(serve: Serve, tmp_path: Path) -> None:
    """A service that starts on a read-only disk refuses every change, and lists, until the disk is writable."""
    with_models = serve(engine_class=ECHO)
    trash_id = with_a_model_and_one_deleted(with_models)
    with_models.stop()
    models = tmp_path / "models"
    service = serve(wrapper=with_mounts(f"mount --bind -o ro {models} {models}"), engine_class=ECHO).wait_until_ready()

    assert names_of(service) == ["a.bin"]
    assert service.client.get("/models/a.bin").status_code == 200
    assert service.client.get("/trash").json()["count"] == 1
    for change in changes(service, trash_id):
        assert problem_of(change()) == (503, "store-read-only")
    assert service.client.get("/storage").json()["is_writable"] is False

    mount(service.process.pid, "mount", "-o", "remount,bind,rw", models)
    assert [change().status_code for change in changes(service, trash_id)] == [201, 200, 200, 404, 200, 404, 200]
    assert service.client.get("/storage").json()["is_writable"] is True


def is_shown_writable(service: RunningService) -> bool:
    """Return whether the readiness shows the folder as writable, as it was at most a second ago."""
    checks = service.client.get("/readyz?verbose").json()["checks"]
    return next(bool(check["ok"]) for check in checks if check["name"] == "store-writable")


def test_a_disk_that_turns_read_only_refuses_changes_until_it_is_writable_again(disk_of: Disk) -> None:
    """While its disk is read-only, as after a disk error, a running service refuses changes and still lists."""
    service, _ = disk_of("4m")
    models = service.models_dir
    trash_id = with_a_model_and_one_deleted(service)

    mount(service.process.pid, "mount", "-o", "remount,ro", models)
    for change in changes(service, trash_id):
        assert problem_of(change()) == (503, "store-read-only")
    assert service.client.get("/storage").json()["is_writable"] is False
    eventually(lambda: not is_shown_writable(service), within=30)
    image = service.client.post("/ocr", content=b"BM", headers={"prefer": "respond-async", "content-type": "image/bmp"})
    assert problem_of(image) == (503, "store-read-only")
    assert names_of(service) == ["a.bin"]
    assert service.client.get("/trash").json()["count"] == 1

    mount(service.process.pid, "mount", "-o", "remount,rw", models)
    assert service.client.get("/storage").json()["is_writable"] is True
    eventually(lambda: is_shown_writable(service), within=30)
    assert [change().status_code for change in changes(service, trash_id)] == [201, 200, 200, 404, 200, 404, 200]


@pytest.fixture(scope="module")
def shared_unmountable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service on a disk that can be unmounted, for all tests of this module. Tests use `unmountable`."""
    folder = tmp_path_factory.mktemp("unmountable")
    with RunningService(folder, wrapper=removable_disk(folder), engine_class=ECHO) as running:
        yield running


@pytest.fixture
def unmountable(shared_unmountable: RunningService) -> RunningService:
    """Return the shared service, whose model folder is a mount of the disk at `disk`; at `other` is a second disk."""
    return shared_unmountable.clear(folder_of(shared_unmountable) / "disk").wait_until_ready()


def folder_of(service: RunningService) -> Path:
    """Return the path of the service's folder in the service's mount namespace."""
    return seen_by(service.process.pid, service.folder)


def is_unavailable(service: RunningService) -> bool:
    """Return True if the service answers 503 to a list."""
    return service.client.get("/models").status_code == 503


def check_everything_is_unavailable(service: RunningService, trash_id: str) -> None:
    """Check that every read and every change answers 503, while the service is still alive."""
    reads: list[Any] = [
        lambda path=path: service.client.get(path)
        for path in ("/models", "/models/a.bin", "/models/path", "/trash", "/journal", "/audit", "/storage", "/readyz")
    ]
    for call in (*reads, *changes(service, trash_id)):
        assert problem_of(call()) == (503, "store-unavailable")
    assert service.client.get("/livez").status_code == 200


def test_an_unmounted_disk_is_unavailable_until_it_is_back(unmountable: RunningService) -> None:
    """While its disk is unmounted a service answers 503 and writes nothing to the mount point; then all works again."""
    trash_id = with_a_model_and_one_deleted(unmountable)
    pid, folder = unmountable.process.pid, unmountable.folder

    mount(pid, "umount", "--lazy", folder / "models")
    eventually(lambda: is_unavailable(unmountable))
    check_everything_is_unavailable(unmountable, trash_id)
    assert list((folder / "models").iterdir()) == []

    mount(pid, "mount", "--bind", folder / "disk", folder / "models")
    eventually(lambda: names_of(unmountable) == ["a.bin"])
    assert unmountable.client.post(f"/trash/{trash_id}/restore").status_code == 200
    assert eventually(lambda: names_of(unmountable) == ["a.bin", "old.bin"])


def test_another_disk_at_the_mount_point_is_not_touched(unmountable: RunningService) -> None:
    """A service does not use another disk at its mount point, even with equal names; its own disk works again later."""
    trash_id = with_a_model_and_one_deleted(unmountable)
    pid, folder = unmountable.process.pid, unmountable.folder
    other = seen_by(pid, folder / "other")
    (other / "a.bin").write_bytes(b"of another disk")

    mount(pid, "umount", "--lazy", folder / "models")
    mount(pid, "mount", "--bind", folder / "other", folder / "models")
    eventually(lambda: is_unavailable(unmountable))
    check_everything_is_unavailable(unmountable, trash_id)
    assert [path.name for path in other.iterdir()] == ["a.bin"]
    assert (other / "a.bin").read_bytes() == b"of another disk"

    mount(pid, "umount", "--lazy", folder / "models")
    mount(pid, "mount", "--bind", folder / "disk", folder / "models")
    eventually(lambda: names_of(unmountable) == ["a.bin"])
    assert unmountable.client.get("/models/a.bin").json()["size_bytes"] == len(b"a.bin")


def test_an_unmounted_disk_ends_an_upload(unmountable: RunningService) -> None:
    """Unmounting the disk ends an upload with 503; the mount point stays empty, and the disk keeps no bytes of it."""
    pid, folder = unmountable.process.pid, unmountable.folder
    disk = seen_by(pid, folder / "disk")
    with RawPut(unmountable, "/models/folder/b.bin", content_length=8) as upload:
        upload.send(b"half")
        eventually(lambda: list((disk / ".store/staging").iterdir()))
        mount(pid, "umount", "--lazy", folder / "models")
        upload.send(b"rest")

        assert upload.answer().startswith(b"HTTP/1.1 503 ")

    assert list((folder / "models").iterdir()) == []
    mount(pid, "mount", "--bind", folder / "disk", folder / "models")
    eventually(lambda: names_of(unmountable) == [])
    eventually(lambda: list((disk / ".store/staging").iterdir()) == [], within=60)
    assert [path.name for path in disk.iterdir()] == [".store"]


def test_a_disk_mounted_inside_the_folder_is_a_warning(serve: Serve, tmp_path: Path) -> None:
    """A disk or device mounted inside the folder is listed as a warning, and its files are no models."""
    (tmp_path / "models/inside").mkdir(parents=True)
    (tmp_path / "models/null.bin").touch()
    mounts = f"mount -t tmpfs none {tmp_path}/models/inside; mount --bind /dev/null {tmp_path}/models/null.bin"
    service = serve(wrapper=with_mounts(mounts), engine_class=ECHO).wait_until_ready()
    (seen_by(service.process.pid, tmp_path / "models") / "inside/a.bin").write_bytes(b"elsewhere")

    warnings = {each["path"]: each["reason"] for each in service.client.get("/models").json()["warnings"]}

    assert warnings == {
        "inside": "another file system is mounted here; its files are not managed",
        "null.bin": "a device",
    }
    for method in ("GET", "DELETE", "PUT"):
        for name in ("inside/a.bin", "inside/new.bin", "null.bin"):
            assert service.client.request(method, f"/models/{name}").status_code == 422
    assert [path.name for path in (tmp_path / "models/inside").iterdir()] == []
