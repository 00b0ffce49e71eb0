"""The middleware of every request: limits, hosts and origins, the log line, and the answer to a crash."""

import contextlib
import errno
import itertools
import json
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request

from app.api.http.middleware.request_limits import RequestLimits
from app.api.http.middleware.request_log import RequestLog
from app.host_names import authority_of, host_of
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.memory import kept_bytes
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually


def log_lines(service: RunningService, event: str) -> list[dict[str, object]]:
    return [line for line in map(json.loads, service.log.splitlines()) if line["event"] == event]


def test_a_body_with_a_too_large_content_length_answers_413(service: RunningService) -> None:
    """A body with a `Content-Length` above the limit answers 413 with the limit."""
    refused = service.client.post("/engine/release", content=b"x" * ((1 << 20) + 1))

    assert (refused.status_code, refused.json()["limit_bytes"]) == (413, 1 << 20)


@pytest.mark.anyio
async def test_a_streamed_body_above_the_limit_answers_413() -> None:
    """A body without a length is counted while it streams, and answers 413 once it exceeds the limit."""
    app = FastAPI()
    app.add_middleware(RequestLimits, max_body_bytes=1000, allowed_hosts=("*",))

    @app.post("/")
    async def size(request: Request) -> int:
        return len(await request.body())

    async def body(chunks: int) -> AsyncIterator[bytes]:
        for _ in range(chunks):
            yield b"x" * 100

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.post("/", content=body(10))).json() == 1000
        assert (await client.post("/", content=body(11))).status_code == 413


def test_streamed_json_above_the_limit_answers_413(service: RunningService) -> None:
    """Streamed JSON above the limit answers 413, and not the 400 that FastAPI would answer when reading it fails."""
    endless = itertools.repeat(b"x" * 65536, 32)

    refused = service.client.post("/engine/load", content=endless, headers={"content-type": "application/json"})

    assert problem_of(refused) == (413, "body-too-large")


def test_only_marked_routes_take_larger_bodies(service: RunningService) -> None:
    """Only a route marked by `streams_body`, such as the upload of a model, takes a body above the general limit."""
    large = b"x" * ((1 << 20) + 1)

    assert problem_of(service.client.put("/models/a.bin/protection", content=large)) == (413, "body-too-large")
    assert problem_of(service.client.post("/nowhere", content=large)) == (413, "body-too-large")
    assert service.client.put("/models/a.bin", content=large).status_code == 201


def send_raw(service: RunningService, chunks: Iterable[bytes]) -> bytes:
    """Send bytes until they end or the service closes the connection, and return the first bytes of its answer."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):
            for chunk in chunks:
                connection.sendall(chunk)
        return connection.recv(65536)


def test_too_large_request_headers_answer_431(service: RunningService) -> None:
    """Headers without an end answer 431, so one connection cannot fill the memory."""
    endless = itertools.chain([b"GET / HTTP/1.1\r\n"], (b"x-%d: y\r\n" % n for n in range(1_000_000)))

    answer = send_raw(service, endless)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize("nonsense", [b"nonsense\r\n\r\n", b"GET /mod\xffels HTTP/1.1\r\n\r\n"])
def test_invalid_http_is_answered_400_with_a_problem(service: RunningService, nonsense: bytes) -> None:
    """A request that is not valid HTTP never reaches the application, and is still answered with a problem."""
    answer = send_raw(service, [nonsense])

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


@pytest.mark.anyio
async def test_a_crash_answers_500_without_the_text_of_the_exception(capfd: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception answers 500 with the id of the request; only the log has the text of the exception."""
    app = FastAPI()
    app.add_middleware(RequestLog, on_request=lambda *_: None)

    @app.get("/")
    async def crash() -> None:
        message = "the password is 12345"
        raise RuntimeError(message)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/", headers={"x-request-id": "abc"})

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["request_id"] == "abc"
    assert "12345" not in answer.text
    assert "12345" in capfd.readouterr().out


def test_an_unknown_host_name_answers_421(service: RunningService) -> None:
    """A service without keys answers only to names of loopback, against web pages whose name resolves to 127.0.0.1."""
    refused = service.client.get("/models", headers={"host": "evil.example"})

    assert problem_of(refused) == (421, "wrong-host")
    assert service.client.get("/models", headers={"host": "localhost:1"}).status_code == 200
    assert service.client.get("/livez", headers={"host": "10.0.0.7:8000"}).status_code == 200


def test_a_change_requested_by_a_page_of_another_origin_answers_403(service: RunningService, models: Path) -> None:
    """A change with an `Origin` other than the service itself answers 403 and is not made."""
    (models / "a.bin").touch()
    own = service.url

    refused = service.client.delete("/models/a.bin", headers={"origin": "https://evil.example"})
    assert problem_of(refused) == (403, "cross-origin")
    assert (models / "a.bin").exists()
    assert service.client.delete("/models/a.bin", headers={"origin": own}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_change_by_another_site_answers_403_without_an_origin(service: RunningService, site: str) -> None:
    """`Sec-Fetch-Site` of another site refuses a change although there is no `Origin`, or one that names the host."""
    for headers in ({}, {"origin": service.url}):
        refused = service.client.delete("/models/a.bin", headers={"sec-fetch-site": site, **headers})
        assert problem_of(refused) == (403, "cross-origin")
    assert service.client.get("/models", headers={"sec-fetch-site": site}).status_code == 200


@pytest.mark.parametrize(
    "host", ["LOCALHOST", "localhost.", "LocalHost.:80", "[0:0:0:0:0:0:0:1]", "[::0001]:9", "127.0.0.1."]
)
def test_host_names_have_no_case_and_one_spelling(service: RunningService, host: str) -> None:
    """A host matches in upper case, with a final dot, with any port, and in any spelling of an IPv6 address."""
    assert service.client.get("/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost.evil.example", "localhost@evil.example", "evil.example:localhost", "[::2]", ""]
)
def test_other_host_names_do_not_match(service: RunningService, host: str) -> None:
    """A host that only contains an allowed name is refused."""
    assert problem_of(service.client.get("/models", headers={"host": host})) == (421, "wrong-host")


def test_long_hosts_and_origins_are_not_kept() -> None:
    """Of hosts and origins that fill a request's head, nothing stays in memory. No key is needed to send them."""

    def compare() -> None:
        for number in range(300):
            long = f"{number}{'x' * 10_000}"
            assert host_of(long) is authority_of(long, "http") is None
            assert authority_of(f"{number}.example", long) == f"{number}.example:"

    assert kept_bytes(compare) < 200_000


def test_configured_host_names_are_compared_likewise(serve: Serve) -> None:
    """`OCR_ALLOWED_HOSTS` is compared without case, and an address of IPv6 may have brackets or not."""
    service = serve(engine_class=ECHO, allowed_hosts="OCR.Example.com,FD00:0::1,[fd00::2]")

    for host in ("ocr.example.com", "ocr.EXAMPLE.com.:8000", "[fd00::1]", "[fd00:0:0::2]:80"):
        assert service.client.get("/models", headers={"host": host}).status_code == 200
    assert service.client.get("/models").status_code == 421


def test_a_prefix_is_stripped_or_kept_by_the_proxy(serve: Serve) -> None:
    """Under a prefix, routes, probes and links work whether the proxy keeps the prefix or strips it."""
    service = serve(engine_class=ECHO, root_path="/prefix").wait_until_ready()

    for path in ("/models", "/ocr/jobs", "/livez", "/readyz", "/trash", "/docs", "/"):
        statuses = {service.client.get(prefix + path).status_code for prefix in ("", "/prefix")}
        assert statuses <= {200, 307}
        assert len(statuses) == 1
    assert service.client.put("/models/a.bin", content=b"x").headers["location"] == "/prefix/models/a.bin"
    assert all(json.loads(line) for line in service.log.splitlines())


def test_the_address_of_a_caller_is_in_the_log_and_the_journal(serve: Serve) -> None:
    """A deletion without a key can be traced to an address, in the log and in the journal; with a proxy, to both."""
    service = serve(engine_class=ECHO).wait_until_ready()
    service.client.put("/models/a.bin", content=b"x")
    service.client.delete("/models/a.bin", headers={"x-forwarded-for": "192.0.2.9"})

    event = service.client.get("/journal").json()["events"][0]
    line = eventually(lambda: [each for each in log_lines(service, "request") if each["method"] == "DELETE"])[0]
    assert (event["action"], event["address"], event["request_id"]) == ("trashed", "127.0.0.1", line["id"])
    assert (line["client"], line["forwarded_for"]) == ("127.0.0.1", "192.0.2.9")


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (OSError(errno.EMFILE, "Too many open files"), 503),
        (OSError(errno.ENFILE, "Too many open files in system"), 503),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 503),
        (MemoryError(), 503),
        (RuntimeError("can't start new thread"), 503),
        (ExceptionGroup("several", [MemoryError(), OSError(errno.EMFILE, "Too many open files")]), 503),
        (ExceptionGroup("several", [MemoryError(), ValueError()]), 500),
        (RuntimeError("another"), 500),
    ],
)
@pytest.mark.anyio
async def test_a_lack_of_resources_answers_503(exc: Exception, status: int) -> None:
    """An error that says that the system lacks a descriptor, memory or a thread is no defect."""
    app = FastAPI()
    app.add_middleware(RequestLog, on_request=lambda *_: None)

    @app.get("/")
    async def fail() -> None:
        raise exc

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/")

    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status == 503)


def test_each_request_but_probes_has_one_log_line(serve: Serve) -> None:
    """Each request is logged as one JSON line with id, method, route, status and duration; probes are not logged."""
    service = serve(engine_class=ECHO)
    service.client.get("/models/a%20b.bin", headers={"x-request-id": "abc"})
    for _ in range(3):
        service.client.get("/livez")
        service.client.get("/readyz")
    service.client.get("/nope")
    lines = eventually(lambda: len(found := log_lines(service, "request")) >= 2 and found)

    assert [(line["id"], line["method"], line["route"], line["status"]) for line in lines if line["status"] == 404] == [
        ("abc", "GET", "/models/{name:path}", 404),
        (lines[-1]["id"], "GET", None, 404),
    ]
    assert all(isinstance(line["duration_ms"], float) for line in lines)
    assert not any(line["path"] in {"/livez", "/readyz"} for line in lines)
