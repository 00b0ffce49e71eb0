"""`POST /ocr` with `Prefer: respond-async`: images as jobs, with an engine that does what each image tells it."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.support.clients.jobs import job_in_state
from tests.support.service import RunningService
from tests.support.waiting import eventually

ASYNC = {"prefer": "respond-async"}
PNG = {"content-type": "image/png"}
READS = "tests.support.engines:Reads"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("image-jobs")
    limits: dict[str, Any] = {
        "max_image_files": 5,
        "max_image_bytes": 1000,
        "engine_queue_size": 1,
        "engine_stable_after": 0,
    }
    with RunningService(folder, engine_class=READS, recognition_timeout="100s", **limits, **jobs_settings) as service:
        yield service.wait_for_queue()


@pytest.fixture
def service(running: RunningService) -> Iterator[RunningService]:
    """The service with a ready engine; afterwards no folder of an image is left."""
    yield running.wait_until_ready()
    eventually(lambda: folders(running) == [])


def folders(service: RunningService) -> list[str]:
    """Return the folders of images in the state folder, and the images of jobs in the model folder."""
    waiting = (service.models_dir / ".store" / "jobs").glob("*/in/*")
    return [str(path) for path in (*service.state_dir.glob("engine-*/call-*"), *waiting)]


def form(*images: bytes, media_type: str = "image/png") -> list[tuple[str, tuple[str, bytes, str]]]:
    """Return the fields of a form with the images as files 0.png, 1.png and so on."""
    return [("file", (f"{number}.png", image, media_type)) for number, image in enumerate(images)]


def begin(service: RunningService, *images: bytes) -> str:
    """Start a job and return its path."""
    answer = service.client.post("/ocr", files=form(*images), headers=ASYNC)
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    assert answer.headers["location"] == f"/ocr/jobs/{answer.json()['id']}"
    return answer.headers["location"]


def slug_of(problem: dict[str, Any]) -> str:
    return str(problem["type"]).rpartition(":")[2]


def test_a_job_of_one_image_has_the_result_of_the_request(service: RunningService) -> None:
    """A job of one image has the result of the request without `Prefer`; its record has neither image nor text."""
    answer = service.client.post("/ocr?language=deu", content=b"read a fox", headers=ASYNC | PNG)
    location = answer.raise_for_status().headers["location"]

    job = job_in_state(service, location, "succeeded")

    assert (job["request"]["files"], job["request"]["language"]) == (1, "deu")
    assert "fox" not in json.dumps(job)
    (result,) = service.client.get(f"{location}/results").raise_for_status().json()["results"]
    same = service.client.post("/ocr?language=deu", content=b"read a fox", headers=PNG).json()
    assert result == {"index": 0, "name": None, "recognition": same, "error": None}
    assert location.endswith(service.client.get("/ocr/jobs").json()["jobs"][0]["id"])


def test_the_address_of_jobs_begins_one_without_a_preference(service: RunningService) -> None:
    """`POST /ocr/jobs` begins the job that `POST /ocr` begins with `Prefer: respond-async`."""
    files = form(b"read one", b"read two")
    answer = service.client.post("/ocr/jobs", files=files, data={"language": "deu"})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/ocr/jobs/{answer.json()['id']}"

    job = job_in_state(service, answer.headers["location"], "succeeded")

    assert (job["request"]["files"], job["request"]["language"]) == (2, "deu")
    results = service.client.get(f"{answer.headers['location']}/results").raise_for_status().json()["results"]
    assert [result["recognition"]["text"] for result in results] == ["one", "two"]
    refused = service.client.post("/ocr/jobs", files=files, params={"correct": "true"})
    assert slug_of(refused.json()) == "invalid-request"


def test_a_read_only_service_refuses_the_address_of_jobs(serve: Serve) -> None:
    """A read-only service begins no jobs, and says so where it could only answer with one."""
    refused = serve(engine_class=READS, read_only="true").client.post("/ocr/jobs", files=form(b"read one"))
    assert (refused.status_code, slug_of(refused.json())) == (403, "read-only")


def test_a_bad_file_spoils_no_other(service: RunningService) -> None:
    """A file that fails or kills the engine has its own problem; the others are read, whatever type they announce."""
    files = form(b"read one", b"fail 1", b"abort", b"read two")
    files.insert(2, ("file", ("odd.txt", b"read three", "text/plain")))

    location = service.client.post("/ocr", files=files, headers=ASYNC).headers["location"]
    job = job_in_state(service, location, "succeeded")

    assert job["result"] == {"failed_count": 2}
    assert (job["progress"]["done"], job["progress"]["total"]) == (5, 5)
    answer = service.client.get(f"{location}/results").raise_for_status().json()
    assert [result["name"] for result in answer["results"]] == ["0.png", "1.png", "odd.txt", "2.png", "3.png"]
    texts = [result["recognition"] and result["recognition"]["text"] for result in answer["results"]]
    assert texts == ["one", None, "three", None, "two"]
    problems = [slug_of(result["error"]) for result in answer["results"] if result["error"]]
    assert problems == ["engine-call-failed", "engine-died"]


def test_progress_comes_file_by_file(service: RunningService, tmp_path: Path) -> None:
    """The server-sent events of a job have the progress after each file; at the final record the images are removed."""
    gates = [tmp_path / str(number) for number in range(3)]
    location = begin(service, *[f"wait_for {gate}".encode() for gate in gates])

    records = list[dict[str, Any]]()
    with service.client.stream("GET", f"{location}/events", headers={"accept": "text/event-stream"}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                records.append(json.loads(line[5:]))
                for gate in gates[records[-1]["progress"]["done"] :][:1]:  # a record may have all done and not be final
                    gate.touch()

    assert {1, 2} <= {record["progress"]["done"] for record in records}
    assert [record["final"] for record in records] == [False] * (len(records) - 1) + [True]
    assert folders(service) == []


def test_others_get_their_turn_between_two_files(service: RunningService, tmp_path: Path) -> None:
    """A request runs between two files of a job."""
    gates = [tmp_path / str(number) for number in range(2)]
    location = begin(service, *[f"wait_for {gate}".encode() for gate in gates])
    eventually(lambda: service.engine()["busy"])

    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(service.client.post, "/ocr", content=b"read a fox", headers=PNG)
        eventually(lambda: service.engine()["waiting"] == 1)
        gates[0].touch()
        assert answer.result().status_code == 200
    assert service.client.get(location).json()["state"] == "running"
    gates[1].touch()
    job_in_state(service, location, "succeeded")


def test_a_cancelled_job_frees_the_engine(service: RunningService) -> None:
    """Cancelling a job during a native call frees the engine and removes the images; earlier results stay."""
    location = begin(service, b"read a fox", b"hold_gil 60", b"read never")
    eventually(lambda: service.client.get(location).json()["progress"]["done"] == 1 and service.engine()["busy"])

    cancelled = service.client.delete(location)

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    (result,) = service.client.get(f"{location}/results").raise_for_status().json()["results"]
    assert result["recognition"]["text"] == "a fox"
    eventually(lambda: not service.engine()["busy"])


def test_a_job_of_which_nothing_succeeds_fails(service: RunningService) -> None:
    """A job without any successful file fails with the problem of the first file."""
    job = job_in_state(service, begin(service, b"fail 1", b"abort"), "failed")

    assert slug_of(job["error"]) == "engine-call-failed"


def test_a_file_that_kills_the_engine_spoils_no_other(service: RunningService) -> None:
    """Files that kill the engine are tried twice each; then they have failed, and the files after them are read."""
    location = begin(service, b"abort", b"abort", b"read a fox")

    job_in_state(service, location, "succeeded")

    results = service.client.get(f"{location}/results").json()["results"]
    assert [result["error"] and slug_of(result["error"]) for result in results] == ["engine-died"] * 2 + [None]


def test_a_refused_request_creates_no_job(service: RunningService) -> None:
    """Too many files, a file too large, and an answer or correction that jobs do not have create no job."""
    post = service.client.post
    before = service.client.get("/ocr/jobs").json()["count"]
    refused = {
        "unsupported-form": (post("/ocr", files=form(*[b"x"] * 6), headers=ASYNC), 422),
        "body-too-large": (post("/ocr", files=form(b"x", bytes(1001)), headers=ASYNC), 413),
        "not-acceptable": (post("/ocr", files=form(b"x"), headers=ASYNC | {"accept": "application/pdf"}), 406),
        "invalid-request": (post("/ocr?correct=true", files=form(b"x"), headers=ASYNC), 422),
    }

    for slug, (answer, status) in refused.items():
        assert (slug_of(answer.json()), answer.status_code) == (slug, status)
    assert service.client.get("/ocr/jobs").json()["count"] == before


def test_jobs_are_accepted_while_the_queue_is_full(service: RunningService, tmp_path: Path) -> None:
    """A job needs no place in the engine's queue: jobs are accepted while requests are refused with 503."""
    gate = tmp_path / "gate"
    held = f"wait_for {gate}".encode()
    with ThreadPoolExecutor(2) as callers:
        requests = [callers.submit(service.client.post, "/ocr", content=held, headers=PNG) for _ in range(2)]
        eventually(lambda: service.engine()["waiting"] == 1)
        assert service.client.post("/ocr", content=b"read a", headers=PNG).status_code == 503
        locations = [begin(service, b"read a", b"read b") for _ in range(8)]
        gate.touch()
        assert {request.result().status_code for request in requests} == {200}

    for location in locations:
        job_in_state(service, location, "succeeded")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_job_goes_on_after_its_service_has_ended(serve_jobs: Serve, number: signal.Signals, tmp_path: Path) -> None:
    """A service that is stopped or killed loses no file: the next one goes on with the file, and repeats no other."""
    gate = tmp_path / "gate"
    first = serve_jobs(engine_class=READS).wait_until_ready()
    location = begin(first, b"read one", f"wait_for {gate}".encode(), b"read three")
    eventually(lambda: begun_units(first, location) == [0, 1])
    first.stop(number)
    gate.touch()

    second = serve_jobs(engine_class=READS)
    job_in_state(second, location, "succeeded")

    results = second.client.get(f"{location}/results").json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2]
    assert [result["recognition"]["text"] for result in results] == ["one", str(gate), "three"]
    assert sorted(begun_units(second, location)) == [0, 1, 1, 2]
    assert folders(second) == []


def begun_units(service: RunningService, location: str) -> list[int]:
    """Return the index of a file for each time that a service has begun it, from the job's log."""
    log = service.models_dir / ".store" / "jobs" / location.rpartition("/")[2] / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines() if line]
    return [entry["unit"] for entry in entries if entry["event"] == "begun"]


def test_a_job_outlives_its_caller(service: RunningService, tmp_path: Path) -> None:
    """A job runs to its end after its caller has closed the connection."""
    gate = tmp_path / "gate"
    with httpx.Client(base_url=service.url, timeout=60) as caller:
        location = caller.post("/ocr", files=form(f"wait_for {gate}".encode()), headers=ASYNC).headers["location"]
        job_in_state(service, location, "running")
    gate.touch()

    job_in_state(service, location, "succeeded")


WAITING = {"prefer": "respond-async, wait=60"}


def test_the_text_of_one_image_that_is_ready_in_time_is_the_answer(service: RunningService) -> None:
    """With `wait` the answer for one image is that of a request without a job, headers included."""
    answer = service.client.post("/ocr", content=b"read a fox", headers=WAITING | PNG)
    without = service.client.post("/ocr", content=b"read a fox", headers=PNG)

    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")
    assert answer.json() == without.json()
    assert answer.headers["x-truncated-by-evaluation"] == without.headers["x-truncated-by-evaluation"]
    results = service.client.get(answer.headers["content-location"]).raise_for_status().json()["results"]
    assert [result["recognition"] for result in results] == [answer.json()]


def test_a_job_of_several_images_that_is_finished_in_time_is_the_answer(service: RunningService) -> None:
    """With `wait` the answer for several images comes at the job's end, and is the job: its results are elsewhere."""
    answer = service.client.post("/ocr", files=form(b"read a", b"read b"), headers=WAITING)

    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async, wait=60")
    assert (answer.json()["state"], answer.json()["result"]) == ("succeeded", {"failed_count": 0})
    assert len(service.client.get(f"{answer.headers['location']}/results").json()["results"]) == 2
