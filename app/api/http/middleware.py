"""The middleware of every request: the request's id, limits, log line, and the answer to a crash."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.problems import crash, problem
from app.api.http.request_errors import BodyTooLarge, CrossOrigin, WrongHost
from app.api.http.routing import find_endpoint, is_body_streamed
from app.events import EventName
from app.store.aftermath import collect_failures, noted_failures

log = structlog.get_logger()

OnRequest = Callable[[str, str | None, int, float], None]
"""Called with the method, the route's template or None, the status, and the seconds taken."""

PROBES = {"/livez", "/readyz"}
"""The paths of probes. They are called every few seconds and not logged."""
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
MAX_ID_CHARS = 128
MAX_WARNING_CHARS = 2000


class RequestLog:
    """Middleware that gives each request an id, answers a crash with a problem, and logs and reports each answer."""

    def __init__(self, app: ASGIApp, *, on_request: OnRequest) -> None:
        self._app = app
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        collect_failures()
        request_id = scope["request_id"] = _request_id(scope)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *scope.get("answer_headers", ()),
                    *_change_warnings(),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception(EventName.REQUEST_CRASHED, id=request_id, method=scope["method"], path=scope["path"])
            if not status:
                await crash(Request(scope))(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", None)
            self._on_request(scope["method"], route, status, seconds)
            if not _is_probe(scope):
                _log_line(scope, request_id, route, status, seconds)


class RequestLimits:
    """Middleware that refuses large bodies, unknown host names, and changes requested by web pages of other origins.

    The checks of host and origin protect a service without keys: any web page that is open in a browser can send
    requests to 127.0.0.1, also under a host name that the page's owner resolves to that address.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, allowed_hosts: tuple[str, ...]) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._allowed_hosts = None if "*" in allowed_hosts else frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI defines it."""
        # Probes address a container by its IP address; they change nothing and reveal nothing.
        if scope["type"] != "http" or _is_probe(scope):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            self._check_source(scope["method"], headers)
            if _has_body(headers):
                self._check_length(scope, headers)
                receive = self._bounded(scope, receive)
                if b"expect" in headers:
                    receive, send = _closing_if_unread(receive, send)
            await self._app(scope, receive, send)
        except (BodyTooLarge, CrossOrigin, WrongHost) as exc:
            await problem(Request(scope), exc)(scope, receive, send)

    def _check_source(self, method: str, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._allowed_hosts is not None and _without_port(host) not in self._allowed_hosts:
            raise WrongHost(host)
        if method not in SAFE_METHODS and (origin := headers.get(b"origin", b"").decode("latin-1")):
            site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
            if site not in {"same-origin", "none"} and origin.partition("://")[2] != host:
                raise CrossOrigin(origin)

    def _check_length(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        declared = headers.get(b"content-length", b"0")
        is_large = declared.isdigit() and int(declared) > self._max_body_bytes
        # Only for a large body, because this matches the route once more than the router does.
        if is_large and not is_body_streamed(find_endpoint(scope)):
            raise BodyTooLarge(self._max_body_bytes)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that raises BodyTooLarge at the limit, unless the route streams the body."""
        received = 0

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # By now the router has put the route's function into the scope.
            if received > self._max_body_bytes and not is_body_streamed(scope.get("endpoint")):
                raise BodyTooLarge(self._max_body_bytes)
            return message

        return bounded_receive


def _change_warnings() -> list[tuple[bytes, bytes]]:
    """Return the header that tells what failed after a change was made; nothing if nothing failed."""
    failures = noted_failures()
    text = "; ".join(failures)[:MAX_WARNING_CHARS].encode("ascii", "backslashreplace")
    return [(b"change-warning", b"the change was made, but " + text.replace(b"\n", b" "))] if failures else []


def _is_probe(scope: Scope) -> bool:
    return scope["path"].removeprefix(scope.get("root_path", "")) in PROBES


def _closing_if_unread(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return a `receive` and a `send` that close the connection after the answer if the body was never read.

    After `Expect: 100-continue` and a final answer, a client may or may not send the body.
    """
    was_read = False

    async def noting_receive() -> Message:
        nonlocal was_read
        was_read = True
        return await receive()

    async def closing_send(message: Message) -> None:
        if message["type"] == "http.response.start" and not was_read:
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return noting_receive, closing_send


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or b"content-length" in headers


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _request_id(scope: Scope) -> str:
    """Return the caller's `x-request-id` if it is printable and short, else a new id.

    With the caller's id, a request can be found in the logs of several services.
    """
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if given.isascii() and given.isprintable() and 0 < len(given) <= MAX_ID_CHARS:
                return given
    return secrets.token_hex(16)


def _log_line(scope: Scope, request_id: str, route: str | None, status: int, seconds: float) -> None:
    fields: dict[str, Any] = {"key": key} if (key := scope.get("key_name")) else {}
    log.info(
        EventName.REQUEST,
        id=request_id,
        method=scope["method"],
        route=route,
        path=scope["path"],
        status=status,
        duration_ms=round(seconds * 1000, 2),
        **fields,
    )
