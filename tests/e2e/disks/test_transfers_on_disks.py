"""Disks that fill, or are unmounted, during a pull or a resumable upload."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients.raw import RawPatch
from tests.support.clients.tus import CHUNK, append, begun, offset_of
from tests.support.hub import Fault, Hub, running_hub
from tests.support.mounts import mount, removable_disk, seen_by, small_disk
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually, file_sizes

MIB = 1 << 20
CONTENT = hashlib.shake_128(b"a model").digest(12 * MIB)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "org_repo/a.gguf"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Run a hub that stops in the middle of the file until the gate of its fault is set."""
    with running_hub() as running:
        running.add("org/repo", "a.gguf", CONTENT)
        running.faults.append(Fault(wait_after=5 * MIB))
        yield running


def begin_pull(service: RunningService, hub: Hub) -> tuple[str, Fault]:
    """Create a pull, wait until its first bytes are on the disk, and return its path and the hub's fault."""
    (fault,) = hub.faults
    asked = service.client.post("/pulls", json={"repository": "org/repo", "file": "a.gguf"}).raise_for_status()
    path = asked.headers["location"]
    eventually(lambda: service.client.get(path).json()["progress"]["done"] == 5 * MIB, within=60)
    return path, fault


def finished(service: RunningService, path: str) -> dict[str, Any]:
    """Wait until a pull is finished and return its job."""

    def job() -> dict[str, Any] | None:
        answer = service.client.get(path)
        return answer.json() if answer.status_code == 200 and answer.json()["finished_at"] else None

    return eventually(job, within=60)


def unmount(service: RunningService, folder: Path) -> None:
    """Unmount the disk while files on it are open."""
    mount(service.process.pid, "umount", "--lazy", folder / "models")
    eventually(lambda: service.client.get("/models").status_code == 503)


def mount_again(service: RunningService, folder: Path) -> None:
    """Mount the disk again."""
    mount(service.process.pid, "mount", "--bind", folder / "disk", folder / "models")
    eventually(lambda: service.client.get("/models").status_code == 200)


def test_a_full_disk_fails_a_pull_and_keeps_nothing(serve: Serve, hub: Hub, tmp_path: Path) -> None:
    """A disk that fills during a pull fails it with store-full and gets its space back; a later pull succeeds."""
    (tmp_path / "models").mkdir()
    service = serve(wrapper=small_disk(tmp_path / "models", "16m"), engine_class=ECHO, hub_endpoint=hub.url)
    inside = seen_by(service.process.pid, tmp_path / "models")
    path, fault = begin_pull(service, hub)
    with (inside / "filler").open("wb") as filler:
        filler.write(b"x" * (8 * MIB))

    fault.gate.set()

    job = finished(service, path)
    assert (job["state"], job["error"]["type"].rpartition(":")[2]) == ("failed", "store-full")
    assert list((inside / ".store/staging").iterdir()) == []
    assert not (inside / NAME).exists()
    (inside / "filler").unlink()
    again = service.client.post("/pulls", json={"repository": "org/repo", "file": "a.gguf"}).raise_for_status()
    assert finished(service, again.headers["location"])["state"] == "succeeded"
    assert (inside / NAME).read_bytes() == CONTENT


def test_an_unmounted_disk_delays_a_pull(serve: Serve, hub: Hub, tmp_path: Path) -> None:
    """A pull waits while its disk is unmounted, writes nothing to the mount point, and downloads no byte twice."""
    service = serve(wrapper=removable_disk(tmp_path), engine_class=ECHO, hub_endpoint=hub.url)
    staging = seen_by(service.process.pid, tmp_path / "disk/.store/staging")
    path, fault = begin_pull(service, hub)
    unmount(service, tmp_path)

    fault.gate.set()

    eventually(lambda: file_sizes(staging, "*.part") == [len(CONTENT)])
    assert service.client.get(path).status_code == 503
    mount_again(service, tmp_path)
    assert finished(service, path)["state"] == "succeeded"
    disk = seen_by(service.process.pid, tmp_path / "disk")
    assert (disk / NAME).read_bytes() == CONTENT
    assert list(staging.iterdir()) == []
    assert list((tmp_path / "models").iterdir()) == []
    assert len(hub.asked("cdn")) == 1


def test_an_unmounted_disk_keeps_a_resumable_upload(serve: Serve, tmp_path: Path) -> None:
    """Unmounting the disk answers a chunk with 503; once the disk is back, the upload continues."""
    service = serve(wrapper=removable_disk(tmp_path), engine_class=ECHO)
    path = begun(service, NAME, len(CONTENT), SHA256)
    chunk = {"content_type": CHUNK["content-type"], "upload_offset": 0, "content_length": len(CONTENT)}
    with RawPatch(service, path, **chunk) as coming:
        coming.send(CONTENT[: 5 * MIB])
        eventually(lambda: offset_of(service, path) == 5 * MIB)
        unmount(service, tmp_path)
        coming.send(CONTENT[5 * MIB :])

        assert coming.answer().startswith(b"HTTP/1.1 503 ")

    assert service.client.head(path).status_code == 503
    assert list((tmp_path / "models").iterdir()) == []
    mount_again(service, tmp_path)
    offset = offset_of(service, path)
    assert offset >= 5 * MIB
    assert append(service, path, offset, CONTENT[offset:]).status_code == 204
    assert (seen_by(service.process.pid, tmp_path / "disk") / NAME).read_bytes() == CONTENT
