"""`GET /pulls/{id}?wait=30`: answers at the job's end, or after that time."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.pulls.requests import CUT, job_of, request_pull
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawGet
from tests.support.hub import Fault, Hub
from tests.support.service import RunningService
from tests.support.waiting import eventually


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """Return an executor with one thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def waiting_pull(service: RunningService, hub: Hub) -> tuple[str, Fault]:
    """Request a pull that waits for the gate of a fault, and return the path of its job."""
    fault = Fault(wait_after=CUT)
    hub.faults.append(fault)
    asked = request_pull(service)
    eventually(lambda: job_of(service, asked)["progress"]["done"] == CUT, within=30)
    return asked.headers["location"], fault


def test_a_long_poll_of_another_service_is_answered_at_the_end_of_the_job(
    pair: list[RunningService], hub: Hub, thread: ThreadPoolExecutor
) -> None:
    """A service that does not run the job answers once the job has succeeded, and at once after that."""
    first, second = pair
    path, fault = waiting_pull(first, hub)

    polling = thread.submit(second.client.get, path, params={"wait": 60})
    assert second.client.get(path).json()["state"] == "running"  # the long poll has arrived before
    assert not polling.done()
    fault.gate.set()

    assert polling.result(timeout=100).json()["state"] == "succeeded"
    assert first.client.get(path, params={"wait": 60}).json() == polling.result().json()


def test_a_long_poll_ends_after_its_time(pair: list[RunningService], hub: Hub) -> None:
    """After the time that the caller gave, the answer is 200 with the unfinished job."""
    path, fault = waiting_pull(pair[0], hub)

    answer = pair[1].client.get(path, params={"wait": 1})

    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    fault.gate.set()


def test_other_times_are_refused(pair: list[RunningService], hub: Hub) -> None:
    """A time that is not a whole number from 0 to 60 is refused, before the job is looked up."""
    path, fault = waiting_pull(pair[0], hub)

    unknown = "/pulls/20261121T092012Z-0a1b23a56954"
    times = ("-1", "61", "1.5", "soon", "")
    answers = [pair[0].client.get(each, params={"wait": wait}) for each in (path, unknown) for wait in times]

    assert {problem_of(answer) for answer in answers} == {(422, "invalid-request")}
    fault.gate.set()


def test_a_long_poll_is_answered_at_once_when_its_service_stops(
    start: Serve, hub: Hub, thread: ThreadPoolExecutor
) -> None:
    """A shutdown answers a long poll with the unfinished job, so that its caller asks another service."""
    service = start(shutdown_grace="80s")
    path, fault = waiting_pull(service, hub)
    with httpx.Client(base_url=service.url, timeout=100) as client:
        client.get(path)
        polling = thread.submit(client.get, path, params={"wait": 60})
        assert service.client.get(path).json()["state"] == "running"  # the long poll has arrived before
        service.process.send_signal(signal.SIGTERM)

        answer = polling.result(timeout=100)

    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    assert "shutting-down" not in service.log
    fault.gate.set()
    assert service.stop() == 0


def test_a_caller_that_disconnects_ends_its_long_poll(pair: list[RunningService], hub: Hub) -> None:
    """A caller that disconnects is noticed while the job still runs."""
    path, fault = waiting_pull(pair[0], hub)

    def is_noticed() -> bool:
        with RawGet(pair[1], f"{path}?wait=60"):
            assert pair[1].client.get(path).json()["state"] == "running"  # the long poll has arrived before
        lines = map(json.loads, pair[1].log.splitlines())
        return any(line["status"] == 400 for line in lines if line.get("path") == path)

    eventually(is_noticed, within=30)
    assert pair[0].client.get(path).json()["state"] == "running"
    fault.gate.set()
