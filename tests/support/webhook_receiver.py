"""A receiver of webhooks: a real HTTP server that keeps every request and answers as a test has told it."""

import base64
import contextlib
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook

from tests.support.waiting import eventually


def new_secret() -> str:
    """Return a new secret, as docs/webhooks.md makes one."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


@dataclass(frozen=True)
class Reply:
    """How the receiver answers one request."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None
    """Answer only when this is set."""
    is_cut: bool = False
    """Close the connection instead."""
    is_dripping: bool = False
    """Send a head that does not end, a byte now and then."""
    is_endless: bool = False
    """Send a body that does not end until the sender closes the connection."""
    is_without_body: bool = False
    """Send a head, but not the body that it announces."""


@dataclass(frozen=True)
class Sent:
    """One request that the receiver got."""

    path: str
    """The path with the query."""
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    at: float
    """The monotonic time."""

    @property
    def id(self) -> str:
        """The webhook's id."""
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """Return the event. Raises WebhookVerificationError if its signature is not that of the secret."""
        return dict(Webhook(secret).verify(self.body, self.headers))


class _Server(ThreadingHTTPServer):
    receiver: "WebhookReceiver"
    closing: threading.Event


class WebhookReceiver:
    """The server. As a context manager, it runs on a free port of a loopback address."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.sent: list[Sent] = []
        self.replies: dict[str, deque[Reply]] = defaultdict(deque)
        """The answers to the next requests, by path without the query; 200 when there are none left."""
        self.failing: Callable[[], bool] = lambda: False
        """Called at each request without a reply of its own: True to answer 503."""
        self.on_sent: Callable[[Sent], object] = lambda _: None
        """Called with each request when it arrives; if it raises, the request gets no answer."""
        self._server = _Server((host, 0), _Handler)
        self._server.receiver, self._server.closing = self, threading.Event()
        self.url = f"http://{host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def to(self, path: str) -> list[Sent]:
        """Return the requests to a path, with any query."""
        return [each for each in self.sent if each.path.partition("?")[0] == path]

    def wait_for(self, path: str, count: int = 1) -> list[Sent]:
        """Wait until so many requests to a path have arrived, and return all of them."""
        return eventually(lambda: found if len(found := self.to(path)) >= count else None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the sender was killed
            super().handle()

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the sender was killed before it had sent the event
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        sent = Sent(self.path, headers, body, time.monotonic())
        self.server.receiver.sent.append(sent)
        self.server.receiver.on_sent(sent)
        self.do_GET()

    def do_GET(self) -> None:
        replies = self.server.receiver.replies[self.path.partition("?")[0]]
        reply = replies.popleft() if replies else Reply(503 if self.server.receiver.failing() else 200)
        while reply.gate and not reply.gate.wait(0.05):
            if self.server.closing.is_set():
                self.close_connection = True
                return
        if reply.is_cut:
            self.close_connection = True
            return
        try:
            self._answer(reply)
        except OSError:  # the sender has given up, or was killed
            self.close_connection = True

    def _answer(self, reply: Reply) -> None:
        if reply.is_dripping:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-more: ")
        while reply.is_dripping and not self.server.closing.wait(0.1):
            self.wfile.write(b"x")
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "1000000000" if reply.is_endless or reply.is_without_body else "0")
        self.end_headers()
        if reply.is_without_body:
            self.server.closing.wait()
        while reply.is_endless and not self.server.closing.is_set():
            self.wfile.write(bytes(1 << 12))

    def log_message(self, *_: object) -> None:
        pass
