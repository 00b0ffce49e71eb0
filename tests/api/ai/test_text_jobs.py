"""`/ai` with `Prefer: respond-async`: texts as jobs, with an engine that does what each text tells it."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.http.keys import Scope, entry_for
from app.engine.contract.processors import DEFAULT_MODEL
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.jobs import job_in_state
from tests.support.files.model_files import NO_TENSORS
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

ASYNC = {"prefer": "respond-async"}


def with_model(service: RunningService) -> RunningService:
    (service.models_dir / DEFAULT_MODEL).parent.mkdir(parents=True, exist_ok=True)
    (service.models_dir / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    return service.wait_until_ready()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]) -> Iterator[RunningService]:
    with RunningService(
        tmp_path_factory.mktemp("jobs"), engine_class=ECHO, engine_stable_after=0, **jobs_settings
    ) as service:
        yield with_model(service.wait_for_queue())


@pytest.fixture
def service(running: RunningService) -> RunningService:
    return running.wait_until_ready()


def begin(service: RunningService, *texts: str, **body: Any) -> str:
    """Start a job and return its path."""
    answer = service.client.post("/ai/spell-check", json={"texts": texts} | body, headers=ASYNC)
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    assert answer.headers["location"] == f"/ai/jobs/{answer.json()['id']}"
    return answer.headers["location"]


def test_a_job_has_what_the_request_would_have_had(service: RunningService) -> None:
    """A job's results equal the answer of the request without `Prefer`; its record has neither texts nor answers."""
    location = begin(service, "a quik fox", "fail:too odd", diff=True)

    job = job_in_state(service, location, "succeeded")

    assert job["request"] == {"processor": "spell-check", "model": DEFAULT_MODEL, "texts": 2}
    assert job["result"] == {"failed_count": 1}
    results = service.client.get(f"{location}/results").raise_for_status().json()
    same = service.client.post("/ai/spell-check", json={"texts": ["a quik fox", "fail:too odd"], "diff": True}).json()
    for answer in (results, same):
        answer["results"][1]["error"].pop("request_id")
    assert [result.pop("index") for result in results["results"]] == [0, 1]
    assert results == same | {"next_cursor": None}


def test_progress_comes_text_by_text(service: RunningService, tmp_path: Path) -> None:
    """The events of a job are JSON lines with the progress after each text and exactly one final record."""
    gates = [tmp_path / str(number) for number in range(3)]
    location = begin(service, *[f"wait_for:{gate}" for gate in gates])

    records = list[dict[str, Any]]()
    with service.client.stream("GET", f"{location}/events") as stream:
        for line in filter(None, stream.iter_lines()):
            records.append(json.loads(line))
            for gate in gates[records[-1]["progress"]["done"] :][:1]:  # a record may have all done and not be final
                gate.touch()

    done = [record["progress"]["done"] for record in records]
    assert done == sorted(done)
    assert {1, 2} <= set(done)
    assert records[-1]["progress"]["total"] == 3
    assert [record["final"] for record in records] == [False] * (len(records) - 1) + [True]


def test_jobs_need_no_place_in_the_queue(serve_jobs: Serve, tmp_path: Path) -> None:
    """Many jobs that are posted at once are accepted, however short the engine's queue is, and all succeed."""
    service = with_model(serve_jobs(engine_class=ECHO, engine_queue_size=2))

    gate = tmp_path / "gate"

    def post(number: int) -> httpx.Response:
        return service.client.post("/ai/spell-check", json={"texts": [f"wait_for:{gate}", str(number)]}, headers=ASYNC)

    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(post, range(20)))
    gate.touch()

    assert {answer.status_code for answer in answers} == {202}
    for answer in answers:
        job_in_state(service, answer.headers["location"], "succeeded")
    assert service.client.get("/ai/jobs").json()["count"] == 20


def test_jobs_are_queued_until_their_turn(service: RunningService) -> None:
    """A job that waits is `queued`, counts items, and is found by that state; the running one is `running`."""
    first = begin(service, "sleep:60")
    job_in_state(service, first, "running")
    answer = service.client.post("/ai/spell-check", json={"texts": ["a", "b"]}, headers=ASYNC)

    assert (answer.json()["state"], answer.json()["progress"]["unit"]) == ("queued", "items")
    assert answer.json()["progress"]["total"] == 2
    listed = service.client.get("/ai/jobs?state=queued").json()["jobs"]
    assert [job["id"] for job in listed] == [answer.json()["id"]]
    service.client.delete(first)
    job_in_state(service, answer.headers["location"], "succeeded")


def test_a_single_text_has_its_turn_between_two_texts_of_a_job(service: RunningService, tmp_path: Path) -> None:
    """A text that comes while a job of many texts runs is answered before the job ends."""
    gates = [tmp_path / str(number) for number in range(3)]
    location = begin(service, *[f"wait_for:{gate}" for gate in gates])
    job_in_state(service, location, "running")
    posts = [("spell-check", {"texts": ["a"]}), ("query", {"texts": ["a"], "question": "?"})]

    with ThreadPoolExecutor(1) as thread:
        for (processor, body), gate in zip(posts, gates, strict=False):
            answer = thread.submit(service.client.post, f"/ai/{processor}", json=body)
            eventually(lambda: service.engine()["waiting"])
            gate.touch()
            assert answer.result().status_code == 200
            assert service.client.get(location).json()["state"] == "running"
    gates[-1].touch()
    assert job_in_state(service, location, "succeeded")["result"] == {"failed_count": 0}


def test_a_key_with_many_jobs_has_no_more_turns(serve_jobs: Serve, tmp_path: Path) -> None:
    """The turns of API keys alternate: a later job of one key ends before the three jobs of another."""
    headers = [{"authorization": f"Bearer {key}"} for key in ("ocr_many", "ocr_one")]
    entries = [entry_for(key, [Scope.AI, Scope.READ], f"ocr_{key}") for key in ("many", "one")]
    (tmp_path / "keys.toml").write_text("".join(entries))
    service = with_model(serve_jobs(engine_class=ECHO, api_keys_file=tmp_path / "keys.toml"))
    all_posted, end = tmp_path / "all-posted", tmp_path / "end"
    # The first job of the first key has seven texts before one of them waits for the end; the other key's job has six.
    texts = [[f"wait_for:{all_posted}", *["a"] * 6, f"wait_for:{end}"], ["a"], ["a"], ["a"] * 6]

    posted = [
        service.client.post("/ai/spell-check", json={"texts": each}, headers=ASYNC | headers[number]).raise_for_status()
        for number, each in zip((0, 0, 0, 1), texts, strict=True)
    ]
    all_posted.touch()
    *many, one = [answer.headers["location"] for answer in posted]

    def job(location: str) -> dict[str, Any]:
        return dict(service.client.get(location, headers=headers[0]).json())

    eventually(lambda: job(one)["state"] == "succeeded", within=60)
    assert {job(location)["state"] for location in many} <= {"queued", "running"}
    end.touch()
    for location in many:
        eventually(lambda location=location: job(location)["state"] == "succeeded", within=60)


def test_a_job_is_logged_and_counted(serve_jobs: Serve) -> None:
    """A job leaves the events `job.started` and `job.finished`, and a metric; a cancelled one blames no caller."""
    service = with_model(serve_jobs(engine_class=ECHO, log_format="json"))
    location = begin(service, "a", "hold_gil:60")
    eventually(lambda: service.client.get(location).json()["progress"]["done"] == 1, within=30)
    service.client.delete(location)
    job_in_state(service, location, "cancelled")

    finished = eventually(lambda: [line for line in service.log.splitlines() if "job.finished" in line], within=30)

    assert json.loads(finished[0])["outcome"] == "cancelled"
    assert "job.started" in service.log
    assert "went away" not in service.log
    metrics = service.client.get("/metrics").text
    assert 'ocr_jobs_total{kind="texts",outcome="cancelled"} 1.0' in metrics
    assert 'ocr_job_items_total{kind="texts"} 1.0' in metrics


def test_a_browser_stops_at_the_end_of_a_job(service: RunningService) -> None:
    """Events have ids. A client that has the final event gets 204, others the final record, with any id."""
    location = begin(service, "a")
    job_in_state(service, location, "succeeded")
    events = f"{location}/events"
    sse = {"accept": "text/event-stream"}

    first = service.client.get(events, headers=sse).text
    (last_id,) = [line[3:].strip() for line in first.splitlines() if line.startswith("id:")]

    assert service.client.get(events, headers=sse | {"last-event-id": last_id}).status_code == 204
    assert service.client.get(events, headers=sse | {"last-event-id": "another"}).text == first
    assert service.client.get(events, headers={"last-event-id": last_id}).json()["final"]


def test_a_job_goes_on_where_a_browser_was_cut_off(service: RunningService) -> None:
    """A stream that is opened again with the id of the present record has only what comes after it."""
    location = begin(service, "sleep:60")
    job_in_state(service, location, "running")
    sse = {"accept": "text/event-stream"}
    with service.client.stream("GET", f"{location}/events", headers=sse) as stream:
        last_id = next(line[3:].strip() for line in stream.iter_lines() if line.startswith("id:"))

    with service.client.stream("GET", f"{location}/events", headers=sse | {"last-event-id": last_id}) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        service.client.delete(location)
        records = [json.loads(line[5:]) for line in lines if line.startswith("data:")]
    assert [record["state"] for record in records][-1] == "cancelled"
    assert records[0]["final"] == (len(records) == 1)


def test_jobs_are_listed_in_pages(service: RunningService) -> None:
    """The pages of the list have every job once; `count` counts all; a wrong cursor is 422."""
    for _ in range(3):
        job_in_state(service, begin(service, "a"), "succeeded")
    every = service.client.get("/ai/jobs?limit=1000").json()
    assert every["next_cursor"] is None
    assert every["count"] == len(every["jobs"])

    found, cursor = list[str](), ""
    while cursor is not None:
        page = service.client.get("/ai/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        assert page["count"] == every["count"]
        found += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]

    assert found == [job["id"] for job in every["jobs"]]
    assert service.client.get("/ai/jobs?cursor=nonsense").status_code == 422


def test_a_cancelled_job_frees_the_engine(service: RunningService) -> None:
    """Cancelling a job during a native call frees the engine soon; the results of earlier texts stay."""
    location = begin(service, "a", "hold_gil:60")
    eventually(lambda: service.client.get(location).json()["progress"]["done"] == 1 and service.engine()["busy"])

    cancelled = service.client.delete(location)

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    progress = cancelled.json()["progress"]
    assert (cancelled.json()["phase"], progress["rate"], progress["eta_seconds"]) == ("cancelled", None, None)
    assert service.client.get(location).json()["phase"] == "cancelled"
    eventually(lambda: not service.engine()["busy"])
    (result,) = service.client.get(f"{location}/results").raise_for_status().json()["results"]
    assert (result["index"], result["text"]) == (0, "A")


def test_a_job_of_which_nothing_succeeds_fails(service: RunningService) -> None:
    """A job without any successful text fails with the problem that the request would have had."""
    job = job_in_state(service, begin(service, "fail:too odd"), "failed")

    assert (job["error"]["status"], job["error"]["type"].rpartition(":")[2]) == (422, "engine-call-failed")
    assert (job["phase"], job["progress"]["done"]) == ("failed", 1)


def test_a_refused_request_creates_no_job(service: RunningService) -> None:
    """A text that is too long answers 422 and creates no job."""
    before = service.client.get("/ai/jobs").json()["count"]

    answer = service.client.post("/ai/spell-check", json={"texts": ["x" * 4000]}, headers=ASYNC)

    assert answer.status_code == 422
    assert service.client.get("/ai/jobs").json()["count"] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_goes_on_after_its_service_has_ended(serve_jobs: Serve, number: signal.Signals, tmp_path: Path) -> None:
    """The next service goes on with the text at which a service was stopped or killed, and repeats no other."""
    gate = tmp_path / "gate"
    first = with_model(serve_jobs(engine_class=ECHO))
    location = begin(first, "a", f"wait_for:{gate}", "b")
    eventually(lambda: first.client.get(location).json()["progress"]["done"] == 1)
    first.stop(number)
    gate.touch()

    second = serve_jobs(engine_class=ECHO)
    job_in_state(second, location, "succeeded")

    results = second.client.get(f"{location}/results").json()["results"]
    assert [(result["index"], result["error"]) for result in results] == [(0, None), (1, None), (2, None)]
    log = next((second.models_dir / ".store" / "jobs").glob("*/log.jsonl")).read_text()
    begun = [json.loads(line)["unit"] for line in log.splitlines() if '"begun"' in line]
    assert begun.count(0) == 1


def test_an_unknown_job_has_no_results(service: RunningService) -> None:
    """The results of an unknown job answer 404."""
    assert service.client.get("/ai/jobs/20261121T092012Z-0a1b23a56954/results").status_code == 404


@pytest.mark.parametrize(
    "preferences",
    [["respond-async; wait=10"], ["handling=lenient", "respond-async"], ['foo="bar", RESPOND-ASYNC']],
)
def test_a_preference_may_have_parameters_and_company(service: RunningService, preferences: list[str]) -> None:
    """`respond-async` is accepted with parameters and beside other preferences, on one or several lines (RFC 7240)."""
    headers = [("prefer", each) for each in preferences]

    assert service.client.post("/ai/spell-check", json={"texts": ["a"]}, headers=headers).status_code == 202


@pytest.mark.parametrize("preference", ["respond-async=10", "respond-async,", "respond async", "return=minimal", ""])
def test_a_preference_that_says_something_else_is_none(service: RunningService, preference: str) -> None:
    """A Prefer field that cannot be parsed, or has another preference, is ignored (RFC 7240)."""
    answer = service.client.post("/ai/spell-check", json={"texts": ["a"]}, headers={"prefer": preference})

    assert "preference-applied" not in answer.headers
    assert answer.status_code == 200


def test_a_read_only_service_begins_and_ends_no_jobs(serve: Serve) -> None:
    """A read-only service ignores `respond-async` and answers the texts at once; cancelling a job answers 403."""
    service = serve(engine_class=ECHO, read_only="true")
    with_model(service)

    answer = service.client.post("/ai/spell-check", json={"texts": ["a"]}, headers=ASYNC)

    assert (answer.status_code, answer.json()["results"][0]["text"]) == (200, "A")
    assert "preference-applied" not in answer.headers
    assert service.client.get("/ai/jobs").json()["count"] == 0
    cancelled = service.client.delete("/ai/jobs/20261121T092012Z-0a1b23a56954")
    assert problem_of(cancelled) == (403, "read-only")


def test_head_of_a_stream_is_answered_at_once(service: RunningService) -> None:
    """HEAD of a job's events answers with the headers at once while the job runs."""
    location = begin(service, "hold_gil:60")

    answer = service.client.head(f"{location}/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert service.client.delete(location).status_code == 200
    job_in_state(service, location, "cancelled")
