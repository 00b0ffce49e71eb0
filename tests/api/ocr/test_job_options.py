"""What a request says about the job that it creates: its key against creating it twice, its priority, its room."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.api.http.keys import Scope, entry_for
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.jobs import finished_job
from tests.support.service import RunningService
from tests.support.waiting import eventually

READS = "tests.support.engines:Reads"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("job-options")
    with RunningService(folder, engine_class=READS, max_waiting_units=6, **jobs_settings) as service:
        yield service.wait_for_queue()


@pytest.fixture
def service(running: RunningService) -> Iterator[RunningService]:
    """The service; afterwards its jobs are cancelled."""
    yield running.wait_until_ready()
    for job in running.client.get("/ocr/jobs?limit=1000").json()["jobs"]:
        running.client.delete(f"/ocr/jobs/{job['id']}")
    eventually(lambda: not running.engine()["busy"])


def form(*images: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("file", (f"{number}.png", image, "image/png")) for number, image in enumerate(images)]


def post(service: RunningService, *images: bytes, key: str | None = None, **params: str) -> Any:
    headers = {"idempotency-key": key} if key else {}
    return service.client.post("/ocr/jobs", files=form(*images), params=params, headers=headers)


def test_a_request_that_is_sent_again_gets_its_job(service: RunningService) -> None:
    """The same files with the same key are one job, also when it is finished, and also if they are sent at once."""
    with ThreadPoolExecutor(4) as callers:
        posts = [callers.submit(post, service, b"read one", b"read two", key="first") for _ in range(4)]
        answers = [each.result() for each in posts]
    (location,) = {answer.raise_for_status().headers["location"] for answer in answers}
    finished_job(service, location)

    again = post(service, b"read one", b"read two", key="first")

    assert (again.status_code, again.headers["location"]) == (202, location)
    assert again.json()["state"] == "succeeded"
    folders = [path.name for path in (service.models_dir / ".store" / "jobs").iterdir() if path.is_dir()]
    assert sorted(folders) == sorted(job["id"] for job in service.client.get("/ocr/jobs").json()["jobs"])


@pytest.mark.parametrize(
    ("images", "params"),
    [((b"read two",), {}), ((b"read one", b"read one"), {}), ((b"read one",), {"language": "deu"})],
    ids=["another file", "one more file", "another option"],
)
def test_another_request_with_the_key_is_refused(
    service: RunningService, images: tuple[bytes, ...], params: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """Other files or options with a key that was used are answered 422, and create nothing."""
    key = request.node.callspec.id.replace(" ", "-")
    location = post(service, b"read one", key=key).raise_for_status().headers["location"]
    before = service.client.get("/ocr/jobs").json()["count"]

    refused = post(service, *images, key=key, **params)

    assert problem_of(refused) == (422, "idempotency-key-reused")
    assert location.endswith(refused.json()["job_id"])
    assert service.client.get("/ocr/jobs").json()["count"] == before


def test_an_invalid_key_is_refused_and_without_one_each_request_is_a_job(service: RunningService) -> None:
    """A wrong key is refused as such; without a key the same request is a new job."""
    assert problem_of(post(service, b"read one", key="has a blank")) == (422, "invalid-request")
    assert problem_of(post(service, b"read one", key="x" * 256)) == (422, "invalid-request")
    assert post(service, b"read a").headers["location"] != post(service, b"read a").headers["location"]


def test_a_key_belongs_to_its_caller(serve_jobs: Serve, tmp_path: Path) -> None:
    """The same Idempotency-Key of two API keys makes two jobs, also at another service on the folder."""
    entries = [entry_for(key, [Scope.AI, Scope.READ], f"ocr_{key}") for key in ("one", "two")]
    (tmp_path / "keys.toml").write_text("".join(entries))
    services = [serve_jobs(engine_class=READS, api_keys_file=tmp_path / "keys.toml") for _ in range(2)]

    def location(service: RunningService, key: str) -> str:
        headers = {"authorization": f"Bearer ocr_{key}", "idempotency-key": "same"}
        answer = service.client.post("/ocr/jobs", files=form(b"read one"), headers=headers)
        return str(answer.raise_for_status().headers["location"])

    one = location(services[0], "one")

    assert location(services[1], "one") == one
    assert location(services[1], "two") != one


def test_a_higher_class_comes_first(service: RunningService, tmp_path: Path) -> None:
    """While a file of a job is read, jobs of three classes arrive: they are done by class, not by age."""
    gate = tmp_path / "gate"
    first = post(service, f"wait_for {gate}".encode()).headers["location"]
    eventually(lambda: service.client.get(first).json()["state"] == "running")
    locations = [post(service, b"read a", priority=each).headers["location"] for each in ("low", "normal", "high")]
    gate.touch()

    ends = [finished_job(service, location)["finished_at"] for location in locations]

    assert ends == sorted(ends, reverse=True)


def test_a_caller_may_have_so_many_units(service: RunningService, tmp_path: Path) -> None:
    """A job with which the caller would have too many unfinished files is answered 429, and later accepted.

    A request that is sent again with its Idempotency-Key has its files already.
    """
    gate = tmp_path / "gate"
    images = [f"wait_for {gate}".encode(), *[b"read a"] * 4]
    held = post(service, *images, key="held").headers["location"]
    eventually(lambda: service.client.get(held).json()["state"] == "running")

    refused = post(service, b"read a", b"read b")

    assert problem_of(refused) == (429, "too-many-units")
    assert post(service, *images, key="held").headers["location"] == held
    metrics = service.client.get("/metrics").text
    assert 'ocr_units_waiting{kind="images"} 5.0' in metrics
    assert 'ocr_units_running{kind="images"} 1.0' in metrics
    assert (refused.json()["waiting"], refused.json()["limit"], refused.headers["retry-after"]) == (5, 6, "30")
    gate.touch()
    finished_job(service, held)
    assert post(service, b"read a", b"read b").status_code == 202


def test_requests_at_the_same_time_have_no_more_units_together(service: RunningService, tmp_path: Path) -> None:
    """Of eight requests of two files each, three are accepted, since a caller may have six files."""
    gate = tmp_path / "gate"
    with ThreadPoolExecutor(8) as callers:
        posts = [callers.submit(post, service, f"wait_for {gate}".encode(), f"read {n}".encode()) for n in range(8)]
        answers = [each.result() for each in posts]

    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 5
    gate.touch()


def test_results_come_in_pages_while_the_job_runs(service: RunningService, tmp_path: Path) -> None:
    """Results can be read while the job runs; the cursor goes on where the page ended, and ends with the job."""
    gate = tmp_path / "gate"
    location = post(service, b"read a", b"read b", b"read c", f"wait_for {gate}".encode()).headers["location"]
    eventually(lambda: service.client.get(location).json()["progress"]["done"] == 3)

    pages = [service.client.get(f"{location}/results?limit=2").raise_for_status().json()]
    pages.append(service.client.get(f"{location}/results", params={"cursor": pages[0]["next_cursor"]}).json())
    gate.touch()
    finished_job(service, location)
    pages.append(service.client.get(f"{location}/results", params={"cursor": pages[1]["next_cursor"]}).json())

    assert [[result["index"] for result in page["results"]] for page in pages] == [[0, 1], [2], [3]]
    assert pages[2]["next_cursor"] is None
    assert problem_of(service.client.get(f"{location}/results?cursor=-1")) == (422, "invalid-request")


def test_results_are_streamed_while_the_job_runs(service: RunningService, tmp_path: Path) -> None:
    """Both streams have each result once, as it is completed; an event's id goes on after its result."""
    gate = tmp_path / "gate"
    location = post(service, b"read a", f"wait_for {gate}".encode(), b"read c").headers["location"]
    lines = {"accept": "application/x-ndjson"}
    events = {"accept": "text/event-stream"}

    with service.client.stream("GET", f"{location}/results/events", headers=lines) as stream:
        each = filter(None, stream.iter_lines())
        assert json.loads(next(each))["index"] == 0
        gate.touch()
        assert [json.loads(line)["index"] for line in each] == [1, 2]
    sent = service.client.get(f"{location}/results/events", headers=events).text
    ids = [line[4:] for line in sent.splitlines() if line.startswith("id: ")]
    rest = service.client.get(f"{location}/results/events", headers=events | {"last-event-id": "2"}).text
    after = service.client.get(f"{location}/results/events", headers=events | {"last-event-id": "3"})

    assert ids == ["1", "2", "3"]
    assert [json.loads(line[6:])["index"] for line in rest.splitlines() if line.startswith("data: ")] == [2]
    assert after.status_code == 204


def test_a_job_says_its_place_in_the_queue(service: RunningService, tmp_path: Path) -> None:
    """The 202, the job, the list and the stream say how many files come first, and when the job is expected to end."""
    service.client.post("/ocr", content=b"read one", headers={"content-type": "image/png"}).raise_for_status()
    gate = tmp_path / "gate"
    first = post(service, f"wait_for {gate}".encode(), b"read two").raise_for_status().headers["location"]
    answer = post(service, b"read three").raise_for_status()
    location = answer.headers["location"]

    ahead = answer.json()["queue"]
    listed = {job["id"]: job["queue"] for job in service.client.get("/ocr/jobs?limit=1000").json()["jobs"]}
    with service.client.stream("GET", f"{location}/events") as stream:
        streamed = json.loads(next(line for line in stream.iter_lines() if line))["queue"]
    assert ahead["units_ahead"] == listed[answer.json()["id"]]["units_ahead"] == streamed["units_ahead"] == 2
    assert service.client.get(first).json()["queue"]["units_ahead"] == 0
    assert ahead["expected_seconds"] > 0, "the time that the request before took tells it"
    urgent = post(service, b"read four", priority="high").raise_for_status().json()
    assert urgent["queue"]["units_ahead"] == 0

    gate.touch()
    assert finished_job(service, location)["queue"] is None
