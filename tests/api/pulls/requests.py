"""Helpers that request pulls and read their jobs."""

import hashlib
from typing import Any

import httpx

from tests.support.service import RunningService
from tests.support.waiting import eventually

REPOSITORY = "org/repo"
FILE = "model-Q4.gguf"
NAME = "org_repo/model-Q4.gguf"
CONTENT = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(3 << 15))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FINISHED = {"succeeded", "failed", "cancelled"}
CUT = 1 << 20


def request_pull(service: RunningService, **body: Any) -> httpx.Response:
    """Request a pull of the test's file from the hub and return the answer."""
    return service.client.post("/pulls", json={"repository": REPOSITORY, "file": FILE} | body)


def request_url_pull(service: RunningService, url: str, **body: Any) -> httpx.Response:
    """Request a pull of a URL and return the answer."""
    return service.client.post("/pulls", json={"url": url} | body)


def pull(service: RunningService, **body: Any) -> dict[str, Any]:
    """Request a pull, wait until it is finished, and return its job."""
    return finished(service, request_pull(service, **body))


def finished(service: RunningService, answer: httpx.Response) -> dict[str, Any]:
    """Wait until the job of an answer is finished, and return the job."""
    assert answer.status_code in {200, 202}, answer.text
    return eventually(lambda: job if (job := job_of(service, answer))["state"] in FINISHED else None, within=20)


def job_of(service: RunningService, answer: httpx.Response) -> dict[str, Any]:
    """Return the present job of an answer."""
    return dict(service.client.get(answer.headers["location"]).raise_for_status().json())


def outcome_of(job: dict[str, Any]) -> tuple[str, str]:
    """Return a job's state, and the last part of its problem's type; an empty text if it has none."""
    return job["state"], job["error"]["type"].rpartition(":")[2] if job["error"] else ""


def staged_files(service: RunningService) -> list[str]:
    """Return the names of the files in the service's staging folder."""
    return sorted(path.name for path in (service.models_dir / ".store/staging").iterdir())


def nothing_is_left(service: RunningService) -> bool:
    """Return True if the service has no models and no files in staging."""
    return staged_files(service) == [] and service.client.get("/models").json()["count"] == 0
