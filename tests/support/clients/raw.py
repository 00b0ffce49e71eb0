"""Requests that HTTP clients do not send: partial requests, slow bodies and unnormalised paths."""

import re
import socket
from typing import Protocol
from urllib.parse import urlsplit


class HasUrl(Protocol):
    """A service, or a proxy in front of one."""

    @property
    def url(self) -> str:
        """The URL that callers use."""


def raw_request(service: HasUrl, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request target unchanged, which HTTP clients would normalise. Return the status and the whole answer."""
    address = urlsplit(service.url)
    head = f"{method} {target} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-length: {len(body)}\r\nconnection: close"
    with socket.create_connection((address.hostname, address.port), timeout=120) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return int(answer.split(b" ", 2)[1]), answer


class RawPut:
    """A `PUT` request whose bytes the test sends. As a context manager, it closes the connection."""

    method = "PUT"

    def __init__(self, service: HasUrl, path: str, **headers: object) -> None:
        """Header names have `_` for `-`."""
        address = urlsplit(service.url)
        self.connection = socket.create_connection((address.hostname, address.port), timeout=120)
        lines = [f"{self.method} {path} HTTP/1.1", f"host: {address.netloc}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def __enter__(self) -> "RawPut":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self) -> bytes:
        """Return the next answer with its body; empty if the service has closed the connection."""
        received = b""
        while b"\r\n\r\n" not in received:
            if not (data := self.connection.recv(1 << 16)):
                return received
            received += data
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += self.connection.recv(1 << 16)
        return head + b"\r\n\r\n" + body


class RawPatch(RawPut):
    """A `PATCH` request whose bytes the test sends."""

    method = "PATCH"


class RawPost(RawPut):
    """A `POST` request whose bytes the test sends."""

    method = "POST"


class RawGet(RawPut):
    """A `GET` request, whose connection the test may close before the answer."""

    method = "GET"
