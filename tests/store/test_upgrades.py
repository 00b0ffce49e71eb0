"""A model folder of the former version is served by this version, and back: models, digests, trash, protections, jobs.

`former_version.tar.gz` is a folder that a service of the former version has written, by `fill` below. The way back
needs that version itself, which is in the history of the repository, if the history is there.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.clients.tus import append, begun
from tests.support.files.model_files import NO_TENSORS
from tests.support.former_version import service_of, unpack_former
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

FOLDER = Path(__file__).with_name("former_version.tar.gz")
BYTES = b"the bytes of a model"
HALF = len(BYTES) // 2


def fill(service: RunningService, prefix: str) -> dict[str, Any]:
    """Upload, protect and delete models, begin an upload, and run a job. Return the ids of what was made."""
    client = service.client
    for name in ("kept", "protected", "deleted"):
        client.put(f"/models/{prefix}{name}.bin", content=BYTES).raise_for_status()
    client.put(f"/models/{prefix}protected.bin/protection", json={"reason": "of a test"}).raise_for_status()
    trash_id = client.delete(f"/models/{prefix}deleted.bin").raise_for_status().json()["trash_id"]
    if not (service.models_dir / DEFAULT_MODEL).exists():
        client.put(f"/models/{DEFAULT_MODEL}", content=NO_TENSORS).raise_for_status()
    texts = {"texts": ["a text", "another"]}
    job = client.post("/ai/spell-check", json=texts, headers={"prefer": "respond-async"}).raise_for_status().json()
    eventually(lambda: client.get(f"/ai/jobs/{job['id']}").json()["state"] == "succeeded", within=60)
    upload = begun(service, f"{prefix}resumed.bin", len(BYTES))
    append(service, upload, 0, BYTES[:HALF]).raise_for_status()
    return {"trash": trash_id, "job": job["id"], "upload": upload}


def check(service: RunningService, prefix: str, ids: dict[str, Any], *, has_job: bool = True) -> None:
    """Check that everything that `fill` made is there and works. Continue the upload and restore the deleted model.

    The former version does not show jobs of this version: without `has_job`, the job is not looked for.
    """
    client = service.client
    append(service, ids["upload"], HALF, BYTES[HALF:]).raise_for_status()
    client.post(f"/trash/{ids['trash']}/restore").raise_for_status()
    for name in ("kept", "protected", "deleted", "resumed"):
        verified = client.post(f"/models/{prefix}{name}.bin/verify").raise_for_status().json()
        assert (name, verified["outcome"]) == (name, "intact")
    assert client.delete(f"/models/{prefix}protected.bin").status_code == 403
    if has_job:
        job = client.get(f"/ai/jobs/{ids['job']}").raise_for_status().json()
        assert (job["state"], job["progress"]["done"]) == ("succeeded", 2)
    entries = client.get("/journal").raise_for_status().json()["events"]
    assert {"uploaded", "trashed", "restored"} <= {each["action"] for each in entries}
    assert not client.get("/storage").raise_for_status().json()["damaged_records"]


def test_a_folder_of_the_former_version_is_served(tmp_path: Path) -> None:
    """This version finds the models with their digests, the trash, the protections, jobs and uploads of the former."""
    with tarfile.open(FOLDER) as archive:
        archive.extractall(tmp_path, filter="tar")
    ids = json.loads((tmp_path / "ids.json").read_text())

    with RunningService(tmp_path, engine_class=ECHO) as service:
        check(service.wait_until_ready(), "former-", ids)


@pytest.mark.slow
def test_the_former_version_serves_a_folder_of_this_one(tmp_path: Path) -> None:
    """After an upgrade and a rollback, the former version finds what both versions have made, but for the later jobs.

    After the next upgrade these jobs are there again, with their results.
    """
    former = unpack_former(tmp_path)
    with service_of(former, tmp_path) as service:
        first = fill(service.wait_until_ready(), "former-")
    with RunningService(tmp_path, engine_class=ECHO) as service:
        second = fill(service.wait_until_ready(), "present-")

    with service_of(former, tmp_path) as service:
        check(service.wait_until_ready(), "former-", first)
        check(service, "present-", second, has_job=False)
        assert service.client.get(f"/ai/jobs/{second['job']}").status_code == 404
    with RunningService(tmp_path, engine_class=ECHO) as service:
        for ids in (first, second):
            job = service.client.get(f"/ai/jobs/{ids['job']}/results").raise_for_status().json()
            assert [result["text"] for result in job["results"]] == ["A TEXT", "ANOTHER"]
