"""The streams of a pull's records."""

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.pulls.requests import CUT, job_of, request_pull
from tests.conftest import Serve
from tests.support.hub import Fault, Hub
from tests.support.service import RunningService


def lines(service: RunningService, path: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a stream of JSON lines."""
    with service.client.stream("GET", path) as stream:
        assert stream.headers["content-type"] == "application/x-ndjson"
        for line in stream.iter_lines():
            if line:
                yield json.loads(line)


def events(service: RunningService, path: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a stream of server-sent events."""
    with service.client.stream("GET", path, headers={"accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("records", [lines, events])
def test_a_stream_ends_with_exactly_one_final_record(
    pair: list[RunningService], hub: Hub, records: Callable[[RunningService, str], Iterator[dict[str, Any]]]
) -> None:
    """A stream from another service ends with one final record; a stream of a finished job has only that record."""
    hub.faults.append(Fault(wait_after=CUT))
    gate = hub.faults[0].gate
    first, second = pair
    asked = request_pull(first)
    path = f"{asked.headers['location']}/events"

    seen = []
    for record in records(second, path):
        seen.append(record)
        if record["progress"]["done"] == CUT:
            gate.set()
    late = list(records(second, path))

    assert [record["final"] for record in seen] == [False] * (len(seen) - 1) + [True]
    assert len(seen) > 2
    assert late == seen[-1:]
    assert late[0]["state"] == "succeeded"
    assert late[0] | {"final": None} == job_of(first, asked) | {"final": None}


def test_a_stream_ends_when_its_service_does(start: Serve, hub: Hub) -> None:
    """When its service stops, a stream ends at once without a final record, because the job is not finished."""
    hub.faults.append(Fault(wait_after=CUT))
    service = start()
    stream = lines(service, f"{request_pull(service).headers['location']}/events")
    seen = [next(stream)]

    service.process.send_signal(signal.SIGTERM)
    seen += stream

    assert not any(record["final"] for record in seen)
    assert service.stop() == 0
    assert "timeout graceful shutdown exceeded" not in service.log
