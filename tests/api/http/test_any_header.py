"""Every header that the service reads, and every query, with any bytes of any length: the answer is never a 500."""

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.uploads.tus import CHUNK_MEDIA_TYPE
from tests.support.clients.tus import begun, upload_metadata
from tests.support.service import RunningService

EXAMPLES = int(os.environ.get("TEST_HEADERS", "250"))
"""How many requests each test sends."""
pytestmark = pytest.mark.timeout(120 + EXAMPLES)
MAX_VALUE_BYTES = 60_000
"""Somewhat less than the bound of a head."""
UPLOAD = {"upload-length": "3", "upload-metadata": upload_metadata(filename="any.bin")}
CHUNK = {"upload-offset": "0", "content-type": CHUNK_MEDIA_TYPE}
REQUESTS: list[tuple[str, str, dict[str, str], bytes]] = [
    ("GET", "/models", {}, b""),
    ("GET", "/models/a.bin", {}, b""),
    ("HEAD", "/models/a.bin", {}, b""),
    ("GET", "/models/a.bin/content", {}, b""),
    ("PUT", "/models/any.bin", {}, b"abc"),
    ("DELETE", "/models/none.bin", {}, b""),
    ("PUT", "/models/a.bin/protection", {"content-type": "application/json"}, b'{"reason": "any"}'),
    ("POST", "/models/a.bin/verify", {}, b""),
    ("OPTIONS", "/uploads", {}, b""),
    ("POST", "/uploads", UPLOAD, b""),
    ("POST", "/uploads", UPLOAD | CHUNK, b"abc"),
    ("PATCH", "/uploads/{id}", CHUNK, b"abc"),
    ("HEAD", "/uploads/{id}", {}, b""),
    ("GET", "/audit", {}, b""),
    ("GET", "/metrics", {}, b""),
    ("GET", "/pulls/20261121T092012Z-0a1b23a56954/events", {}, b""),
    ("POST", "/prune", {"content-type": "application/json"}, b"{}"),
    ("POST", "/ocr", {"content-type": "image/png"}, b"no image"),
    ("POST", "/ai/table", {"content-type": "multipart/form-data; boundary=b"}, b"--b--"),
    ("POST", "/ai/spell-check", {"content-type": "application/json"}, b'{"texts": []}'),
    ("GET", "/readyz", {}, b""),
    ("GET", "/nowhere", {}, b""),
]
VALID = {
    "accept": "text/plain;q=0.5, application/json",
    "accept-encoding": "gzip",
    "authorization": "Bearer ocr_x",
    "content-digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    "content-encoding": "identity",
    "content-range": "bytes 0-2/3",
    "content-type": "multipart/form-data; boundary=b",
    "expect": "100-continue",
    "host": "127.0.0.1",
    "if-match": '"18-18e9fc0680810521"',
    "if-modified-since": "Sun, 22 Nov 2026 06:37:11 GMT",
    "if-none-match": 'W/"18-18e9fc0680810521", *',
    "if-range": '"18"',
    "if-unmodified-since": "Sun, 22 Nov 2026 06:37:11 GMT",
    "last-event-id": "1",
    "origin": "http://127.0.0.1",
    "prefer": "respond-async, wait=10",
    "range": "bytes=0-1",
    "repr-digest": "sha-512=:YWJj:",
    "sec-fetch-site": "same-origin",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "trailer": "upload-checksum",
    "tus-resumable": "1.0.0",
    "upload-checksum": "sha1 Lve95gjOVATpfV8EL5X4nxwjKHE=",
    "upload-concat": "final;/uploads/a",
    "upload-defer-length": "1",
    "upload-length": "3",
    "upload-metadata": "filename YW55LmJpbg==,sha256 YQ==",
    "upload-offset": "0",
    "want-content-digest": "sha-256=1",
    "want-repr-digest": "sha-256=1",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-prefix": "/ocr",
    "x-http-method-override": "PATCH",
    "x-request-id": "4bf92f35",
}
ANY_BYTES = st.binary(max_size=200).map(lambda data: re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"\xe9", data))
VALUES = st.one_of(
    ANY_BYTES,
    st.tuples(st.sampled_from(list(VALID.values())).map(str.encode), ANY_BYTES).map(b"".join),
    st.tuples(ANY_BYTES, st.sampled_from(list(VALID.values())).map(str.encode)).map(b" ".join),
    st.builds(
        lambda piece, size: (piece * size)[:size],
        st.sampled_from([b"9", b'"', b'"",', b"(", b"a,", b"a;q=", b"=", b"\xe9", b"-", b"sha1 ", b"sha-256=:YQ==:,"]),
        st.integers(1, MAX_VALUE_BYTES),
    ),
)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})[^\r]*\r\n((?:[^\r]+\r\n)*)\r\n")


def status_of(service: RunningService, request: bytes) -> int:
    """Send a request as it is on a connection of its own, and return the status of the final answer."""
    address = urlsplit(service.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=120) as connection:
        connection.sendall(request)
        received = b""
        while True:
            answer = STATUS.match(received)
            if answer and not answer[1].startswith(b"1"):
                return int(answer[1])
            received = received[answer.end() :] if answer else received
            data = connection.recv(1 << 16)
            assert data, (request[:300], received)
            received += data


@pytest.fixture(autouse=True)
def clean_up(service: RunningService) -> Iterator[None]:
    """Forget the uploads of a test, also finished ones, and remove the protection that it gives."""
    yield
    service.client.delete("/models/a.bin/protection")  # 404 if the test gave none
    for record in service.models_dir.glob(".store/staging/*.json"):
        service.client.delete(f"/uploads/{record.stem}").raise_for_status()


def test_no_value_of_any_header_is_a_defect(service: RunningService, models: Path) -> None:
    """Any bytes, beyond ASCII, of any length up to the bound of the head, alone and twice: no 500."""
    (models / "a.bin").write_bytes(b"abc")
    path = begun(service, "begun.bin", 3)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        request=st.sampled_from(REQUESTS),
        fields=st.dictionaries(st.sampled_from(list(VALID)), VALUES, min_size=1, max_size=3),
        twice=st.booleans(),
    )
    def send(request: tuple[str, str, dict[str, str], bytes], fields: dict[str, bytes], twice: bool) -> None:  # noqa: FBT001
        method, target, given_fields, body = request
        usual = {"host": urlsplit(service.url).netloc, "content-length": str(len(body)), "connection": "close"}
        lines = [(name, value.encode()) for name, value in (usual | given_fields).items() if name not in fields] + list(
            fields.items()
        ) * (1 + twice)
        head = f"{method} {target.replace('{id}', path.rpartition('/')[2])} HTTP/1.1\r\n".encode()
        head += b"".join(name.encode() + b": " + value + b"\r\n" for name, value in lines) + b"\r\n"
        assert status_of(service, head + body) != 500, lines

    send()
    assert "request.crashed" not in service.log


def test_no_query_is_a_defect(service: RunningService) -> None:
    """Any bytes as a query, percent-encoded or not, with names and values of this API among them: no 500."""
    pieces = st.one_of(
        st.sampled_from(
            [b"limit", b"cursor", b"name", b"dry_run", b"as", b"pages", b"language", b"verbose", b"=", b"&"]
        ),
        st.sampled_from([b"true", b"9" * 5000, b"2-1", b"%", b"%zz", b"%00", b"%ff", b"%ed%a0%80", b";", b"+", b"=="]),
        ANY_BYTES.map(lambda data: re.sub(rb"[\x00-\x20#\x7f]", b"", data)),
        ANY_BYTES.map(lambda data: quote_from_bytes(data).encode()),
    )

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(request=st.sampled_from(REQUESTS), query=st.lists(pieces, min_size=1, max_size=8).map(b"".join))
    def send(request: tuple[str, str, dict[str, str], bytes], query: bytes) -> None:
        method, target, fields, body = request
        usual = {"host": urlsplit(service.url).netloc, "content-length": str(len(body)), "connection": "close"} | fields
        head = f"{method} {target.replace('{id}', '0' * 32)}?".encode() + query + b" HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in usual.items()).encode() + b"\r\n"
        assert status_of(service, head + body) != 500, head

    send()
    assert "request.crashed" not in service.log


def test_bytes_beyond_ascii_are_no_defect(service: RunningService) -> None:
    """Each header with each of these values, for an upload that is created, answers no 500."""
    for field in VALID:
        for value in (b"\xe9", b"filename \xe9", b"sha256 \xe9", b"9" * 5000, b"\xb2"):
            headers: dict[str, Any] = {**UPLOAD, field: value}
            answer = service.client.post("/uploads", headers=headers)
            assert answer.status_code != 500, (field, value)
            if answer.status_code == 201:
                service.client.delete(answer.headers["location"])
