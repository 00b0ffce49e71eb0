"""`/ai` over HTTP, with an engine that does what each text tells it."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
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


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("ai")
    (folder / "models" / DEFAULT_MODEL).parent.mkdir(parents=True)
    (folder / "models" / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    with RunningService(folder, engine_class=ECHO, engine_stable_after=0) as service:
        yield service


@pytest.fixture
def service(running: RunningService) -> RunningService:
    return running.wait_until_ready()


def spell(service: RunningService, *texts: str, **body: Any) -> httpx.Response:
    return service.client.post("/ai/spell-check", json={"texts": texts} | body)


def test_texts_are_corrected_in_order(service: RunningService) -> None:
    """Texts are corrected in order, the model is loaded by the first request, and `diff` adds a diff."""
    answer = spell(service, "a quik fox", "", diff=True).raise_for_status().json()

    assert (answer["processor"], answer["model"], answer["failed_count"]) == ("spell-check", DEFAULT_MODEL, 0)
    assert [result["text"] for result in answer["results"]] == ["A QUIK FOX", ""]
    assert answer["results"][0]["diff"][0] == {"op": "replace", "before": "a", "after": "A"}
    assert service.engine()["loaded"]["processor"] == "spell-check"
    assert spell(service, "a").json()["results"][0]["diff"] is None


def test_keywords_and_questions(service: RunningService) -> None:
    """`/ai/keywords` and `/ai/query` answer with their processors, on the same model."""
    found = service.client.post("/ai/keywords", json={"texts": ["a"], "keywords": ["b"]}).raise_for_status().json()
    assert (found["processor"], found["results"][0]["text"]) == ("keywords", "A")

    said = service.client.post("/ai/query", json={"texts": ["a"], "question": "b?"}).raise_for_status().json()
    assert (said["processor"], said["results"][0]["text"]) == ("query", "A")


def test_one_bad_text_has_its_error(service: RunningService) -> None:
    """A text that fails has its problem in its place among the results of the other texts."""
    answer = spell(service, "a", "abort:", "b", "fail:too odd").raise_for_status().json()

    assert [result["text"] for result in answer["results"]] == ["A", None, "B", None]
    assert answer["failed_count"] == 2
    died, failed = answer["results"][1]["error"], answer["results"][3]["error"]
    assert (died["status"], died["exit_reason"]) == (502, "killed by SIGABRT")
    assert (failed["status"], failed["reason"]) == (422, "RuntimeError: too odd")
    assert died["instance"] == "/ai/spell-check"


def test_when_no_text_has_a_result_the_answer_is_the_problem(service: RunningService) -> None:
    """If every text fails, the answer is the problem of the first text."""
    assert problem_of(spell(service, "fail:too odd")) == (422, "engine-call-failed")


def test_a_deadline(service: RunningService) -> None:
    """A text that misses its deadline answers 504, its process is replaced, and the next request works."""
    pid = service.engine()["pid"]

    assert problem_of(spell(service, "hold_gil:60", timeout_seconds=0.3)) == (504, "engine-timed-out")

    service.wait_until_ready()
    assert service.engine()["pid"] != pid
    assert spell(service, "a").json()["results"][0]["text"] == "A"


def test_kill_9_in_the_middle(service: RunningService) -> None:
    """SIGKILL of the engine during a request answers 502, and the next request works."""
    with ThreadPoolExecutor() as threads:
        held = threads.submit(spell, service, "hold_gil:60")

        def is_killed() -> bool:
            """Kill the engine if a model is loaded; True once the request has ended.

            A kill before the call does not end the request: the service then loads the model again.
            """
            engine = service.engine()
            if engine["busy"] and engine["loaded"]:
                with suppress(ProcessLookupError):  # of the last kill
                    os.kill(engine["pid"], signal.SIGKILL)
            return held.done()

        eventually(is_killed, within=60)

    assert problem_of(held.result()) == (502, "engine-died")
    service.wait_until_ready()
    assert spell(service, "a").status_code == 200


@contextmanager
def posted(service: RunningService, *texts: str) -> Iterator[None]:
    """Send texts on a connection that is closed, before the answer, at the end of the `with` block."""
    body = json.dumps({"texts": texts}).encode()
    with RawPost(service, "/ai/spell-check", content_type="application/json", content_length=len(body)) as caller:
        caller.send(body)
        yield


def test_a_caller_that_hangs_up_frees_the_engine(service: RunningService, tmp_path: Path) -> None:
    """A caller that disconnects frees the engine, and its remaining texts are not processed."""
    spell(service, "a").raise_for_status()  # the model is loaded by now
    pid, begun = service.engine()["pid"], tmp_path / "begun"
    with posted(service, *[f"hold:{begun}"] * 3):
        eventually(begun.exists)

    eventually(lambda: not service.engine()["busy"])
    service.wait_until_ready()
    assert service.engine()["pid"] != pid
    assert "'process' was cancelled" in service.engine()["last_exit"]["reason"]
    eventually(lambda: '"status": 400' in service.log)


def test_a_caller_that_hangs_up_while_it_waits_ends_nobody_elses_work(service: RunningService, tmp_path: Path) -> None:
    """A caller that disconnects while it waits leaves the queue, and the running request is not disturbed."""
    gate = tmp_path / "gate"
    with ThreadPoolExecutor() as threads:
        held = threads.submit(spell, service, f"wait_for:{gate}")
        eventually(lambda: service.engine()["busy"])
        with posted(service, "a"):
            eventually(lambda: service.engine()["waiting"] == 1)
        eventually(lambda: service.engine()["waiting"] == 0)
        assert not held.done()
        gate.touch()

    assert held.result().status_code == 200


def test_the_ninth_is_refused(service: RunningService, tmp_path: Path) -> None:
    """While one request runs and seven wait, another answers 503 with Retry-After."""
    gate = tmp_path / "gate"
    with ThreadPoolExecutor(8) as threads:
        served: list[Future[httpx.Response]] = [threads.submit(spell, service, f"wait_for:{gate}")]
        eventually(lambda: service.engine()["busy"])
        served += [threads.submit(spell, service, "a") for _ in range(7)]
        eventually(lambda: service.engine()["waiting"] == 7)

        refused = spell(service, "a")
        gate.touch()

    assert problem_of(refused) == (503, "engine-busy")
    assert int(refused.headers["retry-after"]) > 0
    assert [answer.result().status_code for answer in served] == [200] * 8


def test_a_text_too_long_is_refused_before_the_engine_sees_it(service: RunningService) -> None:
    """A spell check with too long a line, and a query with too long a text, answer 422 with the limit."""
    lines = "\n".join(["x" * 3000] * 3)
    assert spell(service, lines).status_code == 200

    refused = spell(service, "a", "é" * 2000)
    assert problem_of(refused) == (422, "text-too-long")
    assert {name: refused.json()[name] for name in ("index", "size_bytes", "limit_bytes")} == {
        "index": 1, "size_bytes": 4000, "limit_bytes": 3500,
    }  # fmt: skip
    assert problem_of(service.client.post("/ai/query", json={"texts": [lines], "question": "?"})) == (
        422,
        "text-too-long",
    )
    assert problem_of(spell(service, "x\n" * 70_000)) == (422, "text-too-long")


def test_without_its_model_it_says_where_to_put_it(serve: Serve) -> None:
    """If AsposeAI's default model is missing, the answer is 409 and names the model and the routes that add it."""
    service = serve(engine_class=ECHO).wait_until_ready()

    missing = spell(service, "a")

    assert problem_of(missing) == (409, "engine-model-missing")
    assert missing.json()["name"] == DEFAULT_MODEL
    assert f"PUT /models/{DEFAULT_MODEL}" in missing.json()["detail"]
    assert "POST /pulls" in missing.json()["detail"]


def test_a_model_beyond_the_memory_limit_is_507(serve: Serve) -> None:
    """Loading a model larger than the memory limit answers 507."""
    service = serve(engine_class=ECHO, engine_memory_limit=3)
    (service.models_dir / DEFAULT_MODEL).parent.mkdir(parents=True)
    (service.models_dir / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    service.wait_until_ready()

    refused = service.client.post("/engine/load", json={"processor": "query"})

    assert problem_of(refused) == (507, "model-too-large")
    assert (refused.json()["need_bytes"], refused.json()["limit_bytes"]) == (len(NO_TENSORS), 3)


def test_another_model_takes_a_licence(service: RunningService) -> None:
    """Without a licence, loading another model answers 409; a missing model answers 404, an invalid name 422."""
    (service.models_dir / "my.gguf").write_bytes(NO_TENSORS)

    def load(model: str) -> tuple[int, str]:
        return problem_of(service.client.post("/engine/load", json={"processor": "query", "model": model}))

    assert load("my.gguf") == (409, "model-not-licensed")
    assert load("none.gguf") == (404, "model-not-found")
    assert load("../x") == (422, "invalid-model-name")
