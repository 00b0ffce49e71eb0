"""One HTTP connection: uvicorn's class, with limits for the memory it uses and the time its caller takes."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.http.connections.close_delimited import send_until_close
from app.api.http.connections.errors import HeadTimedOut, HeadTooLarge, InvalidHttp, OutOfResources
from app.api.http.connections.gate import ConnectionGate
from app.api.http.connections.lingering_close import LingeringClose
from app.api.http.connections.progress import WINDOW_SECONDS, Progress, acknowledged_bytes
from app.api.http.connections.refusals import refusal
from app.api.http.connections.request_target import target_problem
from app.api.http.connections.upgrades import UpgradeIgnoringParser
from app.errors.exhaustion import exhausted_resource

MAX_HEAD_BYTES = 1 << 16
"""The limit for the request line and headers, and for trailers and chunk headers between two pieces of a body.

The parser has no limit, and a parsed header takes about twenty times its bytes of memory. So without this limit one
connection could use all memory.
"""
MAX_HEADERS = 256
UNCHECKED_TRAILERS = {b"repr-digest", b"content-digest", b"digest", b"content-md5", b"upload-checksum"}
"""Trailers with digests. A request that has one is refused, even if it did not announce the trailer: the caller would
believe that the digest is checked."""
MAX_PIPELINED = 64
"""How many complete requests may wait on one connection. One read of the socket can return ten thousand requests."""
MAPPED = "::ffff:"
"""The prefix of an IPv4 address on a socket for both IPv6 and IPv4."""

OnRefused = Callable[[Exception, str, str | None], None]
"""Called with the error, the request's id and the caller's address when a request is refused before any application."""


@dataclass(frozen=True, slots=True)
class CallerTimes:
    """How long a caller may take, in seconds."""

    head_seconds: float
    """How long the head of a request may take to arrive."""
    body_window_seconds: float
    """The time over which the rate of an arriving body is measured; 0 for no limit."""


class HttpConnection(HttpToolsProtocol):
    """One HTTP connection. Requests that cannot be parsed reach no application, so this class answers them.

    `end_if_overdue` must be called every second.
    """

    def __init__(self, *, gate: ConnectionGate, times: CallerTimes, on_refused: OnRefused, **uvicorns: Any) -> None:  # noqa: ANN401
        super().__init__(**uvicorns)
        self.parser = UpgradeIgnoringParser(self)  # type: ignore[assignment]  # it has what uvicorn calls
        self._gate = gate
        self._times = times
        self._on_refused = on_refused
        self._is_in_head = False
        self._head_since: float | None = None
        """The loop's time since which the head of a request is awaited; None if none is, or if uvicorn's keep-alive
        timer runs."""
        self._idle_bytes = 0
        """How many bytes were received since the last complete head, piece of a body, or end of a request."""
        self._trailers = 0
        self._unanswered: deque[RequestResponseCycle] = deque()
        """The requests of the pipeline and the one that runs, in their order."""
        self.received_bytes = 0
        self._refusal: Exception | None = None
        self._closing: LingeringClose
        self._receiving: Progress | None = None
        self._sending: Progress | None = None

    # What the connection receives.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        """Count the connection, and wait for the head of its first request."""
        super().connection_made(transport)
        if self.client and self.client[0].startswith(MAPPED):
            self.client = (self.client[0].removeprefix(MAPPED), self.client[1])
        self._closing = LingeringClose(transport, self.flow, self.loop)
        self._head_since = self.loop.time()
        self._gate.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._gate.forget(self)
        self._closing.forget()
        super().connection_lost(exc)
        for cycle in self._unanswered:  # uvicorn tells only the last request of a pipeline that the connection is lost
            cycle.disconnected = True
            cycle.message_event.set()
        self._unanswered.clear()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes. Refuse the request if its head or trailers, which may span many reads, are too long."""
        if self._closing.has_begun:
            self._closing.drop(data)
            return
        self.received_bytes += len(data)
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HeadTooLarge(f"{MAX_HEAD_BYTES} bytes"))
        if self._head_since is None and self._awaits_head():
            self._head_since = self.loop.time()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio keeps the connection for True
        """Keep the connection for the answer if the caller has sent a whole request and closed only its own direction.

        Such a caller cannot be told from a caller that is gone, so work under `cancel_on_disconnect` is cancelled here.
        """
        if self.cycle is None or self.cycle.response_complete or not self._closing.is_between:
            return False
        if self.cycle.scope.get("ends_on_disconnect"):
            return False
        self.cycle.keep_alive = False
        return True

    # The parser's callbacks. An exception in one of these methods ends the parsing, and uvicorn calls
    # `send_400_response`.

    def on_message_begin(self) -> None:
        """Expect the head of a request."""
        self._is_in_head, self._closing.is_between = True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. Drop a trailer: no route uses one, and it must not change the headers of a running request."""
        if self._is_in_head:
            HttpToolsProtocol.on_header(self, name, value)  # `super()` takes time for each header
            return
        self._trailers += 1
        if self._trailers > MAX_HEADERS:
            self._stop_parsing(HeadTooLarge(f"{MAX_HEADERS} trailers"))
        if name.lower() in UNCHECKED_TRAILERS:
            self._stop_parsing(InvalidHttp(f"Trailers are not read, so {name.decode('latin-1')} must be a header."))

    def on_headers_complete(self) -> None:
        """Begin a request if its head is within the limits. Mark the request as surplus if the gate refuses it."""
        if self.parser.get_method() == b"CONNECT":
            self._stop_parsing(InvalidHttp("The service is not a proxy, so it does not support CONNECT."))
        if self.parser.should_upgrade():
            return
        if (b"#" in self.url or not self.url.startswith(b"/")) and (wrong := target_problem(self.url, self.headers)):
            self._stop_parsing(InvalidHttp(wrong))
        if self._idle_bytes > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:  # one read may hold more
            self._stop_parsing(HeadTooLarge(f"{MAX_HEAD_BYTES} bytes"))
        if len(self.headers) > MAX_HEADERS:
            self._stop_parsing(HeadTooLarge(f"{MAX_HEADERS} headers"))
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(InvalidHttp(f"More than {MAX_PIPELINED} requests wait on this connection."))
        if not self._gate.begin_request(self):
            self.scope["is_surplus"] = True  # type: ignore[typeddict-unknown-key]  # our key, for RequestLimits
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # such a caller does not know interim answers
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        self.cycle.transport = self._closing  # type: ignore[assignment]  # it has what the cycle calls
        self._is_in_head, self._head_since, self._idle_bytes, self._trailers = False, None, 0, 0
        if self.scope["http_version"] == "1.0":
            self.cycle.send = send_until_close(self.cycle)  # type: ignore[assignment,method-assign]  # its messages are typed as dicts

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body for the application."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request was received to its end."""
        if self.parser.should_upgrade():
            return
        self._closing.is_between, self._idle_bytes = True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the next request of the pipeline. If there is none, the connection becomes idle."""
        if self._unanswered:
            self._unanswered.popleft()
        if self._closing.has_begun:
            self.server_state.total_requests += 1
            self._gate.end_request(self)
            return
        super().on_response_complete()
        if self.cycle.response_complete:
            self._gate.end_request(self)

    # What ends the connection.

    def end_if_overdue(self, now: float) -> None:
        """Refuse a head that takes too long; end a connection that moves too few bytes.

        `now` is the event loop's time.
        """
        is_overdue = self._head_since is not None and now - self._head_since > self._times.head_seconds
        if is_overdue and not self._closing.has_begun:
            self._head_since = None
            if self._is_in_head:
                self._refuse(HeadTimedOut(self._times.head_seconds))
            else:
                self.transport.close()
        self._end_if_stalled(now)

    def shutdown(self) -> None:
        """Close the connection, after the answer to the running request if there is one."""
        if self._receives_body() and self.cycle.response_complete:
            self._closing.close()
        elif not self._closing.has_begun:
            super().shutdown()

    def evict(self) -> None:
        """Close the connection at once, so that another connection can take its place."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that cannot be parsed with a problem."""
        exc = sys.exc_info()[1]  # the parser's exception; its context is the exception of a method of this class
        cause = exhausted_resource(exc.__context__) if exc else None
        self._refuse(self._refusal or (OutOfResources(cause) if cause else InvalidHttp(msg)))

    def _end_if_stalled(self, now: float) -> None:
        """End the connection if the caller takes the answer, or sends a body, too slowly."""
        window_seconds = self._body_window_seconds()
        if window_seconds and not self.flow.read_paused:
            self._receiving = self._receiving or Progress(now, self.received_bytes, window_seconds)
            if self._receiving.is_stalled(now, self.received_bytes):
                self.transport.abort()
        else:
            self._receiving = None
        if self.transport.get_write_buffer_size():
            with contextlib.suppress(OSError):  # it is being closed
                count = acknowledged_bytes(self.transport.get_extra_info("socket"))
                self._sending = self._sending or Progress(now, count, WINDOW_SECONDS)
                if self._sending.is_stalled(now, count):
                    self.transport.abort()
        else:
            self._sending = None

    def _body_window_seconds(self) -> float:
        """Return the seconds over which the rate of the arriving body is measured; 0 if no body is due.

        Once the answer has been sent, the rest of the body is measured over WINDOW_SECONDS.
        """
        if not self._receives_body():
            return 0
        return WINDOW_SECONDS if self.cycle.response_complete else self._times.body_window_seconds

    def _receives_body(self) -> bool:
        return self.cycle is not None and not self._closing.is_between and not self._is_in_head

    def _awaits_head(self) -> bool:
        return self._is_in_head or (self._closing.is_between and (self.cycle is None or self.cycle.response_complete))

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)

    def _stop_parsing(self, exc: Exception) -> NoReturn:
        self._refusal = exc
        raise exc

    def _refuse(self, exc: Exception) -> None:
        """Answer with a problem and close the connection.

        If an earlier request has no answer yet, the connection closes after the answer to that request, without a
        problem. If the answer to this request has begun, the connection closes at once, without a problem.
        """
        if self.transport.is_closing() or self._closing.has_begun:
            return
        if self.cycle is not None and not self.cycle.response_complete and not self._receives_body():
            self.cycle.keep_alive = False  # send the answers to earlier requests first, then close
            return
        if (
            self._receives_body() and self.cycle.response_started
        ):  # the bad bytes belong to a request whose answer has begun
            self.transport.abort()
            return
        request_id, answer = refusal(exc, self._path(), self.server_state.default_headers)
        self._on_refused(exc, request_id, self.client[0] if self.client else None)
        self.transport.write(answer)
        self._closing.begin()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _path(self) -> str:
        if self.url:
            with contextlib.suppress(httptools.HttpParserError, UnicodeDecodeError):
                return (httptools.parse_url(self.url).path or b"").decode("ascii")
        return ""
