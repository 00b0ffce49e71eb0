"""GET /engines, `X-Served-By`, and what a caller learns about its wait, with several services on one folder."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.engine.contract.processors import DEFAULT_MODEL
from tests.cli.test_backends import through
from tests.conftest import Serve
from tests.support.files.model_files import NO_TENSORS
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

SHOWN = ("works", "waiting", "loaded", "expected_seconds")


def engines_of(service: RunningService) -> list[dict[str, Any]]:
    """Return what a service shows of all services, itself first."""
    found: list[dict[str, Any]] = service.client.get("/engines").raise_for_status().json()["engines"]
    return found


def names_at(service: RunningService) -> list[str]:
    own, *others = [str(each["name"]) for each in engines_of(service)]
    return [own, *sorted(others)]


@contextmanager
def working(service: RunningService, tmp_path: Path, waiting: int = 0) -> Iterator[list[httpx.Response]]:
    """Let the engine of a service work at a text, with calls that wait behind it, until the block ends."""
    model = service.models_dir / DEFAULT_MODEL
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(NO_TENSORS)
    end, answers = tmp_path / "end", list[httpx.Response]()
    end.unlink(missing_ok=True)
    body = {"texts": [f"wait_for:{end}"]}
    with ThreadPoolExecutor(1 + waiting) as threads:
        try:
            calls = [threads.submit(service.client.post, "/ai/spell-check", json=body)]
            eventually(lambda: [work["kind"] for work in engines_of(service)[0]["works"]] == ["spell-check"])
            calls += [threads.submit(service.client.post, "/ai/spell-check", json=body) for _ in range(waiting)]
            eventually(lambda: engines_of(service)[0]["waiting"] == waiting)
            yield answers
        finally:
            end.touch()
        answers += [call.result().raise_for_status() for call in calls]


def test_services_show_each_other_until_one_is_killed(serve: Serve, replicas: list[RunningService]) -> None:
    """Three services show each other, each itself first; after a kill -9 two are left."""
    a, b, c = *replicas, serve(replicas[0].folder, engine_class=ECHO, service_name="c").wait_until_ready()
    first, second = engines_of(a)[0]["name"], engines_of(b)[0]["name"]

    eventually(lambda: names_at(a) == [first, *sorted([second, "c"])])
    eventually(lambda: names_at(c) == ["c", *sorted([first, second])])
    eventually(lambda: {each["state"] for each in engines_of(a)} == {"ready"})
    (shown,) = (each for each in engines_of(a) if each["name"] == "c")
    assert (shown["host"], shown["pid"]) == (socket.gethostname(), c.process.pid)
    assert (shown["read_only"], shown["silent"]) == (False, False)
    assert (shown["loaded"], shown["loading"], shown["works"], shown["waiting"]) == (None, None, [], 0)

    c.stop(signal.SIGKILL)
    eventually(lambda: names_at(a) == [first, second])
    eventually(lambda: names_at(b) == [second, first])


def test_a_read_only_service_shows_the_others_and_itself(serve: Serve) -> None:
    """A read-only service writes no record, so only it shows itself."""
    writer = serve(engine_class=ECHO, service_name="writer")
    reader = serve(engine_class=ECHO, service_name="reader", read_only=True)

    eventually(lambda: names_at(reader) == ["reader", "writer"])
    assert engines_of(reader)[0]["read_only"] is True
    assert names_at(writer) == ["writer"]
    files = os.listdir(writer.models_dir / ".store/services")
    assert {name.strip(".").partition(".")[0] for name in files} == {engines_of(writer)[0]["id"]}


def test_the_others_see_what_an_engine_has_loaded_and_works_at(replicas: list[RunningService], tmp_path: Path) -> None:
    """What one service loads, works at and has waiting is seen at the other, and also when it is done."""
    one, other = replicas
    name = engines_of(one)[0]["name"]

    def seen() -> dict[str, Any]:
        return next((each for each in engines_of(other) if each["name"] == name), dict.fromkeys(SHOWN))

    with working(one, tmp_path, waiting=1):
        eventually(lambda: seen()["waiting"] == 1)
        assert [work["kind"] for work in seen()["works"]] == ["spell-check"]
        loaded = eventually(lambda: seen()["loaded"])
        assert loaded == one.engine()["loaded"]
        assert loaded["model"] == DEFAULT_MODEL
        assert {each["work"]: each["value"] for each in waiting_gauge(one)}["spell-check"] == 1
    eventually(lambda: seen()["works"] == [] and seen()["waiting"] == 0)
    assert seen()["expected_seconds"] == 0
    assert "spell-check" in through(other, "engines").stdout
    assert name in {each["name"] for each in json.loads(through(other, "engines", "--json").stdout)}


def waiting_gauge(service: RunningService) -> list[dict[str, Any]]:
    families = text_string_to_metric_families(service.client.get("/metrics").text)
    family = next(each for each in families if each.name == "ocr_engine_queue_waiting")
    return [{**sample.labels, "value": sample.value} for sample in family.samples]


def test_the_work_of_a_job_names_the_job(service: RunningService, tmp_path: Path) -> None:
    """While a job has the engine, `works` has the job's id."""
    model = service.models_dir / DEFAULT_MODEL
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(NO_TENSORS)
    end = tmp_path / "end"
    try:
        job = service.client.post(
            "/ai/spell-check", json={"texts": [f"wait_for:{end}"]}, headers={"prefer": "respond-async"}
        ).json()
        (work,) = eventually(lambda: engines_of(service)[0]["works"])
        assert (work["kind"], work["job_id"]) == ("spell-check", job["id"])
    finally:
        end.touch()
    eventually(lambda: service.client.get(f"/ai/jobs/{job['id']}").json()["state"] == "succeeded")


def test_a_full_queue_tells_when_it_should_be_shorter(serve: Serve, tmp_path: Path) -> None:
    """Before the first call has ended nothing is expected; then `expected_seconds` and `Retry-After` follow it."""
    service = serve(engine_class=ECHO, engine_queue_size=0).wait_until_ready()

    def refused() -> httpx.Response:
        answer = service.client.post("/ai/spell-check", json={"texts": ["a"]})
        assert answer.status_code == 503
        return answer

    with working(service, tmp_path):
        first = refused()
    assert (first.json()["waiting"], first.json()["expected_seconds"]) == (0, None)
    assert first.headers["retry-after"] == "5"
    with working(service, tmp_path):
        second = refused()
    assert second.json()["expected_seconds"] >= 0
    assert int(second.headers["retry-after"]) >= 1


@pytest.mark.parametrize("given", ["ocr-1", None])
def test_every_answer_names_its_service(serve: Serve, given: str | None) -> None:
    """Answers, problems, refusals of bad requests, the log and GET /engines have the same name."""
    settings = {"service_name": given} if given else {}
    service = serve(engine_class=ECHO, log_format="json", cors_origins="https://app.example", **settings)
    name = engines_of(service)[0]["name"]
    assert name == given or name.startswith(socket.gethostname())

    page = {"origin": "https://app.example"}
    answers = [service.client.get("/models", headers=page), service.client.get("/nope"), service.client.head("/livez")]
    assert [answer.headers.get_list("x-served-by") for answer in answers] == [[name]] * 3
    assert "x-served-by" in answers[0].headers["access-control-expose-headers"]
    with socket.create_connection((service.client.base_url.host, service.client.base_url.port or 0)) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert f"x-served-by: {name}".encode() in connection.recv(10_000).lower()
    lines = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
    assert {line["service"] for line in lines if line.get("route") == "/models"} == {name}


def test_a_service_can_keep_its_name_to_itself(serve: Serve) -> None:
    """With `none` no answer, no record and no line of the log has the name or the host."""
    service = serve(engine_class=ECHO, service_name="none")
    other = serve(engine_class=ECHO, service_name="other")

    assert "x-served-by" not in service.client.get("/models").headers
    assert (engines_of(service)[0]["name"], engines_of(service)[0]["host"]) == (None, None)
    eventually(lambda: names_at(other) == ["other", "None"])
    assert '"service"' not in service.log


def test_units_of_jobs_go_to_the_service_that_has_their_processor(
    replicas: list[RunningService], tmp_path: Path
) -> None:
    """All texts of a job are processed by the service that has loaded their processor, whichever was asked."""
    one, other = replicas
    with working(one, tmp_path):
        eventually(lambda: [each["works"] for each in engines_of(other)][1:] == [engines_of(one)[0]["works"]])
    other.client.post("/engine/release").raise_for_status()
    pid = engines_of(one)[0]["pid"]
    eventually(lambda: [each["pid"] for each in engines_of(other) if each["loaded"]] == [pid])
    texts = [f"text {number}" for number in range(20)]

    asked = other.client.post("/ai/spell-check", json={"texts": texts}, headers={"prefer": "respond-async"})

    location = asked.raise_for_status().headers["location"]
    eventually(lambda: other.client.get(location).json()["state"] == "succeeded")
    log = one.models_dir / ".store/jobs" / asked.json()["id"] / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines() if line]
    assert {each["owner"].rpartition(":")[2] for each in entries if each["event"] == "begun"} == {str(pid)}
    assert other.engine()["loaded"] is None
