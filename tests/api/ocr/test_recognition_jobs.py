"""`POST /ocr` with `Prefer: respond-async`: images as jobs, with an engine that does what an image tells it to."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.support.service import RunningService
from tests.support.waiting import eventually

ASYNC = {"prefer": "respond-async"}
PNG = {"content-type": "image/png"}
READS = "tests.support.engines:Reads"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("image-jobs")
    limits: dict[str, Any] = {
        "max_image_files": 5,
        "max_image_bytes": 1000,
        "engine_queue_size": 1,
        "engine_stable_after": 0,
    }
    with RunningService(folder, engine_class=READS, recognition_timeout="2s", **limits) as service:
        yield service


@pytest.fixture
def service(running: RunningService) -> Iterator[RunningService]:
    """Ready, and afterwards without a trace of any image."""
    yield running.wait_until_ready()
    assert folders(running) == []


def folders(service: RunningService) -> list[str]:
    """Those of images."""
    return [str(path) for path in service.state_dir.glob("engine-*/call-*")]


def form(*images: bytes, media_type: str = "image/png") -> list[tuple[str, tuple[str, bytes, str]]]:
    """Files called 0.png, 1.png and so on."""
    return [("file", (f"{number}.png", image, media_type)) for number, image in enumerate(images)]


def begin(service: RunningService, *images: bytes) -> str:
    """Where the job is."""
    answer = service.client.post("/ocr", files=form(*images), headers=ASYNC)
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    assert answer.headers["location"] == f"/ocr/jobs/{answer.json()['id']}"
    return answer.headers["location"]


def job_at(service: RunningService, location: str, state: str) -> dict[str, Any]:
    """The job, once it is in that state."""

    def probe() -> dict[str, Any] | None:
        job: dict[str, Any] = service.client.get(location).raise_for_status().json()
        return job if job["state"] == state else None

    return eventually(probe, within=15) or {}


def slug_of(problem: dict[str, Any]) -> str:
    return str(problem["type"]).rpartition(":")[2]


def test_one_image_as_it_is(service: RunningService) -> None:
    """It has the result that the request would have had, and its record neither image nor text."""
    answer = service.client.post("/ocr?language=deu", content=b"read a fox", headers=ASYNC | PNG)
    location = answer.raise_for_status().headers["location"]

    job = job_at(service, location, "succeeded")

    assert (job["request"]["files"], job["request"]["language"]) == (1, "deu")
    assert "fox" not in json.dumps(job)
    (result,) = service.client.get(f"{location}/results").raise_for_status().json()["results"]
    same = service.client.post("/ocr?language=deu", content=b"read a fox", headers=PNG).json()
    assert result == {"name": None, "recognition": same, "error": None}
    assert location.endswith(service.client.get("/ocr/jobs").json()["jobs"][0]["id"])


def test_a_bad_file_spoils_no_other(service: RunningService) -> None:
    """Each has its own problem: one that is refused, one that fails, and one that the engine dies of."""
    files = form(b"read one", b"fail 1", b"abort", b"read two")
    files.insert(2, ("file", ("odd.webp", b"read three", "image/webp")))

    location = service.client.post("/ocr", files=files, headers=ASYNC).headers["location"]
    job = job_at(service, location, "succeeded")

    assert job["result"] == {"failed_count": 3}
    assert (job["progress"]["done"], job["progress"]["total"]) == (5, 5)
    answer = service.client.get(f"{location}/results").raise_for_status().json()
    assert [result["name"] for result in answer["results"]] == ["0.png", "1.png", "odd.webp", "2.png", "3.png"]
    texts = [result["recognition"] and result["recognition"]["text"] for result in answer["results"]]
    assert texts == ["one", None, None, None, "two"]
    problems = [slug_of(result["error"]) for result in answer["results"] if result["error"]]
    assert problems == ["engine-call-failed", "unsupported-image", "engine-died"]


def test_progress_comes_file_by_file(service: RunningService) -> None:
    """As server-sent events, with exactly one final record; and the images are gone when that one comes."""
    location = begin(service, *[b"nap 0.6"] * 3)

    with service.client.stream("GET", f"{location}/events", headers={"accept": "text/event-stream"}) as stream:
        records = [json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:")]

    assert {1, 2} <= {record["progress"]["done"] for record in records}
    assert [record["final"] for record in records] == [False] * (len(records) - 1) + [True]
    assert folders(service) == []


def test_others_get_their_turn_between_two_files(service: RunningService) -> None:
    """A batch holds up a request for one file at most, and is not refused when it comes back to a full queue."""
    location = begin(service, *[b"nap 0.5"] * 3)
    eventually(lambda: service.engine()["busy"])

    assert service.client.post("/ocr", content=b"read a fox", headers=PNG).status_code == 200
    assert service.client.get(location).json()["state"] == "running"
    job_at(service, location, "succeeded")


def test_a_cancelled_job_frees_the_engine(service: RunningService) -> None:
    """In the middle of a native call; nothing of its images is left, and it has no results."""
    location = begin(service, b"hold_gil 60", b"read never")
    eventually(lambda: service.engine()["busy"])
    assert len(folders(service)) == 1

    assert service.client.delete(location).status_code in {200, 202}

    job_at(service, location, "cancelled")
    refused = service.client.get(f"{location}/results")
    assert (refused.status_code, refused.json()["state"]) == (409, "cancelled")
    eventually(lambda: not service.engine()["busy"], within=1)


def test_a_job_of_which_nothing_succeeds_fails(service: RunningService) -> None:
    """With the problem that the first file has."""
    job = job_at(service, begin(service, b"fail 1", b"abort"), "failed")

    assert slug_of(job["error"]) == "engine-call-failed"


def test_after_three_deaths_the_rest_is_not_tried(service: RunningService) -> None:
    """A batch that kills every engine kills three."""
    location = begin(service, b"read a fox", b"abort", b"abort", b"abort", b"read never")

    job_at(service, location, "succeeded")

    results = service.client.get(f"{location}/results").json()["results"]
    assert [result["error"] and slug_of(result["error"]) for result in results] == [None] + ["engine-died"] * 4


def test_what_is_refused_is_refused_at_once(service: RunningService) -> None:
    """No job is made of too many files, too large a one, or for a format or a correction that jobs do not have."""
    post = service.client.post
    before = service.client.get("/ocr/jobs").json()["count"]
    refused = {
        "unsupported-form": (post("/ocr", files=form(*[b"x"] * 6), headers=ASYNC), 422),
        "body-too-large": (post("/ocr", files=form(b"x", bytes(1001)), headers=ASYNC), 413),
        "unsupported-image": (post("/ocr", content=b"x", headers=ASYNC | {"content-type": "image/webp"}), 415),
        "not-acceptable": (post("/ocr", files=form(b"x"), headers=ASYNC | {"accept": "application/pdf"}), 406),
        "invalid-request": (post("/ocr?correct=true", files=form(b"x"), headers=ASYNC), 422),
    }

    for slug, (answer, status) in refused.items():
        assert (slug_of(answer.json()), answer.status_code) == (slug, status)
    assert service.client.get("/ocr/jobs").json()["count"] == before


def test_more_jobs_than_may_wait(service: RunningService) -> None:
    """One works, one waits, and the next is refused with its images."""
    locations = [begin(service, b"hold_gil 60")]
    eventually(lambda: service.engine()["busy"])
    locations.append(begin(service, b"read a fox"))
    eventually(lambda: service.engine()["waiting"] == 1)

    refused = service.client.post("/ocr", files=form(b"read a fox"), headers=ASYNC)

    assert (refused.status_code, slug_of(refused.json())) == (503, "engine-busy")
    for location in reversed(locations):
        service.client.delete(location)
        job_at(service, location, "cancelled")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_that_ended_with_its_service_says_so(serve: Serve, number: signal.Signals) -> None:
    """To whoever asks the next service, which has also cleared the images away."""
    first = serve(engine_class=READS).wait_until_ready()
    location = begin(first, b"hold_gil 60", b"read never")
    eventually(lambda: first.engine()["busy"])
    assert len(folders(first)) == 1
    first.stop(number)

    second = serve(engine_class=READS)
    job = job_at(second, location, "failed")

    assert slug_of(job["error"]) == "job-abandoned"
    assert folders(second) == []


def test_a_job_outlives_its_caller(service: RunningService) -> None:
    """The connection that asked for it is closed before the work begins."""
    with httpx.Client(base_url=service.url) as caller:
        location = caller.post("/ocr", files=form(b"nap 0.3"), headers=ASYNC).headers["location"]

    job_at(service, location, "succeeded")
