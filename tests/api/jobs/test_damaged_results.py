"""Jobs whose results or log another program has damaged: each unit still has one result or one problem."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.jobs.unit_results import MAX_PAGE_BYTES
from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.clients.answers import problem_of
from tests.support.clients.jobs import finished_job
from tests.support.files.model_files import NO_TENSORS
from tests.support.service import RunningService
from tests.support.waiting import eventually

ASYNC = {"prefer": "respond-async"}
SSE = {"accept": "text/event-stream"}
KINDS = ("/ocr/jobs", "/ai/jobs")
TEXTS = ("one", "two", "three")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("damaged-results")
    with RunningService(folder, engine_class="tests.support.engines:Reads", engine_stable_after=0) as service:
        (service.models_dir / DEFAULT_MODEL).parent.mkdir(parents=True, exist_ok=True)
        (service.models_dir / DEFAULT_MODEL).write_bytes(NO_TENSORS)
        yield service.wait_until_ready()


def begin(service: RunningService, kind: str, *texts: str) -> str:
    """Start a job that reads the texts, and return its path. A text with a colon is an order to the engine."""
    if kind == "/ai/jobs":
        answer = service.client.post("/ai/spell-check", json={"texts": texts}, headers=ASYNC)
    else:
        orders = [text.replace(":", " ") if ":" in text else f"read {text}" for text in texts]
        files = [("file", (f"{number}.png", order.encode())) for number, order in enumerate(orders)]
        answer = service.client.post(kind, files=files)
    return str(answer.raise_for_status().headers["location"])


def done(service: RunningService, kind: str, *texts: str) -> str:
    """Run a job to its end, and return its path."""
    location = begin(service, kind, *(texts or TEXTS))
    finished_job(service, location)
    return location


def folder_of(service: RunningService, location: str) -> Path:
    return service.models_dir / ".store" / "jobs" / location.rpartition("/")[2]


def results_file(service: RunningService, location: str) -> Path:
    (found,) = folder_of(service, location).glob("results.*.jsonl")
    return found


def replace(path: Path, content: bytes) -> None:
    """Put another file in the place of a file. The service, which remembers what it has read, then reads it anew."""
    path.with_suffix(".other").write_bytes(content)
    path.with_suffix(".other").replace(path)


def shown(result: dict[str, Any]) -> tuple[int, str]:
    """Return the index of a result, with its text in lower case or the last part of its problem's type."""
    if result["error"]:
        return result["index"], result["error"]["type"].rpartition(":")[2]
    text = result["recognition"]["text"] if "recognition" in result else result["text"]
    return result["index"], text.lower()


def page_of(service: RunningService, location: str, **query: int) -> dict[str, Any]:
    answer = service.client.get(f"{location}/results", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def events_of(service: RunningService, location: str, **headers: str) -> list[tuple[str, tuple[int, str]]]:
    """Return the ids and the results of the server-sent events of a job's results."""
    answer = service.client.get(f"{location}/results/events", headers=SSE | headers).raise_for_status()
    lines = answer.text.splitlines()
    ids = [line[3:].strip() for line in lines if line.startswith("id:")]
    results = [shown(json.loads(line[5:])) for line in lines if line.startswith("data:")]
    return list(zip(ids, results, strict=True))


def lines_of(service: RunningService, location: str, cursor: int = 0) -> list[tuple[int, str]]:
    answer = service.client.get(f"{location}/results/events", params={"cursor": cursor}).raise_for_status()
    return [shown(json.loads(line)) for line in answer.text.splitlines() if line]


LOST = [(number, "unit-damaged") for number in range(3)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["results", "log.jsonl"])
@pytest.mark.parametrize("damage", ["removed", "emptied", "garbled"])
def test_results_that_are_all_lost(service: RunningService, kind: str, part: str, damage: str) -> None:
    """Each unit has the problem `unit-damaged` in pages, in both streams, and in the counts of the page and the job."""
    location = done(service, kind)
    path = results_file(service, location) if part == "results" else folder_of(service, location) / part
    if damage == "removed":
        path.unlink()
    else:
        replace(path, b"" if damage == "emptied" else b"#" * (path.stat().st_size - 1) + b"\n")

    page = page_of(service, location)

    assert [shown(result) for result in page["results"]] == LOST
    assert (page["failed_count"], page["next_cursor"]) == (3, None)
    assert lines_of(service, location) == LOST
    assert events_of(service, location) == [(str(number + 1), lost) for number, lost in enumerate(LOST)]
    job = service.client.get(location).json()
    assert (job["state"], job["result"], job["progress"]["done"]) == ("succeeded", {"failed_count": 3}, 3)
    assert any(": 3." in warning for warning in job["warnings"])
    assert service.client.get(kind).json()["warnings"] != []
    problem = page["results"][0]["error"]
    assert (problem["status"], "new job" in problem["detail"]) == (503, True)
    assert problem["instance"] == ("/ocr/jobs" if kind == "/ocr/jobs" else "/ai/spell-check")


@pytest.mark.parametrize("kind", KINDS)
def test_one_garbled_result(service: RunningService, kind: str) -> None:
    """A result that is garbled within its file spoils no other, and is found when results are read."""
    location = done(service, kind)
    path = results_file(service, location)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"{" * (len(second) - 1) + b"\n" + third)

    page = page_of(service, location)

    assert [shown(result) for result in page["results"]] == [(0, "one"), (1, "unit-damaged"), (2, "three")]
    assert page["failed_count"] == 1
    assert [event for _, event in events_of(service, location)] == [shown(result) for result in page["results"]]
    assert service.client.get(location).json()["result"] == {"failed_count": 1}
    if kind == "/ocr/jobs":
        assert page["results"][1]["name"] == "1.png"

    path.write_bytes(first + second + third)  # as by its operator, from a backup
    assert page_of(service, location)["failed_count"] == 0
    assert service.client.get(location).json()["result"] == {"failed_count": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_cut_short(service: RunningService, kind: str) -> None:
    """The job's count has the lost results before anybody has asked for them, and so has the first page."""
    location = done(service, kind)
    path = results_file(service, location)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])

    assert service.client.get(location).json()["result"] == {"failed_count": 2}
    page = page_of(service, location, limit=1)
    assert (page["failed_count"], shown(page["results"][0])) == (2, (0, "one"))
    assert [shown(each) for each in page_of(service, location, cursor=1)["results"]] == LOST[1:]


def test_a_result_of_another_unit(service: RunningService) -> None:
    """A result that is found at the place of another unit is not shown as that unit's, nor twice."""
    location = done(service, "/ai/jobs", "aaaa", "bbbb")
    path = results_file(service, location)
    _, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(second + second)

    assert [shown(each) for each in page_of(service, location)["results"]] == [(0, "unit-damaged"), (1, "bbbb")]


@pytest.mark.parametrize("content", [b'"recognition":null,"error":null', b'"error":null'])
def test_a_result_with_neither_text_nor_problem(service: RunningService, content: bytes) -> None:
    """A line of JSON that is no result is damaged."""
    location = done(service, "/ocr/jobs", "one")
    path = results_file(service, location)
    line = b'{"index":0,"name":null,' + content + b"}"
    path.write_bytes(line.ljust(path.stat().st_size - 1) + b"\n")

    assert [shown(each) for each in page_of(service, location)["results"]] == LOST[:1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_garbled_entry_of_the_log(service: RunningService, kind: str) -> None:
    """The unit whose result the log has lost comes last; a client that resumes gets it, and 204 after it."""
    location = done(service, kind)
    log = folder_of(service, location) / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    entry = next(line for line in lines if b'"result"' in line and b'"unit": 1,' in line)
    replace(log, b"".join(b"#" * (len(line) - 1) + b"\n" if line == entry else line for line in lines))

    assert events_of(service, location, **{"last-event-id": "1"}) == [("2", (2, "three")), ("3", (1, "unit-damaged"))]
    assert lines_of(service, location, cursor=2) == [(1, "unit-damaged")]
    assert service.client.get(location).json()["result"] == {"failed_count": 1}
    events = f"{location}/results/events"
    assert service.client.get(events, headers=SSE | {"last-event-id": "2"}).status_code == 200
    for last in ("3", "9" * 40):
        assert service.client.get(events, headers=SSE | {"last-event-id": last}).status_code == 204


def test_the_lost_log_of_a_cancelled_job(service: RunningService) -> None:
    """Of a cancelled job only the number of results is known: all its units count as lost."""
    location = begin(service, "/ai/jobs", "one", "hold_gil:60", "three")
    eventually(lambda: service.client.get(location).json()["progress"]["done"] == 1)
    service.client.delete(location).raise_for_status()
    assert [shown(each) for each in page_of(service, location)["results"]] == [(0, "one")]
    eventually(lambda: not service.engine()["busy"])  # the service that works on the job has seen its end
    (folder_of(service, location) / "log.jsonl").unlink()

    assert [shown(each) for each in page_of(service, location)["results"]] == LOST
    assert any(": 3." in warning for warning in service.client.get(location).json()["warnings"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers", [{}, SSE, SSE | {"last-event-id": "1"}])
def test_a_log_that_is_a_link(service: RunningService, kind: str, headers: dict[str, str], tmp_path: Path) -> None:
    """A log that must not be read is a problem before the first byte, in pages and in streams."""
    location = done(service, kind)
    log = folder_of(service, location) / "log.jsonl"
    log.rename(tmp_path / "log.jsonl")
    log.symlink_to(tmp_path / "log.jsonl")

    for path in ("results", "results/events"):
        answer = service.client.get(f"{location}/{path}", headers=headers)
        assert problem_of(answer) == (503, "store-unavailable")
        assert "symbolic link" in answer.json()["detail"]
    assert service.client.head(f"{location}/results/events").status_code == 503
    assert service.client.get(location).json()["state"] == "succeeded"


@pytest.mark.parametrize("headers", [{}, SSE])
def test_a_stream_whose_results_become_unreadable_ends_with_the_problem(
    service: RunningService, headers: dict[str, str], tmp_path: Path
) -> None:
    """The client can tell this end from that of the job, and continues after the results that it has."""
    # Results of which each is a page of its own, and too large for the buffers of the connection. The service reads one
    # page ahead of what the client has received.
    location = done(service, "/ocr/jobs", *("x" * (MAX_PAGE_BYTES * 2 // 3) for _ in range(3)))
    log = folder_of(service, location) / "log.jsonl"
    path = f"{location}/results/events"
    with service.client.stream("GET", path, headers=headers | {"x-request-id": tmp_path.name}) as stream:
        text = stream.iter_text()
        begin_of_stream = next(text)
        log.rename(tmp_path / "log.jsonl")
        log.symlink_to(tmp_path / "log.jsonl")
        lines = [line for line in (begin_of_stream + "".join(text)).splitlines() if line]

    *results, problem = (json.loads(line.removeprefix("data:")) for line in lines if '"' in line)
    assert [result["index"] for result in results] in ([0], [0, 1])
    if headers:
        sent = ["data", "id"] * len(results)
        assert [line.partition(":")[0] for line in lines] == ["retry", *sent, "event", "data"]
        assert (lines[-3].split(), lines[-2].split()) == (["id:", str(len(results))], ["event:", "error"])
    assert (problem["status"], problem["type"].rpartition(":")[2]) == (503, "store-unavailable")
    assert (problem["instance"], "index" in problem) == (path, False)
    logged = [line for line in service.log.splitlines() if tmp_path.name in line]
    assert [name for line in logged for name in ("request.cut", "request.crashed") if name in line] == ["request.cut"]
    assert "Traceback" not in service.log

    log.unlink()
    (tmp_path / "log.jsonl").rename(log)
    rest = service.client.get(path, params={"cursor": 1}).text.splitlines()
    assert [json.loads(line)["index"] for line in rest] == [1, 2]


def test_a_job_whose_results_are_lost_while_it_runs(service: RunningService, tmp_path: Path) -> None:
    """A stream of a running job has the problem of the lost result, and goes on with the next ones."""
    gate = tmp_path / "gate"
    location = begin(service, "/ocr/jobs", "one", f"wait_for:{gate}", "three")
    eventually(lambda: service.client.get(location).json()["progress"]["done"] == 1)
    results_file(service, location).write_bytes(b"#\n")
    found = list[tuple[int, str]]()
    with service.client.stream("GET", f"{location}/results/events") as stream:
        for line in filter(None, stream.iter_lines()):
            found.append(shown(json.loads(line)))
            gate.touch()

    assert found == [(0, "unit-damaged"), (1, str(gate).lower()), (2, "three")]


def test_files_that_are_lost_before_their_turn(service: RunningService, tmp_path: Path) -> None:
    """A file of a job that is removed before it is read is damaged, not unreadable; the others are read."""
    gate = tmp_path / "gate"
    location = begin(service, "/ocr/jobs", f"wait_for:{gate}", "two", "three")
    eventually(lambda: service.client.get(location).json()["state"] == "running")
    (folder_of(service, location) / "in" / "1").unlink()
    gate.touch()

    finished_job(service, location)

    assert [shown(each) for each in page_of(service, location)["results"]][1:] == [(1, "unit-damaged"), (2, "three")]


@pytest.mark.parametrize(
    "asked", [{}, {"processor": ["spell-check"], "model": 1}, {"processor": "other", "model": "a"}]
)
def test_the_results_of_texts_whose_record_names_no_processor_answer_503(
    service: RunningService, asked: dict[str, Any]
) -> None:
    location = done(service, "/ai/jobs")
    record = folder_of(service, location) / "job.json"
    replace(record, json.dumps(json.loads(record.read_text()) | {"request": asked}).encode())
    answer = service.client.get(f"{location}/results")
    assert problem_of(answer) == (503, "store-unavailable")
    assert "does not name the processor" in answer.json()["detail"]


def test_a_job_that_waits_for_a_newer_version_says_so(service: RunningService, tmp_path: Path) -> None:
    """Its warnings name the file that no service here understands, until the job is cancelled."""
    gate = tmp_path / "gate"
    before = begin(service, "/ocr/jobs", f"wait_for:{gate}")
    eventually(lambda: service.client.get(before).json()["state"] == "running")
    location = begin(service, "/ocr/jobs", *TEXTS)
    assert service.client.get(location).json()["warnings"] == []
    replace(folder_of(service, location) / "task.json", b'{"version": 99}')

    gate.touch()
    (warning,) = eventually(lambda: service.client.get(location).json()["warnings"])

    assert warning.startswith(f".store/jobs/{folder_of(service, location).name}/task.json cannot be used: ")
    assert service.client.get(location).json()["state"] == "queued"
    cancelled = service.client.delete(location)
    assert (cancelled.status_code, cancelled.json()["state"], cancelled.json()["warnings"]) == (200, "cancelled", [])
    assert finished_job(service, done(service, "/ocr/jobs"))["state"] == "succeeded"


@pytest.mark.parametrize("warnings", [7, {"a": 1}, None, ["known", 7]])
def test_warnings_of_another_form_are_left_out(service: RunningService, warnings: object) -> None:
    """Another program has written them into the record of a job: the job and the list of jobs are shown without."""
    location = done(service, "/ocr/jobs")
    record = folder_of(service, location) / "job.json"
    replace(record, json.dumps(json.loads(record.read_text()) | {"result": {"warnings": warnings}}).encode())

    known = ["known"] if isinstance(warnings, list) else []
    assert finished_job(service, location)["warnings"] == known
    listed = service.client.get("/ocr/jobs").raise_for_status().json()["jobs"][0]
    assert (listed["id"], listed["warnings"]) == (folder_of(service, location).name, known)
