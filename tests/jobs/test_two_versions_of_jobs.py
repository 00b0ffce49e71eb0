"""Jobs of the former version and of this one on one folder at the same time, as in a rolling upgrade."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.files.model_files import NO_TENSORS
from tests.support.former_version import service_of, unpack_former
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STRAY = "20261121T092012Z-0a1b23a56954.received"
"""A folder of a job that was never complete. Only a sweep of this version removes it."""
HOURS = 7200


def begin(service: RunningService, *texts: str, key: str | None = None) -> str:
    """Create a job of texts and return its path."""
    headers = {"prefer": "respond-async"} | ({"idempotency-key": key} if key else {})
    answer = service.client.post("/ai/spell-check", json={"texts": texts}, headers=headers)
    return str(answer.raise_for_status().headers["location"])


def job_of(service: RunningService, path: str) -> dict[str, Any]:
    return dict(service.client.get(path).raise_for_status().json())


def until(service: RunningService, path: str, state: str, done: int | None = None) -> dict[str, Any]:
    """Wait until a service shows a job in a state, with so many texts done, and return the job."""

    def shown() -> dict[str, Any] | None:
        job = job_of(service, path)
        assert job["state"] in {"queued", "running", state}, job
        return job if job["state"] == state and done in {None, job["progress"]["done"]} else None

    return eventually(shown, within=120)


def texts_of(service: RunningService, path: str) -> list[str]:
    """Return the texts of a job's results."""
    results = service.client.get(f"{path}/results").raise_for_status().json()["results"]
    return sorted(result["text"] for result in results)


def damaged(service: RunningService) -> str:
    """Return the records that a service reports as damaged, as text."""
    return str(service.client.get("/storage").raise_for_status().json()["damaged_records"])


def make_old(folder: Path) -> None:
    """Give all files below a folder a time at which a sweep removes what belongs to no job."""
    for path in (*folder.rglob("*"), folder):
        with suppress(FileNotFoundError):  # a service replaces its records
            status = path.stat()
            os.utime(path, (status.st_atime - HOURS, status.st_mtime - HOURS))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_version_leaves_the_jobs_of_the_other_one(tmp_path: Path, serve_jobs: Serve) -> None:
    """The former version's sweep removes nothing of this version's jobs, also if their service was killed.

    Its own jobs go on beside this version, which shows and cancels them, and ends the one that a killed service left.
    The former version reports the folders of old jobs as records that it cannot sweep.
    """
    with service_of(unpack_former(tmp_path), tmp_path) as former:
        first = serve_jobs(tmp_path, engine_class=ECHO)
        first.client.put(f"/models/{DEFAULT_MODEL}", content=NO_TENSORS).raise_for_status()
        for service in (former, first):
            service.wait_until_ready()
        jobs_dir, gate = first.models_dir / ".store" / "jobs", tmp_path / "gate"
        blocked = begin(former, "a", "sleep:3600")
        until(former, blocked, "running", done=1)
        waiting = begin(former, "b")
        ended, going_on = begin(first, "c", key="of-a-test"), begin(first, "d", f"wait_for:{gate}", "e")
        until(first, ended, "succeeded")
        until(first, going_on, "running", done=1)
        first.stop(signal.SIGKILL)
        own = [jobs_dir / path.rpartition("/")[2] for path in (ended, going_on)]
        before = [contents(folder) for folder in own]
        make_old(jobs_dir)

        eventually(lambda: all(folder.name in damaged(former) for folder in own), within=120)  # it has swept

        assert [contents(folder) for folder in own] == before
        assert len(list(jobs_dir.glob("*.key"))) == 1
        (jobs_dir / STRAY).mkdir()
        make_old(jobs_dir / STRAY)
        second = serve_jobs(tmp_path, engine_class=ECHO).wait_until_ready()
        eventually(lambda: not (jobs_dir / STRAY).exists(), within=120)  # the second service has swept
        gate.touch()
        until(second, going_on, "succeeded")
        assert texts_of(second, going_on) == ["D", "E", f"wait_for:{gate}"]
        assert begin(second, "c", key="of-a-test") == ended
        assert texts_of(second, ended) == ["C"]
        for service in (former, second):
            until(service, blocked, "running", done=1)
            until(service, waiting, "queued")
        second.client.delete(blocked).raise_for_status()
        for service in (former, second):
            until(service, blocked, "cancelled")
            until(service, waiting, "succeeded")
        left = begin(former, "f", "sleep:3600")
        until(former, left, "running", done=1)
        former.stop(signal.SIGKILL)

    assert until(second, left, "failed")["error"]["type"].endswith(":job-abandoned")
    assert problem_of(second.client.get(f"{left}/results")) == (409, "job-without-results")
    assert texts_of(second, waiting) == ["B"]
    assert damaged(second) == "[]"
