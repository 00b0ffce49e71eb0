"""Jobs of a former version, which one service ran as a whole: shown with their results, and ended if they were left."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.waiting import eventually

ID = "20261121T092012Z-0a1b23a56954"
RECORD: dict[str, Any] = {
    "id": ID,
    "kind": "texts",
    "created_at": "2026-11-21T09:20:12.041523+00:00",
    "created_by": {"actor": "me", "request_id": None},
    "request": {"processor": "spell-check", "model": "a.gguf", "texts": 2},
    "updated_at": "2026-11-21T09:20:12.041523+00:00",
    "state": "succeeded",
    "phase": "done",
    "progress": {"done": 2, "total": 2, "unit": "items", "rate": None, "eta_seconds": None},
    "result": {"failed_count": 0},
    "failure": None,
    "finished_at": "2026-11-21T09:20:12.503842+00:00",
    "owner": "ocr-1:7",
}
TEXT: dict[str, Any] = {"text": "a", "diff": None, "uncorrected_lines": [], "error": None}
RESULTS: dict[str, Any] = {
    "processor": "spell-check",
    "model": "a.gguf",
    "failed_count": 0,
    "results": [TEXT, TEXT | {"text": "b"}],
}


def put_job(models: Path, results: str | None = None, **changes: Any) -> None:
    """Write a job as the former version did."""
    folder = models / ".store" / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{ID}.json").write_text(json.dumps(RECORD | changes))
    if results is not None:
        (folder / f"{ID}.result").write_text(results)


def test_the_results_are_a_page(serve_jobs: Serve) -> None:
    """The results of a former job have the form of a page of the present version."""
    service = serve_jobs(job_retention="100d")
    put_job(service.models_dir, json.dumps(RESULTS))

    page = service.client.get(f"/ai/jobs/{ID}/results").raise_for_status().json()

    assert service.client.get(f"/ai/jobs/{ID}").json()["state"] == "succeeded"
    assert [result.pop("index") for result in page["results"]] == [0, 1]
    assert page == RESULTS | {"next_cursor": None}
    refused = service.client.get(f"/ai/jobs/{ID}/results/events")
    assert problem_of(refused) == (409, "job-without-results")
    assert refused.json()["detail"].endswith(
        "its results are complete and have no stream. Get them from the URL without /events."
    )


@pytest.mark.parametrize("results", [None, "", "[]", '{"results": 7}', '{"results": [7]}', "[" * 100_000, "{}"])
def test_damaged_results_are_none(serve_jobs: Serve, results: str | None) -> None:
    """The results of a former job that are missing or damaged answer 404."""
    service = serve_jobs(job_retention="100d")
    put_job(service.models_dir, results)

    assert problem_of(service.client.get(f"/ai/jobs/{ID}/results")) == (404, "job-not-found")


def test_a_job_that_was_left_fails(serve_jobs: Serve) -> None:
    """A former job whose service has ended is failed by the next sweep, and has no results."""
    first = serve_jobs(job_retention="100d")
    first.stop()
    put_job(first.models_dir, state="running", phase="working", result=None, finished_at=None)
    service = serve_jobs(job_retention="100d")

    eventually(lambda: service.client.get(f"/ai/jobs/{ID}").json()["state"] == "failed", within=60)

    assert service.client.get(f"/ai/jobs/{ID}").json()["error"]["type"].endswith(":job-abandoned")
    refused = service.client.get(f"/ai/jobs/{ID}/results")
    assert problem_of(refused) == (409, "job-without-results")
    assert refused.json()["detail"].endswith("it has results only after it has succeeded, and its state is failed.")
