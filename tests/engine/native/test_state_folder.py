"""A running service whose state folder is removed, or whose disk is full."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients.answers import problem_of
from tests.support.mounts import fill, seen_by, with_mounts
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

BMP = {"content-type": "image/bmp"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    """A service whose state folder is a disk of 1 MiB."""
    (tmp_path / "state").mkdir()
    wrapper = with_mounts(f"mount -t tmpfs -o size=1m none {tmp_path}/state")
    with RunningService(tmp_path, wrapper=wrapper, engine_class=ECHO, engine_stable_after=0) as running:
        yield running.wait_until_ready()


def state_of(service: RunningService) -> Path:
    """Return the state folder, as the service sees it."""
    return seen_by(service.process.pid, service.state_dir)


def test_a_full_state_disk_is_told_and_harms_nothing_else(service: RunningService) -> None:
    """An image that cannot be kept gets 507, models can be changed, and images are read again once there is space.

    A job waits until there is space.
    """
    before = service.client.post("/ocr", content=b"BM", headers=BMP)
    fill(state_of(service))

    assert problem_of(service.client.post("/ocr", content=b"BM" * 100_000, headers=BMP)) == (507, "state-full")
    job = service.client.post("/ocr", content=b"BM" * 100_000, headers=BMP | {"prefer": "respond-async"})
    location = job.raise_for_status().headers["location"]
    assert service.client.get(location, params={"wait": 1}).json()["finished_at"] is None
    assert service.client.put("/models/a.bin", content=b"new").status_code == 201

    (state_of(service) / "filler").unlink()
    after = service.client.post("/ocr", content=b"BM", headers=BMP)
    assert (after.status_code, after.json().get("type")) == (before.status_code, before.json().get("type"))
    assert eventually(lambda: service.client.get(location, params={"wait": 10}).json()["finished_at"], within=60)


def test_an_image_that_outgrows_the_state_disk_is_refused(service: RunningService) -> None:
    """An image larger than the space that is left gets 507, and leaves no byte behind."""
    assert problem_of(service.client.post("/ocr", content=b"x" * (4 << 20), headers=BMP)) == (507, "state-full")

    assert list(state_of(service).glob("engine-*/call-*")) == []


def test_a_removed_state_folder_is_made_anew(service: RunningService) -> None:
    """After a program has removed what is in the state folder, images are received and the engine starts again."""
    for folder in state_of(service).iterdir():
        shutil.rmtree(folder)

    answer = service.client.post("/ocr", content=b"BM", headers=BMP)
    assert answer.status_code < 500
    service.client.post("/engine/release").raise_for_status()
    assert eventually(lambda: service.client.get("/readyz").status_code == 200, within=60)
    assert service.engine()["state"] == "ready"
