"""A folder with 100,000 models, and a model of 20 GB."""

import os
from pathlib import Path

import psutil
import pytest

from tests.conftest import Serve
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

COUNT = 100_000
SPARSE_BYTES = 20_000_000_000
BLOCK_BYTES = 512


def memory_of(service: RunningService) -> int:
    """Return the resident bytes of the service, without its engine."""
    return psutil.Process(service.process.pid).memory_info().rss


def counted(service: RunningService, name: str) -> int:
    """Return how many listed models match a name."""
    return int(service.client.get("/models", params={"name": name}).raise_for_status().json()["count"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand_models_are_served_like_a_hundred(serve: Serve, tmp_path: Path) -> None:
    """100,000 models can be listed whole and in pages, deleted and audited, and memory does not grow with changes."""
    models = tmp_path / "models"
    for number in range(COUNT):
        folder = models / f"folder-{number % 100:02}"
        if number < 100:
            folder.mkdir(parents=True)
        (folder / f"{'old_' if number % 10 == 0 else ''}model-{number:06}.bin").touch()
    service = serve(engine_class=ECHO)
    at_start = memory_of(service)

    whole = service.client.get("/models").raise_for_status().json()
    assert (whole["count"], len(whole["models"]), whole["warnings"]) == (COUNT, COUNT, [])
    names: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
        page = service.client.get("/models", params=params).raise_for_status().json()
        names += [model["name"] for model in page["models"]]
        cursor = page["next_cursor"]
    assert names == [model["name"] for model in whole["models"]] == sorted(names)

    for name in names[::1000]:
        service.client.delete(f"/models/{name}").raise_for_status()
    assert service.client.get("/models", params={"limit": 1}).json()["count"] == COUNT - 100
    eventually(lambda: service.client.get("/trash").json()["count"] == 100)
    audit = service.client.get("/audit").raise_for_status().json()
    assert audit["old_count"] + audit["current_count"] == COUNT - 100
    assert len(service.client.get("/audit", headers={"accept": "text/plain"}).text.splitlines()) == COUNT - 100

    for present in (1, 0) * 3:
        path = models / "another.bin"
        path.touch() if present else path.unlink()
        service.client.get("/models").raise_for_status()
        eventually(lambda: counted(service, "another.bin") == present, within=60)  # noqa: B023 - called in this iteration
    after_changes = memory_of(service)
    print(f"resident bytes for each model: {(after_changes - at_start) / COUNT:,.0f}")
    assert after_changes - at_start < COUNT * 10_000  # a list that is kept for each change would be several times that


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sparse_file_of_20_gb_is_never_read(serve: Serve, tmp_path: Path) -> None:
    """A sparse file of 20 GB is deleted and restored without being read; `freed_bytes` is its space on the disk."""
    service = serve(engine_class=ECHO)
    path = service.models_dir / "huge.bin"
    with path.open("wb") as file:
        file.write(os.urandom(1_000_000))
        file.truncate(SPARSE_BYTES)
    taken = path.stat().st_blocks * BLOCK_BYTES
    assert eventually(lambda: service.client.get("/models").json()["total_size_bytes"] == SPARSE_BYTES)
    before = psutil.Process(service.process.pid).io_counters().read_chars

    assert service.client.get("/models/huge.bin").json()["size_bytes"] == SPARSE_BYTES
    trash_id = service.client.delete("/models/huge.bin").raise_for_status().json()["trash_id"]
    assert service.client.post(f"/trash/{trash_id}/restore").raise_for_status().json()["size_bytes"] == SPARSE_BYTES
    receipt = service.client.delete("/models/huge.bin?permanent=true").raise_for_status().json()

    assert receipt["size_bytes"] == SPARSE_BYTES
    assert receipt["freed_bytes"] == taken < 2_000_000
    assert psutil.Process(service.process.pid).io_counters().read_chars - before < 10_000_000
    assert not path.exists()
