"""A real HTTP server whose answer never ends: it states no length and sends zeros for as long as the client reads."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = bytes(1 << 16)


class EndlessServer(ThreadingHTTPServer):
    """The server. `sent_bytes` counts what all clients took, and `body` what is sent again and again."""

    daemon_threads = True
    sent_bytes = 0
    body = CHUNK
    status = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - set for each server

    @property
    def url(self) -> str:
        """The URL of the server, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: EndlessServer

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(self.server.body)
                self.server.sent_bytes += len(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the standard library
        """Log nothing."""


@contextlib.contextmanager
def endless_server() -> Iterator[EndlessServer]:
    """Run an endless server until the end of the `with` block."""
    with EndlessServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
