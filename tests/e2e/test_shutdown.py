"""Shutdown and drain: what interrupted requests and jobs get, what `/readyz` says, and the exit status."""

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from app.jobs.units.records import JobFolder
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawPatch, RawPost, RawPut
from tests.support.clients.tus import CHUNK, begun
from tests.support.files.model_files import NO_TENSORS
from tests.support.processes import free_port
from tests.support.service import ECHO, ROOT, RunningService
from tests.support.waiting import eventually

READS = "tests.support.engines:Reads"


def logged(service: RunningService, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, service.log.splitlines()) if line["event"] == event]


def test_interrupted_requests_are_answered_503(serve: Serve) -> None:
    """An upload, a chunk and an engine call that a shutdown interrupts get a problem that says to try again."""
    service = serve(engine_class=ECHO, shutdown_grace="6s")
    model = service.models_dir / DEFAULT_MODEL
    model.parent.mkdir(parents=True)
    model.write_bytes(NO_TENSORS)
    service.wait_until_ready()
    texts = json.dumps({"texts": ["sleep:60"]}).encode()
    chunk = {name.replace("-", "_"): value for name, value in CHUNK.items()} | {"upload_offset": 0}
    with ExitStack() as connections:
        sent = [
            RawPut(service, "/models/a.bin", content_length=100),
            RawPatch(service, begun(service, "b.bin", 100), content_length=100, **chunk),
            RawPost(service, "/ai/spell-check", content_type="application/json", content_length=len(texts)),
        ]
        for each, part in zip(sent, (b"x", b"x", texts), strict=True):
            connections.enter_context(each).connection.settimeout(60)
            each.send(part)
        eventually(lambda: service.engine()["busy"], within=30)

        service.process.send_signal(signal.SIGTERM)
        answers = [each.answer() for each in sent]

    assert service.process.wait(60) == 0
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: " in head
        assert json.loads(body)["type"].endswith(":shutting-down")
    routes = {(line["method"], line["status"]) for line in logged(service, "request") if line["status"] == 503}
    assert routes >= {("PUT", 503), ("PATCH", 503), ("POST", 503)}
    assert "Traceback" not in service.log
    assert '"exception"' not in service.log


def test_a_drain_refuses_readiness_and_takes_connections(serve: Serve) -> None:
    """After SIGTERM `/readyz` answers 503 and new connections are served; a second signal ends the drain."""
    service = serve(engine_class=ECHO, drain_time="10m").wait_until_ready()

    service.process.send_signal(signal.SIGTERM)
    eventually(lambda: httpx.get(f"{service.url}/readyz", timeout=60).status_code == 503, within=30)
    drained = httpx.get(f"{service.url}/readyz", timeout=60)
    assert problem_of(drained) == (503, "shutting-down")
    assert drained.json()["detail"].startswith("The service will shut down soon")  # this request was not interrupted
    assert httpx.get(f"{service.url}/models", timeout=60).status_code == 200
    assert httpx.get(f"{service.url}/livez", timeout=60).status_code == 200
    assert service.client.get("/models").headers["connection"] == "close"  # so that a proxy does not use it again
    assert service.process.poll() is None

    assert service.stop() == 0


def send_until_refused(port: int, lost: list[str], answered: list[int]) -> None:
    """Send requests with a body until the connection is refused, and append the statuses to `answered`.

    A connection is used again unless the answer says that it closes, as a proxy does.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while True:
        try:
            if connection.sock is None:
                connection.connect()
        except ConnectionRefusedError:
            return
        try:
            connection.request("POST", "/prune", body=b"{}", headers={"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as exc:
            lost.append(repr(exc))
            return
        answered.append(response.status)


def test_no_request_is_lost_when_a_drain_ends(serve: Serve) -> None:
    """After a drain, each caller gets an answer or is refused the connection; no connection breaks under a request."""
    port, lost, answered = free_port(), list[str](), list[int]()  # where no other service answers after the end
    service = serve(engine_class=ECHO, drain_time="0.5s", port=port).wait_until_ready()
    with ThreadPoolExecutor(16) as threads:
        callers = [threads.submit(send_until_refused, port, lost, answered) for _ in range(16)]
        try:
            eventually(lambda: len(answered) > 100, within=60)
        finally:
            service.process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.result()

    assert lost == []
    assert set(answered) == {200}
    assert service.process.wait(60) == 0


def begun_job(service: RunningService, *images: str) -> Path:
    """Create a job with a file for each image, wait until the first is worked on, and return the path of its log."""
    files = [("file", (f"{number}.png", image.encode(), "image/png")) for number, image in enumerate(images)]
    job = service.client.post("/ocr/jobs", files=files).raise_for_status().json()["id"]
    log = JobFolder(service.models_dir / ".store" / "jobs", job).log
    eventually(lambda: log.exists() and entries(log), within=30)
    return log


def entries(log: Path) -> list[tuple[str, int | None]]:
    """Return the entries of a job's log: what happened, and with which unit."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line]
    return [(line["event"], line.get("unit")) for line in lines]


@pytest.mark.parametrize("drain_time", ["10m", "0"])
def test_a_stopped_service_finishes_its_unit_and_begins_no_other(serve: Serve, tmp_path: Path, drain_time: str) -> None:
    """In the drain, and without one while running requests may finish, a unit of a job gets its result."""
    service = serve(engine_class=READS, drain_time=drain_time, shutdown_grace="2m").wait_until_ready()
    path = tmp_path / "goes-on"
    log = begun_job(service, f"wait_for {path}", "read b")

    service.process.send_signal(signal.SIGTERM)
    said = "service.draining" if drain_time != "0" else "Shutting down"
    eventually(lambda: said in service.log, within=30)
    path.touch()
    eventually(lambda: ("result", 0) in entries(log), within=60)
    assert service.stop() == 0  # a second signal ends the drain

    assert entries(log) == [("begun", 0), ("result", 0)]


def test_a_stopped_service_gives_a_unit_back_that_takes_too_long(serve: Serve) -> None:
    """A unit that is not finished when the time for requests is over is given back, so its attempt does not count."""
    service = serve(engine_class=READS, shutdown_grace="2s").wait_until_ready()
    log = begun_job(service, "nap 600", "read b")

    assert service.stop() == 0
    assert entries(log) == [("begun", 0), ("given_back", 0)]


def run_to_its_end(folder: Path, module: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a service that ends by itself, with its folders below `folder`, and return how it ended."""
    folders = {"OCR_MODELS_DIR": str(folder / "models"), "OCR_STATE_DIR": str(folder / "state")}
    return subprocess.run(
        [sys.executable, "-m", module, "serve"],
        cwd=ROOT,
        env=os.environ | folders | {"OCR_ENGINE_CLASS": ECHO} | settings,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_taken_port_ends_the_start_with_status_3(tmp_path: Path) -> None:
    """If the address is in use, the status is 3 and the log has the reason."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        ended = run_to_its_end(tmp_path, "app", OCR_PORT=str(taken.getsockname()[1]))

    assert ended.returncode == 3
    assert "address already in use" in ended.stderr
    assert all(json.loads(line) for line in ended.stderr.splitlines())


def test_a_failed_part_ends_the_service_with_status_1(tmp_path: Path) -> None:
    """If a part that the service cannot do without has a defect, the end is not reported as success."""
    ended = run_to_its_end(tmp_path, "tests.support.defects.failing_engine_part", OCR_PORT="0")

    assert "service.part_failed" in ended.stderr
    assert ended.returncode == 1


def test_the_limit_of_descriptors_is_raised_to_the_hard_limit(serve: Serve) -> None:
    """A service that starts with the usual soft limit of 1024 raises it as far as it may."""
    service = serve(engine_class=ECHO, wrapper=("prlimit", "--nofile=256:2000"))

    assert resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE) == (2000, 2000)


@pytest.mark.parametrize("descriptors", [0, 1, 2, 4])
def test_without_descriptors_requests_get_503_and_the_service_goes_on(serve: Serve, descriptors: int) -> None:
    """With a few or no free descriptors, requests get 503, no part ends the service, and it works again afterwards."""
    service = serve(engine_class=ECHO).wait_until_ready()
    (service.models_dir / "a.bin").write_bytes(b"x")
    eventually(lambda: service.client.get("/models").json()["count"] == 1)
    pid = service.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + descriptors, before[1]))

    statuses = {
        service.client.request(method, path, content=b"x" if method == "PUT" else None).status_code
        for method, path in [
            ("PUT", "/models/b.bin"),
            ("DELETE", "/models/a.bin"),
            ("GET", "/trash"),
            ("GET", "/journal"),
            ("GET", "/storage"),
            ("POST", "/models/a.bin/verify"),
            ("POST", "/engine/release"),
            ("GET", "/livez"),
        ]
        for _ in range(3)
    }
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    assert 500 not in statuses
    assert service.client.put("/models/c.bin", content=b"x").status_code == 201
    service.wait_until_ready()
    assert "part_failed" not in service.log
    assert "request.crashed" not in service.log
    assert service.stop() == 0
