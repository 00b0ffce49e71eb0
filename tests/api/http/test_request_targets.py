"""Requests whose path, query or head could be read as another request than the caller meant."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.http.test_connections import connect, head, received, refused_with
from tests.support.clients.raw import raw_request
from tests.support.service import RunningService

UPGRADE = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
JSON = "content-type: application/json\r\n"


@pytest.mark.parametrize(
    ("framing", "body"),
    [("content-length: 5\r\n", b"hello"), ("transfer-encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")],
)
def test_an_upgrade_is_ignored_and_the_body_is_read(
    service: RunningService, models: Path, framing: str, body: bytes
) -> None:
    """The model of a client that offers HTTP/2 arrives whole, and further requests on the connection are answered."""
    with connect(service) as connection:
        connection.sendall(head(service, "PUT /models/a.bin", UPGRADE + framing) + body)
        connection.sendall(head(service, "GET /models/a.bin", UPGRADE) * 3)
        connection.sendall(head(service, "GET /livez", "connection: close\r\n"))
        answers = received(connection)

    assert (models / "a.bin").read_bytes() == b"hello"
    assert answers.startswith(b"HTTP/1.1 201 ")
    assert answers.count(b"HTTP/1.1 200 ") == 4


def test_a_head_with_an_upgrade_may_come_in_pieces(service: RunningService, models: Path) -> None:
    """Where the reads of the socket end does not matter."""
    with connect(service) as connection:
        request = head(service, "PUT /models/a.bin", f"{UPGRADE}content-length: 5\r\nconnection: close\r\n") + b"hello"
        for at in range(len(request)):
            connection.sendall(request[at : at + 1])
        assert received(connection).startswith(b"HTTP/1.1 201 ")

    assert (models / "a.bin").read_bytes() == b"hello"


def test_a_dry_run_in_a_body_is_refused_despite_an_upgrade(service: RunningService, models: Path) -> None:
    """A deletion does not lose the body that asks for a dry run, and deletes nothing."""
    (models / "a.bin").write_bytes(b"a")
    body = b'{"dry_run": true}'
    headers = f"{UPGRADE}{JSON}content-length: {len(body)}\r\n".replace("connection: ", "connection: close, ")
    with connect(service) as connection:
        connection.sendall(head(service, "DELETE /models/a.bin", headers) + body)
        assert refused_with(received(connection)) == (422, "invalid-request")

    assert (models / "a.bin").exists()


def test_connect_is_refused(service: RunningService) -> None:
    """The service is no proxy: CONNECT begins no request, whatever follows it."""
    for target in ("127.0.0.1:80", "/models"):
        with connect(service) as connection:
            connection.sendall(head(service, f"CONNECT {target}") + b"anything")
            assert refused_with(received(connection)) == (400, "invalid-http")


@pytest.mark.parametrize("target", ["/models/a.bin#b", "/models/a.bin?dry_run=false#true"])
def test_a_fragment_in_a_path_is_refused(service: RunningService, models: Path, target: str) -> None:
    """The model `a.bin` is not deleted by a client that did not encode the name `a.bin#b`."""
    (models / "a.bin").write_bytes(b"a")
    status, answer = raw_request(service, "DELETE", target)

    assert (status, b"%23" in answer) == (400, True)
    assert (models / "a.bin").exists()


@pytest.mark.parametrize("target", ["/models/%FF", "/models/a%ED%A0%80", "/models/%C3", "/trash/x/restore?as=%FF"])
def test_percent_encoding_of_other_bytes_than_utf_8_is_refused(
    service: RunningService, models: Path, target: str
) -> None:
    """No model gets, or loses its place to, a name with the replacement character instead of the name that was sent."""
    method = "POST" if target.startswith("/trash") else "PUT"
    status, answer = raw_request(service, method, target, b"a" if method == "PUT" else b"")

    assert (status, b"invalid-http" in answer, b"Encode text as UTF-8 first." in answer) == (400, True, True)
    assert [each.name for each in models.iterdir() if each.name != ".store"] == []


def test_a_body_in_another_transfer_coding_is_refused(service: RunningService, models: Path) -> None:
    """Compressed bytes are not kept as the model that they would be once decompressed."""
    for coding in ("gzip, chunked", "deflate,chunked"):
        with connect(service) as connection:
            headers = f"transfer-encoding: {coding}\r\nconnection: close\r\n"
            connection.sendall(head(service, "PUT /models/a.bin", headers) + b"5\r\nhello\r\n0\r\n\r\n")
            assert refused_with(received(connection)) == (415, "unsupported-body")

    assert not (models / "a.bin").exists()


def test_http_1_0_gets_no_interim_answer(service: RunningService) -> None:
    """A caller of HTTP/1.0 would take `100 Continue` for the answer, so its `Expect` is ignored."""
    with connect(service) as connection:
        start = f"PUT /models/a.bin HTTP/1.0\r\nhost: {urlsplit(service.url).netloc}\r\n"
        connection.sendall(f"{start}expect: 100-continue\r\ncontent-length: 1\r\n\r\na".encode())
        assert b" 201 " in received(connection).split(b"\r\n", 1)[0]
    assert httpx.get(f"{service.url}/models/a.bin", timeout=60).status_code == 200


@pytest.mark.parametrize("name", ["Content-Digest", "repr-digest", "Content-MD5", "Upload-Checksum"])
def test_a_digest_in_an_unannounced_trailer_is_refused(service: RunningService, models: Path, name: str) -> None:
    """A model is not kept with a digest that was not checked; another trailer is ignored."""
    for trailer, status in ((f"{name}: sha-256=:AAAA:", b"400"), ("x-more: 1", b"201")):
        with connect(service) as connection:
            headers = "transfer-encoding: chunked\r\nconnection: close\r\n"
            body = f"5\r\nhello\r\n0\r\n{trailer}\r\n\r\n".encode()
            connection.sendall(head(service, "PUT /models/a.bin", headers) + body)
            assert received(connection).split(b" ", 2)[1] == status
        assert (models / "a.bin").exists() == (status == b"201")


@pytest.mark.parametrize(
    "target",
    ["http://elsewhere.example/models/a.bin", "http://a@{host}/models/a.bin", "http://{host}", "models/a.bin"],
)
def test_a_target_that_names_another_host_is_refused(service: RunningService, models: Path, target: str) -> None:
    """A host in the request line that is not that of `Host` is refused, and nothing is deleted."""
    (models / "a.bin").write_bytes(b"a")
    with connect(service) as connection:
        line = f"DELETE {target.format(host=urlsplit(service.url).netloc)}"
        connection.sendall(head(service, line, "connection: close\r\n"))
        assert refused_with(received(connection)) == (400, "invalid-http")

    assert (models / "a.bin").exists()


def test_a_target_that_names_the_same_host_is_served(service: RunningService) -> None:
    """A proxy may send the whole URL, in any spelling of the host."""
    for scheme in ("http", "HTTP"):
        with connect(service) as connection:
            line = f"GET {scheme}://{urlsplit(service.url).netloc}/livez"
            connection.sendall(head(service, line, "connection: close\r\n"))
            assert received(connection).startswith(b"HTTP/1.1 200 ")
