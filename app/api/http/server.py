"""uvicorn with a limit for request heads, problems for unparsable requests, and a callback before shutdown."""

import json
import socket
from collections.abc import Callable
from http import HTTPStatus

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.http.problem_types import TYPE_PREFIX, slug_of
from app.api.http.problems import PROBLEM_MEDIA_TYPE

MAX_HEAD_BYTES = 1 << 16
"""The limit for the request line and headers. The parser has no limit, so one connection could take all memory."""


class Server(uvicorn.Server):
    """A uvicorn server that calls `on_stopping` before it shuts down, to end the streams that a shutdown waits for."""

    def __init__(self, config: uvicorn.Config, *, on_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stopping = on_stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Call `on_stopping`, then shut down."""
        self._on_stopping()
        await super().shutdown(sockets)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One HTTP connection. It answers unparsable requests itself, because they never reach the application."""

    _is_in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """Start to count a request's head."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the head is complete."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and refuse the request if its head exceeds the limit."""
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"The request line and headers are larger than the limit of {MAX_HEAD_BYTES} bytes.",
                )

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not valid HTTP with a problem."""
        self._refuse(HTTPStatus.BAD_REQUEST, f"{msg} Send HTTP/1.1 with a percent-encoded path.")

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        members = {"type": TYPE_PREFIX + slug_of(status), "title": status.phrase, "status": status, "detail": detail}
        body = json.dumps(members | {"instance": "", "request_id": ""})
        head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        self.transport.close()
