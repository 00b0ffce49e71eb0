"""`Prefer: respond-async, wait=20`: the results if they are ready in time, else the job."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawPost
from tests.support.files.model_files import NO_TENSORS
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually


def with_model(service: RunningService) -> RunningService:
    (service.models_dir / DEFAULT_MODEL).parent.mkdir(parents=True, exist_ok=True)
    (service.models_dir / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    return service.wait_until_ready()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]) -> Iterator[RunningService]:
    with RunningService(
        tmp_path_factory.mktemp("jobs"), engine_class=ECHO, engine_stable_after=0, **jobs_settings
    ) as running:
        yield with_model(running.wait_for_queue())


def check_spelling(service: RunningService, *texts: str, prefer: str | None = None) -> httpx.Response:
    headers = {"prefer": prefer} if prefer else {}
    return service.client.post("/ai/spell-check", json={"texts": texts}, headers=headers)


def jobs_of(service: RunningService) -> list[dict[str, Any]]:
    return list(service.client.get("/ai/jobs?limit=1000").raise_for_status().json()["jobs"])


def test_results_that_are_ready_in_time_are_the_answer(service: RunningService) -> None:
    """The answer is that of a request without `Prefer`, and names the results of the job, which exists."""
    answer = check_spelling(service, "a quik fox", prefer="respond-async, wait=60")

    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")
    assert answer.json() == check_spelling(service, "a quik fox").json()
    results = service.client.get(answer.headers["content-location"]).json()
    assert [result.pop("index") for result in results["results"]] == [0]
    assert results == answer.json() | {"next_cursor": None}
    assert "location" not in answer.headers


def test_a_job_that_takes_longer_is_the_answer(service: RunningService) -> None:
    """After the time that the caller would wait, the answer is 202 with the job, which continues."""
    answer = check_spelling(service, "sleep:60", prefer="wait=1, respond-async")

    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async, wait=1")
    assert service.client.get(answer.headers["location"]).json()["state"] in {"queued", "running"}
    service.client.delete(answer.headers["location"])


def test_a_job_that_fails_in_time_is_answered_with_its_problem(service: RunningService) -> None:
    """If every text fails, the problem is that of the request without `Prefer`; the job has failed with it."""
    answer = check_spelling(service, "fail:too odd", prefer="respond-async, wait=60")

    without = check_spelling(service, "fail:too odd")
    assert problem_of(answer) == problem_of(without) == (422, "engine-call-failed")
    assert answer.json()["detail"] == without.json()["detail"]
    assert jobs_of(service)[0]["error"]["detail"] == without.json()["detail"]


@pytest.mark.parametrize("wait", ["soon", "-1", "1.5", '"20"', "?1", "0"])
def test_a_time_that_is_no_number_of_seconds_is_ignored(service: RunningService, wait: str) -> None:
    """As RFC 7240 requires, such a preference is no error: the answer is the job, at once."""
    answer = check_spelling(service, "a", prefer=f"respond-async, wait={wait}")

    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")


def test_a_long_time_is_shortened(service: RunningService) -> None:
    """The service waits for a minute at most, and `Preference-Applied` says so."""
    answer = check_spelling(service, "a", prefer="respond-async, wait=3600")

    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")


def test_wait_alone_creates_no_job(service: RunningService) -> None:
    """Without `respond-async` the answer comes when it is ready, and there is no job."""
    before = len(jobs_of(service))

    answer = check_spelling(service, "a", prefer="wait=20")

    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers
    assert len(jobs_of(service)) == before


def test_the_job_of_a_caller_that_disconnects_continues(service: RunningService) -> None:
    """A caller that disconnects while it waits for the results loses the answer, not the job."""
    before = {job["id"] for job in jobs_of(service)}
    body = json.dumps({"texts": ["sleep:0.5"]}).encode()
    headers = {"content_type": "application/json", "content_length": len(body), "prefer": "respond-async, wait=60"}

    with RawPost(service, "/ai/spell-check", **headers) as caller:
        caller.send(body)

    def succeeded() -> bool:
        return [job["state"] for job in jobs_of(service) if job["id"] not in before] == ["succeeded"]

    assert eventually(succeeded, within=30)


def test_a_shutdown_answers_with_the_job(serve_jobs: Serve) -> None:
    """When the service stops, a caller that waits for results learns its job's address instead of a 503."""
    service = with_model(serve_jobs(engine_class=ECHO))
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(check_spelling, service, "sleep:60", prefer="respond-async, wait=60")
        eventually(lambda: service.engine()["busy"], within=30)

        service.process.send_signal(signal.SIGTERM)
        answer = waiting.result(timeout=100)

    assert answer.status_code == 202
    assert answer.headers["location"].startswith("/ai/jobs/")
