"""The samples of deploy/proxy, each run by the real proxy in front of the real service."""

import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.support.clients.raw import RawPatch, RawPut
from tests.support.clients.tus import CHUNK, upload_metadata
from tests.support.deployed.proxies import KINDS, Proxy, are_installed
from tests.support.hub import Fault, Hub
from tests.support.processes import free_port
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not are_installed(), reason="nginx and haproxy are not installed; .ci/run installs them"),
]

ABOVE_DEFAULTS = 3 << 20
"""More bytes than nginx takes by default (1 MiB), and than the buffers of both proxies."""
LARGEST = 5 << 20
CUT = 1 << 20
LONG_POLL_SECONDS = 25
EARLY_ANSWERS = 20
"""How many requests each path is sent: about half of the answers are lost if the service resets connections."""
CALLER = "127.0.0.2"
"""The address from which a test sends requests where the proxy, which uses 127.0.0.1, must be told from the caller."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture(scope="module")
def service(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("proxied")
    settings: dict[str, Any] = {"max_upload_bytes": LARGEST, "trusted_proxies": "127.0.0.1"}
    pulls: dict[str, Any] = {"pull_allowed_urls": hub.cdn_url, "pull_stall_timeout": "10m"}
    with RunningService(folder, engine_class=ECHO, **settings, **pulls) as running:
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def proxies(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    port, folder = service.client.base_url.port, tmp_path_factory.mktemp("proxies")
    assert port
    with ExitStack() as running:
        yield {kind: running.enter_context(Proxy(kind, folder, [port])).wait_until_ready() for kind in KINDS}


@pytest.fixture(params=KINDS)
def proxy(request: pytest.FixtureRequest, proxies: dict[str, Proxy]) -> Proxy:
    return proxies[request.param]


@pytest.fixture
def endless_job(service: RunningService, hub: Hub) -> Iterator[str]:
    """The path of a pull that runs until it is cancelled."""
    hub.faults.extend([Fault(wait_after=CUT)] * 8)  # a pull asks for the size first
    body = {"url": hub.put("/endless.bin", os.urandom(2 * CUT)), "name": "endless.bin"}
    path = f"/pulls/{service.client.post('/pulls', json=body).raise_for_status().json()['id']}"
    try:
        eventually(lambda: service.client.get(path).json()["progress"]["done"] == CUT, within=30)
        yield path
    finally:
        hub.forget()
        service.client.delete(path)
        eventually(lambda: service.client.get(path).json()["finished_at"], within=60)


def problem_in(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the slug of a problem, from the service or from a proxy."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    return answer.status_code, problem["type"].rpartition(":")[2]


def test_an_upload_reaches_the_service_while_it_is_sent(service: RunningService, proxy: Proxy) -> None:
    """A body larger than the proxy's defaults is taken, and passed on as it arrives."""
    name, half = f"{proxy.kind}.bin", os.urandom(ABOVE_DEFAULTS // 2)
    with RawPut(proxy, f"/models/{name}", content_length=2 * len(half)) as upload:
        upload.connection.settimeout(120)
        upload.send(half)
        partial = eventually(lambda: service.client.get("/storage").json()["partial_bytes"], within=30)
        assert 0 < partial <= len(half)
        upload.send(half)
        answer = upload.answer()

    assert answer.startswith(b"HTTP/1.1 201 ")
    assert service.client.get(f"/models/{name}").json()["sha256"] == hashlib.sha256(half + half).hexdigest()


def test_an_interrupted_upload_is_resumed(service: RunningService, proxy: Proxy) -> None:
    """After a broken connection the service has the bytes that the proxy received, and the upload goes on there."""
    name, content = f"{proxy.kind}-resumed.bin", os.urandom(ABOVE_DEFAULTS)
    headers = {"upload-length": str(len(content)), "upload-metadata": upload_metadata(filename=name)}
    path = proxy.client.post("/uploads", headers=headers | {"tus-resumable": "1.0.0"}).headers["location"]
    chunk = {key.replace("-", "_"): value for key, value in CHUNK.items()}
    with RawPatch(proxy, path, content_length=len(content), upload_offset=0, **chunk) as broken:
        broken.send(content[: len(content) // 2])
        eventually(lambda: service.client.get("/storage").json()["partial_bytes"], within=30)

    def offset() -> int:
        answer = proxy.client.head(path, headers={"tus-resumable": "1.0.0"})
        return int(answer.headers["upload-offset"]) if answer.status_code == 200 else 0

    def resumed() -> bool:
        kept = offset()
        rest = proxy.client.patch(path, content=content[kept:], headers=CHUNK | {"upload-offset": str(kept)})
        return kept > 0 and rest.status_code == 204

    eventually(resumed, within=60)
    assert service.client.get(f"/models/{name}").json()["sha256"] == hashlib.sha256(content).hexdigest()


def test_events_arrive_as_they_happen(service: RunningService, proxy: Proxy, endless_job: str) -> None:
    """The first record of a stream arrives while the job runs, and the last one when it is cancelled."""
    states = []
    with proxy.client.stream("GET", f"{endless_job}/events", headers={"accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data:"):
                states.append(json.loads(line.removeprefix("data:"))["state"])
                if len(states) == 1:
                    service.client.delete(endless_job)
    assert states[0] == "running"
    assert states[-1] == "cancelled"


def test_a_long_poll_is_not_cut(proxies: dict[str, Proxy], endless_job: str) -> None:
    """A request that waits for a job for 25 s gets its answer through each proxy."""

    def poll(proxy: Proxy) -> httpx.Response:
        return proxy.client.get(endless_job, params={"wait": LONG_POLL_SECONDS})

    with ThreadPoolExecutor(len(proxies)) as threads:
        answers = list(threads.map(poll, proxies.values()))

    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "running")] * len(proxies)
    assert min(answer.elapsed.total_seconds() for answer in answers) >= LONG_POLL_SECONDS - 1


def test_log_and_journal_have_the_caller_and_no_forged_address(service: RunningService, proxy: Proxy) -> None:
    """The caller's own address is recorded, whatever the caller states in the header."""
    name = f"{proxy.kind}-traced.bin"
    with httpx.Client(base_url=proxy.url, transport=httpx.HTTPTransport(local_address=CALLER), timeout=120) as client:
        client.put(f"/models/{name}", content=b"x").raise_for_status()
        answer = client.delete(f"/models/{name}", headers={"x-forwarded-for": "203.0.113.9, 127.0.0.1"})

    request_id = answer.raise_for_status().headers["x-request-id"]
    (event,) = [each for each in service.client.get("/journal").json()["events"] if each["request_id"] == request_id]
    assert event["address"] == CALLER
    (line,) = eventually(lambda: [each for each in service.log.splitlines() if f'"id": "{request_id}"' in each])
    assert json.loads(line)["client"] == CALLER


def test_the_id_of_a_request_is_passed_on(service: RunningService, proxy: Proxy) -> None:
    """A caller's id reaches the service, and without one the proxy makes one."""
    given = proxy.client.get("/models", headers={"x-request-id": f"mine-{proxy.kind}"})
    assert given.headers["x-request-id"] == f"mine-{proxy.kind}"
    made = proxy.client.get("/models").headers["x-request-id"]
    eventually(lambda: f'"id": "{made}"' in service.log)
    assert made != proxy.client.get("/models").headers["x-request-id"]


def test_a_body_that_is_too_large_gets_the_problem_of_the_service(proxy: Proxy) -> None:
    """The 413 of the service passes the proxy, with a body that programs can read."""
    answer = proxy.client.put(f"/models/{proxy.kind}-large.bin", content=bytes(LARGEST + 1))

    assert problem_in(answer) == (413, "body-too-large")


@pytest.mark.parametrize("kind", KINDS)
def test_early_answers_arrive_without_reuse_of_connections(kind: str, service: RunningService, tmp_path: Path) -> None:
    """An answer that is sent while the proxy still sends the body arrives although the service closes the connection.

    The samples reuse connections; during a drain the service closes them as it does here. The test uses each of its
    own connections once, because nginx closes them after such an answer.
    """
    assert service.client.base_url.port
    with Proxy(kind, tmp_path, [service.client.base_url.port], reuses=False) as proxy:
        proxy.wait_until_ready()
        answers = {
            (path, problem_in(httpx.put(proxy.url + path, content=bytes(LARGEST + 1), timeout=120)))
            for path in ("/models/early.bin", "/nowhere")
            for _ in range(EARLY_ANSWERS)
        }

    assert answers == {(path, (413, "body-too-large")) for path in ("/models/early.bin", "/nowhere")}


def test_metrics_and_liveness_are_not_public(proxy: Proxy) -> None:
    """What is about one replica is not answered by the proxy."""
    assert [proxy.client.get(path).status_code for path in ("/metrics", "/livez", "/models")] == [404, 404, 200]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_replica_the_answer_is_a_problem(kind: str, tmp_path: Path) -> None:
    """If no replica answers, programs get a problem as from the service, with the status 502 or 503."""
    with Proxy(kind, tmp_path, [free_port()]) as proxy:

        def refused() -> httpx.Response | None:
            answer = proxy.client.post("/ocr", content=b"x" * 10_000)
            return answer if answer.status_code == {"nginx": 502, "haproxy": 503}[kind] else None

        answer = eventually(refused, within=30)
        assert problem_in(answer)[1] == "proxy-unreachable"
        assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("kind", KINDS)
def test_a_prefix_is_kept(kind: str, serve: Serve, tmp_path: Path) -> None:
    """Under a prefix the docs page, its files, the links and the routes work, and nothing is served beside it."""
    service = serve(engine_class=ECHO, root_path="/models-api").wait_until_ready()
    assert service.client.base_url.port
    with Proxy(kind, tmp_path, [service.client.base_url.port], prefix="/models-api") as proxy:
        eventually(lambda: proxy.client.get("/models-api/readyz").status_code == 200, within=30)

        page = proxy.client.get("/models-api/docs")
        assert page.status_code == 200
        files = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
        assert files
        assert {proxy.client.get(httpx.URL(page.url).join(file)).status_code for file in files} == {200}
        document = proxy.client.get("/models-api/openapi.json").json()
        assert document["servers"][0]["url"] == "/models-api"
        created = proxy.client.put("/models-api/models/a.bin", content=b"x")
        assert created.status_code == 201
        assert proxy.client.get(created.headers["location"]).json()["name"] == "a.bin"
        assert proxy.client.get("/models").status_code in {404, 503}


def test_a_connection_that_sends_no_head_is_ended(proxy: Proxy) -> None:
    """The proxies speak HTTP/1.1 to callers, and a request that is none gets 400."""
    host, port = httpx.URL(proxy.url).host, httpx.URL(proxy.url).port
    with socket.create_connection((host, port or 0), timeout=60) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert b"400" in connection.recv(1000)
