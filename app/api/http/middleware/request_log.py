"""The outermost middleware: each request's id and log line, and the answer after a crash or during a shutdown."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import tracing
from app.api.http.connections.errors import OutOfResources, ShuttingDown
from app.api.http.middleware.paths import is_probe
from app.api.http.middleware.trusted_proxies import TrustedProxies
from app.api.http.problems import crash, problem
from app.errors.exhaustion import exhausted_resource
from app.events import EventName
from app.store.aftermath import collect_failures, noted_failures

log = structlog.get_logger()

OnRequest = Callable[[str, str | None, int, float], None]
"""Called with the method, the route's template (None if no route matches), the status, and the time taken in
seconds."""

METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
"""The methods that OpenTelemetry's conventions name; a caller may send any other word."""
SERVER_ERROR = 500
MAX_ID_CHARS = 128
MAX_FORWARDED_CHARS = 200
MAX_WARNING_CHARS = 2000
CLOSING = ((b"connection", b"close"),)
"""Sent while the service drains, so that proxies keep no connection to it."""


class RequestLog:
    """Middleware that gives each request an id, answers a crash with a problem, and logs and reports each answer.

    Behind a trusted proxy it replaces the proxy's address in the scope with the caller's.
    """

    def __init__(self, app: ASGIApp, *, on_request: OnRequest, trusted_proxies: Iterable[str] = ()) -> None:
        self._app = app
        self._on_request = on_request
        self._proxies = TrustedProxies(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = self._read_head(scope)
        if not tracing.is_on() or is_probe(scope):
            await self._serve(scope, receive, send, request_id)
            return
        with tracing.request_span(scope["method"], _span_attributes(scope, request_id), scope["headers"]) as span:
            _describe_answer(span, scope, await self._serve(scope, receive, send, request_id))

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """Serve one request, log it, and return the status of the answer; 0 if there was none."""
        began = time.perf_counter()
        collect_failures()
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
                    *(CLOSING if getattr(scope["app"].state, "is_draining", False) else ()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # Only a shutdown cancels requests. CancelledError is not raised again: uvicorn would answer 500 in plain
            # text.
            if not status:
                await problem(Request(scope), ShuttingDown())(scope, receive, send_with_id)
            else:
                log.warning(EventName.REQUEST_CUT, id=request_id, path=scope["path"], cause="this service stops")
        except Exception as exc:  # noqa: BLE001 - the exception is logged, and answered without its text
            answer = _failure(scope, request_id, exc)
            if not status:
                await answer(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", None)
            self._on_request(scope["method"], route, status, seconds)
            if not is_probe(scope):
                _log_line(scope, request_id, route, status, seconds)
        return status

    def _read_head(self, scope: Scope) -> str:
        """Return the caller's `x-request-id` if it is printable and short, else a new id. Read `x-forwarded-for` too.

        If several services log the caller's id, a request can be found in all their logs.
        """
        request_id, forwarded = None, []
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given: str = value.decode("latin-1")
                if request_id is None and given.isascii() and given.isprintable() and 0 < len(given) <= MAX_ID_CHARS:
                    request_id = given
            elif name == b"x-forwarded-for":  # set by a proxy, but any caller can set it too
                forwarded.append(value)
        if forwarded:
            scope["forwarded_for"] = b", ".join(forwarded)[:MAX_FORWARDED_CHARS].decode("latin-1")
            if self._proxies and scope.get("client"):
                scope["client"] = (self._proxies.caller_of(scope["client"][0], forwarded), 0)
        return request_id or secrets.token_hex(16)


def _span_attributes(scope: Scope, request_id: str) -> tracing.Attributes:
    """Return the attributes of a request's span that are known before the answer. The query may hold secrets."""
    headers = dict(scope["headers"])
    server, client = scope.get("server") or (None, None), scope.get("client") or (None, None)
    return {
        "http.request.method": scope["method"] if scope["method"] in METHODS else "_OTHER",
        "url.scheme": scope["scheme"],
        "url.path": scope["path"],
        "server.address": server[0],
        "server.port": server[1],
        "client.address": client[0],
        "network.protocol.version": scope["http_version"],
        "user_agent.original": headers.get(b"user-agent", b"").decode("latin-1") or None,
        "ocr.request_id": request_id,
    }


def _describe_answer(span: tracing.OneSpan, scope: Scope, status: int) -> None:
    route = getattr(scope.get("route"), "path", None)
    method = scope["method"] if scope["method"] in METHODS else "HTTP"
    span.name(f"{method} {route}" if route else method)
    span.set({"http.route": route, "http.response.status_code": status or None})
    if status == 0 or status >= SERVER_ERROR:
        span.fail(str(status) if status else "no answer")


def _failure(scope: Scope, request_id: str, exc: Exception) -> ASGIApp:
    """Log an unexpected exception, and return the answer: 503 if a resource is lacking, 500 for a defect."""
    if cause := exhausted_resource(exc):
        log.warning(EventName.RESOURCES_EXHAUSTED, id=request_id, cause=cause, path=scope["path"])
        return problem(Request(scope), OutOfResources(cause))
    log.error(EventName.REQUEST_CRASHED, id=request_id, method=scope["method"], path=scope["path"], exc_info=exc)
    return crash(Request(scope))


def _change_warnings() -> list[tuple[bytes, bytes]]:
    """Return the header `change-warning`, which says what failed after a change was made; empty if nothing failed."""
    failures = noted_failures()
    text = "; ".join(failures)[:MAX_WARNING_CHARS].encode("ascii", "backslashreplace")
    return [(b"change-warning", b"the change was made, but " + text.replace(b"\n", b" "))] if failures else []


def _log_line(scope: Scope, request_id: str, route: str | None, status: int, seconds: float) -> None:
    fields: dict[str, Any] = {"key": key} if (key := scope.get("key_name")) else {}
    if "forwarded_for" in scope:
        fields["forwarded_for"] = scope["forwarded_for"]
    client = scope.get("client")
    log.info(
        EventName.REQUEST,
        id=request_id,
        client=client[0] if client else None,
        method=scope["method"],
        route=route,
        path=scope["path"],
        status=status,
        duration_ms=round(seconds * 1000, 2),
        **fields,
    )
