"""Hundreds of callers that wait for a job, and callers that read nothing of their answers, until the service stops."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.api.pulls.requests import CONTENT, CUT, FILE, REPOSITORY, job_of, request_pull
from tests.support.hub import Fault, running_hub
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

POLLS, STREAMS, DOWNLOADS = 200, 20, 20
MODEL_BYTES = 100 << 20
"""More than the buffers of a connection hold."""
SERVICE_THREADS = 64
"""More threads than the service ever has, and fewer than the callers that wait."""


@pytest.fixture
def pulling(tmp_path: Path) -> Iterator[tuple[RunningService, str]]:
    """Run a service whose pull waits for its source, and yield it with the path of the pull's job."""
    with running_hub() as hub:
        hub.add(REPOSITORY, FILE, CONTENT)
        fault = Fault(wait_after=CUT)
        hub.faults.append(fault)
        with RunningService(tmp_path, engine_class=ECHO, hub_endpoint=hub.url, shutdown_grace="6s") as service:
            with (service.models_dir / "large.bin").open("wb") as file:
                file.truncate(MODEL_BYTES)
            asked = request_pull(service)
            eventually(lambda: job_of(service, asked)["progress"]["done"] == CUT, within=60)
            yield service, asked.headers["location"]
            fault.gate.set()


def test_callers_that_wait_or_read_nothing_hold_up_nobody(pulling: tuple[RunningService, str]) -> None:
    """They take no threads; others are answered. When the service stops, each long poll gets its answer, streams end,
    and downloads that nobody reads are cut with a line in the log, within the time for a shutdown."""
    service, job = pulling
    with ExitStack() as connections:

        def ask(target: str, *headers: str) -> socket.socket:
            address = urlsplit(service.url)
            connection = socket.create_connection((address.hostname, address.port), timeout=120)
            connections.enter_context(connection)
            lines = (f"GET {target} HTTP/1.1", f"host: {address.netloc}", *headers, "", "")
            connection.sendall("\r\n".join(lines).encode())
            return connection

        downloads = [ask("/models/large.bin/content") for _ in range(DOWNLOADS)]
        assert all(connection.recv(12) == b"HTTP/1.1 200" for connection in downloads)
        streams = [ask(f"{job}/events", "accept: text/event-stream") for _ in range(STREAMS)]
        assert all(connection.recv(12) == b"HTTP/1.1 200" for connection in streams)
        polls = [ask(f"{job}?wait=60") for _ in range(POLLS)]
        # Once the service has accepted them all and has answered one more request, it has read theirs.
        eventually(lambda: {port_of(connection) for connection in polls} <= accepted_by(service), within=60)
        assert service.client.get(job).json()["state"] == "running"
        assert service.client.get("/models").status_code == 200
        assert psutil.Process(service.process.pid).num_threads() < SERVICE_THREADS
        service.process.send_signal(signal.SIGTERM)

        assert {answer_of(connection)["state"] for connection in polls} == {"running"}
        assert all(rest_of(connection).endswith(b"0\r\n\r\n") for connection in streams)
        assert service.stop() == 0
        assert all(len(rest_of(connection)) < MODEL_BYTES for connection in downloads)
    lines = [json.loads(line) for line in service.log.splitlines()]
    assert [line for line in lines if line["level"] == "error"] == []
    assert [line["cause"] for line in lines if line["event"] == "request.cut"] == ["this service stops"] * DOWNLOADS


def port_of(connection: socket.socket) -> int:
    """Return the port of a connection's near end."""
    return int(connection.getsockname()[1])


def accepted_by(service: RunningService) -> set[int]:
    """Return the ports of the far ends of the connections that the service's process holds."""
    held = psutil.Process(service.process.pid).net_connections("tcp")
    return {connection.raddr.port for connection in held if connection.raddr}


def answer_of(connection: socket.socket) -> dict[str, object]:
    """Read the answer of a long poll, which must be 200, and return its JSON."""
    head, _, body = rest_of(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = re.search(rb"content-length: (\d+)", head)
    assert length
    found: dict[str, object] = json.loads(body[: int(length[1])])
    return found


def rest_of(connection: socket.socket) -> bytes:
    """Read what a connection still has until the service closes or resets it."""
    received = bytearray()
    try:
        while data := connection.recv(1 << 20):
            received += data
    except ConnectionResetError:
        pass
    return bytes(received)
