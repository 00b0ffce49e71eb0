"""Waits over HTTP for what becomes of a job."""

from typing import Any

from tests.support.service import RunningService
from tests.support.waiting import USUAL_SECONDS, eventually


def job_in_state(service: RunningService, path: str, state: str) -> dict[str, Any]:
    """Wait until the job at a path is in a state, and return the job."""

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = service.client.get(path).raise_for_status().json()
        return job if job["state"] == state else None

    return eventually(look)


def finished_job(service: RunningService, path: str, *, within: float = USUAL_SECONDS) -> dict[str, Any]:
    """Wait until the job at a path has finished, and return the job. Fails after `within` seconds."""

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = service.client.get(path).raise_for_status().json()
        return job if job["finished_at"] else None

    return eventually(look, within=within)
