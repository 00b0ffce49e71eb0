"""Connections: bounds of heads, trailers and pipelines, the time that a caller may take, and requests refused early."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.api.http.connections.protocol import MAX_HEADERS, MAX_PIPELINED
from app.api.http.problem_types import TYPE_PREFIX
from app.engine.contract.processors import DEFAULT_MODEL
from tests.conftest import Serve
from tests.support.files.model_files import NO_TENSORS
from tests.support.processes import resident_bytes
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

DOCS = Path(__file__).parents[3] / "docs" / "api" / "errors.md"
CHUNKED = "transfer-encoding: chunked\r\n"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service whose callers may take one second for a head and two for a body."""
    settings = {"engine_class": ECHO, "head_timeout": "1s", "body_timeout": "2s", "keep_alive": "2s"}
    with RunningService(tmp_path_factory.mktemp("hasty"), **settings) as running:  # type: ignore[arg-type]
        yield running


def connect(service: RunningService) -> closing[socket.socket]:
    address = urlsplit(service.url)
    return closing(socket.create_connection((address.hostname, address.port), timeout=120))


def head(service: RunningService, line: str, headers: str = "") -> bytes:
    return f"{line} HTTP/1.1\r\nhost: {urlsplit(service.url).netloc}\r\n{headers}\r\n".encode()


def received(connection: socket.socket) -> bytes:
    """Return everything that the service sends until it closes the connection."""
    parts = []
    with suppress(ConnectionResetError):
        while data := connection.recv(1 << 16):
            parts.append(data)
    return b"".join(parts)


def refused_with(answer: bytes) -> tuple[int, str]:
    """Return the status and the type of the problem in an answer, and check that it is whole and documented."""
    start, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)
    slug = problem["type"].removeprefix(TYPE_PREFIX)
    assert f"x-request-id: {problem['request_id']}".encode() in start
    assert len(problem["request_id"]) == 32
    assert f"| `{slug}` | {problem['status']} |" in DOCS.read_text()
    return int(start.split(b" ", 2)[1]), slug


@pytest.mark.parametrize("line", ["POST /prune", "GET /livez", "PUT /nowhere"])
@pytest.mark.parametrize("endless", [b"a: b\r\n" * 10_000, b"a: " + b"b" * 100_000], ids=["many", "one"])
def test_endless_trailers_take_no_memory(service: RunningService, line: str, endless: bytes) -> None:
    """Trailers without an end after a chunked body are refused, and the memory of the service stays as it is."""
    before = resident_bytes(service.process.pid)
    with connect(service) as connection:
        connection.sendall(head(service, line, CHUNKED) + b"0\r\n")
        with suppress(ConnectionError):
            for _ in range(8_000_000 // len(endless)):
                connection.sendall(endless)
        received(connection)

    assert resident_bytes(service.process.pid) - before < 16 << 20


def test_trailers_do_not_change_the_headers_of_a_request(service: RunningService) -> None:
    """A few trailers are dropped: a trailer is no header of the request, which may be running."""
    with connect(service) as connection:
        body = b"0\r\nx-request-id: from-a-trailer\r\nprefer: respond-async\r\n\r\n"
        connection.sendall(head(service, "POST /engine/release", CHUNKED + "connection: close\r\n") + body)
        answer = received(connection)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"from-a-trailer" not in answer


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("GET /livez", "a: b\r\n" * (MAX_HEADERS + 1)),
        ("GET /livez", "a: b\r\n" * 10_000),
        ("GET /livez", f"a: {'b' * 70_000}\r\n"),
        (f"GET /models?{'a' * 70_000}", ""),
    ],
)
def test_a_head_in_one_read_is_bounded_too(service: RunningService, line: str, headers: str) -> None:
    """A head that is too large is refused although it arrives in one read."""
    with connect(service) as connection:
        connection.sendall(head(service, line, headers))

        assert refused_with(received(connection)) == (431, "head-too-large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"FOO / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET /mod\xffels HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_a_refused_request_has_a_problem_with_an_id_that_the_log_knows(
    service: RunningService, request_bytes: bytes
) -> None:
    """A request that is not valid HTTP gets a documented problem; its id is in the log with the caller's address."""
    with connect(service) as connection:
        connection.sendall(request_bytes)
        answer = received(connection)

    assert refused_with(answer) == (400, "invalid-http")
    found = re.search(rb"x-request-id: (\w+)", answer)
    assert found
    line = json.loads(eventually(lambda: re.search(rf'.*"{found[1].decode()}".*', service.log))[0])
    assert (line["event"], line["client"], line["status"]) == ("request.refused", "127.0.0.1", 400)


@pytest.mark.parametrize(
    "headers",
    [
        "host: localhost\r\n",
        "origin: http://localhost\r\norigin: http://localhost\r\n",
        "authorization: a\r\nauthorization: b\r\n",
        "content-type: application/json\r\ncontent-type: text/plain\r\n",
        "idempotency-key: a\r\nidempotency-key: b\r\n",
    ],
)
def test_a_header_that_may_come_once_is_refused_twice(service: RunningService, headers: str) -> None:
    """Two of a header such as Host are refused: a proxy and this service could each believe another one."""
    with connect(service) as connection:
        connection.sendall(head(service, "GET /models", headers + "connection: close\r\n"))
        answer = received(connection)

    assert refused_with(answer) == (400, "invalid-http")
    assert b". Send this header once." in answer
    assert b"one Host" not in answer


def test_a_request_without_a_host_is_refused(service: RunningService) -> None:
    """HTTP/1.1 requires a Host."""
    with connect(service) as connection:
        connection.sendall(b"GET /models HTTP/1.1\r\nconnection: close\r\n\r\n")

        assert refused_with(received(connection)) == (400, "invalid-http")


@pytest.mark.parametrize("path", ["/models", "/trash", "/journal", "/engine", "/docs"])
def test_a_caller_that_closes_its_side_gets_the_answer(service: RunningService, path: str) -> None:
    """A caller that closes its sending side after the request, as `nc -N` does, gets the whole answer."""
    with connect(service) as connection:
        connection.sendall(head(service, f"GET {path}"))
        connection.shutdown(socket.SHUT_WR)
        start, _, body = received(connection).partition(b"\r\n\r\n")

    length = re.search(rb"content-length: (\d+)", start)
    assert start.startswith(b"HTTP/1.1 200 ")
    assert length
    assert len(body) == int(length[1])


def test_too_many_pipelined_requests_end_the_connection(service: RunningService) -> None:
    """One read can hold thousands of requests; some are answered, and then the connection ends."""
    with connect(service) as connection:
        connection.sendall(head(service, "GET /livez") * 2000)
        answers = received(connection).count(b"HTTP/1.1 200 ")

    assert 1 <= answers <= MAX_PIPELINED + 1


def test_bytes_that_are_no_request_end_the_connection_after_the_earlier_answer(service: RunningService) -> None:
    """Bytes that are no request end the connection after the answer to the request before them, and are no answer."""
    with connect(service) as connection:
        connection.sendall(head(service, "GET /models") + b"FOO\r\n\r\n")
        answer = received(connection)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("begun", [b"GET /livez HT", b"GET /livez HTTP/1.1\r\nhost: a\r\nx-y: "])
def test_a_slow_head_is_answered_408(hasty: RunningService, begun: bytes) -> None:
    """A head that does not arrive in time is answered 408 and its connection closed."""
    with connect(hasty) as connection:
        connection.sendall(begun)

        assert refused_with(received(connection)) == (408, "head-timed-out")


def test_a_slow_body_is_answered_408(hasty: RunningService) -> None:
    """A body that does not arrive in time is answered 408, whether it has a length or chunks."""
    for length in ("content-length: 100\r\n", CHUNKED):
        with connect(hasty) as connection:
            connection.sendall(head(hasty, "POST /prune", "content-type: application/json\r\n" + length))

            assert refused_with(received(connection)) == (408, "body-timed-out")


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_a_silent_connection_is_closed(hasty: RunningService, sent: bytes) -> None:
    """A connection without a request is closed: a new one, and one after an answer."""
    with connect(hasty) as fresh, connect(hasty) as used:
        fresh.sendall(sent)
        used.sendall(head(hasty, "GET /livez"))
        eventually(lambda: b"alive" in used.recv(1 << 16))
        used.sendall(sent)

        assert received(fresh) == b""
        assert received(used) == b""


def test_idle_connections_give_way_to_new_ones(serve: Serve) -> None:
    """At the limit of connections, the longest idle one is closed for a new one, so idle ones keep nobody out."""
    service = serve(engine_class=ECHO, max_connections=20)
    with ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(connect(service))
        for _ in range(5):
            with connect(service) as connection:
                connection.sendall(head(service, "GET /models/path", "connection: close\r\n"))
                assert received(connection).startswith(b"HTTP/1.1 200 ")
        assert "connections.full" in service.log


def test_probes_are_answered_when_all_connections_have_requests(serve: Serve) -> None:
    """If every connection has a running request, others are answered 503, and probes as always.

    A probe is answered also if its connection was made before the requests of others that were refused.
    """
    service = serve(engine_class=ECHO, max_connections=4)
    with ExitStack() as busy, connect(service) as early:
        for _ in range(4):
            begun = head(service, "POST /prune", "content-type: application/json\r\ncontent-length: 9\r\n")
            busy.enter_context(connect(service)).sendall(begun)
        with connect(service) as connection:

            def refused() -> bool:
                connection.sendall(head(service, "GET /models"))
                return b"too-many-connections" in connection.recv(1 << 16)

            assert eventually(refused, within=30)
        with connect(service) as late:
            for connection in (early, late):
                connection.sendall(head(service, "GET /livez", "connection: close\r\n"))
                assert received(connection).startswith(b"HTTP/1.1 200 ")


def test_http_1_0_gets_no_chunks(service: RunningService) -> None:
    """An answer of unknown length to HTTP/1.0, such as a job's stream, ends with the connection and has no chunks."""
    model = service.models_dir / DEFAULT_MODEL
    model.parent.mkdir(exist_ok=True)
    model.write_bytes(NO_TENSORS)
    service.wait_until_ready()
    job = service.client.post("/ai/spell-check", json={"texts": ["sleep:0.5"]}, headers={"prefer": "respond-async"})
    assert job.status_code == 202, job.text
    with connect(service) as connection:
        target = f"{job.headers['location']}/events"
        connection.sendall(f"GET {target} HTTP/1.0\r\nhost: {urlsplit(service.url).netloc}\r\n\r\n".encode())
        start, _, body = received(connection).partition(b"\r\n\r\n")

    assert b" 200 " in start
    assert b"chunked" not in start
    assert [json.loads(line) for line in body.splitlines() if line]
