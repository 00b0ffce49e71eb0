"""uvicorn with what it lacks: a bound on a request's head, refusals that are problems, and an end for streams."""

import json
import socket
from collections.abc import Callable
from http import HTTPStatus

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.http.problem_types import TYPE_PREFIX
from app.api.http.problems import MEDIA_TYPE

MAX_HEAD_BYTES = 1 << 16
"""The request line and the headers together. The parser takes any amount, so one connection could take all memory."""


class Server(uvicorn.Server):
    """A server that says when it begins to shut down: it waits for streams to end, and they could not know."""

    def __init__(self, config: uvicorn.Config, *, on_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stopping = on_stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so, and shut down."""
        self._on_stopping()
        await super().shutdown(sockets)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. What cannot even be parsed never reaches the application, so it is answered here."""

    _is_in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"The request line and headers are larger than the {MAX_HEAD_BYTES} bytes that are read.",
                )

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, f"{msg} Send HTTP/1.1, the path percent-encoded.")

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        slug = status.phrase.lower().replace(" ", "-")
        members = {"type": TYPE_PREFIX + slug, "title": status.phrase, "status": status, "detail": detail}
        body = json.dumps(members | {"instance": "", "request_id": ""})
        head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        self.transport.close()
