"""The answers to requests whose call to the engine fails, through the whole service."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.engine.process.output import LINES_PER_SECOND
from tests.support.clients.answers import problem_of
from tests.support.service import ECHO, RunningService
from tests.support.waiting import STEP_SECONDS, Deadline, eventually


class Caller:
    """Makes calls to the engine over HTTP, each in a thread."""

    def __init__(self, service: RunningService, threads: ThreadPoolExecutor) -> None:
        self.service = service
        self._threads = threads

    def call(self, name: str, deadline: float = 20, **params: object) -> Future[httpx.Response]:
        url = f"/test/call/{name}"
        return self._threads.submit(self.service.client.post, url, json=params, params={"seconds": deadline})

    def answer(self, name: str, deadline: float = 20, **params: object) -> tuple[int, str]:
        """Make a call; return the status and the last part of the problem's type."""
        answer = self.call(name, deadline, **params).result()
        return answer.status_code, str(answer.json()["type"]).rpartition(":")[2]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("calling")
    with RunningService(folder, module="tests.support.calling_app", engine_class=ECHO, engine_queue_size=2) as service:
        yield service


@pytest.fixture
def caller(running: RunningService) -> Iterator[Caller]:
    running.wait_until_ready()
    with ThreadPoolExecutor(8) as threads:
        yield Caller(running, threads)


def test_kill_9_during_a_request(caller: Caller, tmp_path: Path) -> None:
    """SIGKILL during a request answers it with 502, before the call would have ended; the engine is ready again."""
    pid = caller.service.engine()["pid"]
    held = caller.call("hold_gil", deadline=100, seconds=100, begun=str(tmp_path / "begun"))
    # `busy` is also true while the request waits; then it would get the next process.
    eventually((tmp_path / "begun").exists, within=30)

    os.kill(pid, signal.SIGKILL)

    eventually(held.done)
    answer = held.result()
    assert answer.status_code == 502, answer.text
    assert answer.json()["exit_reason"] == "killed by SIGKILL"
    assert caller.service.client.get("/models").status_code == 200
    eventually(lambda: caller.service.client.get("/readyz").status_code == 200)
    assert caller.service.engine()["pid"] != pid


def test_a_call_past_its_deadline(caller: Caller) -> None:
    """A call that misses its deadline answers 504, its process is replaced, and the next call works."""
    assert caller.answer("hold_gil", 0.3, seconds=30) == (504, "engine-timed-out")

    caller.service.wait_until_ready()
    assert caller.call("echo", text="x").result().json() == "x"


def test_an_abort(caller: Caller) -> None:
    """A call that aborts the engine process answers 502."""
    assert caller.answer("abort") == (502, "engine-died")


def test_nonsense(caller: Caller) -> None:
    """A call to an engine that breaks the protocol answers 502."""
    assert caller.answer("say_nonsense") == (502, "engine-died")


def test_a_refusal(caller: Caller) -> None:
    """A call that the engine refuses answers 422."""
    assert caller.answer("fail", message="a text too long") == (422, "engine-call-failed")


def test_a_full_queue(caller: Caller, tmp_path: Path) -> None:
    """A call to a full queue answers 503 at once with Retry-After, and the calls before it are answered."""
    gate = tmp_path / "gate"
    running = caller.call("wait_for", deadline=100, path=str(gate))
    eventually(lambda: caller.service.engine()["busy"])
    queued = [caller.call("echo", deadline=100, text=text) for text in "ab"]
    eventually(lambda: caller.service.engine()["waiting"] == 2)

    refused = caller.call("echo", text="c").result()
    gate.touch()

    assert problem_of(refused) == (503, "engine-busy")
    assert int(refused.headers["retry-after"]) > 0
    assert running.result().status_code == 200
    assert [call.result().json() for call in queued] == ["a", "b"]


def test_a_flood_of_output(caller: Caller) -> None:
    """While the engine floods its output, the service answers within a second and logs a limited number of lines."""
    began = time.monotonic()
    flood = caller.call("flood", deadline=240, lines=100_000)

    while not flood.done():
        soon = Deadline(1.0)
        assert caller.service.client.get("/livez").status_code == 200
        assert not soon.is_over
        time.sleep(STEP_SECONDS)  # a caller that never rests takes the core from the flood

    assert flood.result().status_code == 200
    eventually(lambda: "more lines were not logged" in caller.service.log)
    most = LINES_PER_SECOND * (time.monotonic() - began + 2)  # of the first and the last second only a part has passed
    assert caller.service.log.count("flood ") < most
