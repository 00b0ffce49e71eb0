"""Around every request: its id, its limits, the one line it leaves in the log, and the catch for what nobody caught."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.problems import crash, problem
from app.api.http.request_errors import BodyTooLarge, CrossOrigin, WrongHost
from app.events import EventName

log = structlog.get_logger()

OnRequest = Callable[[str, str | None, int, float], None]
"""Given the method, the route's template or None, the status, and the seconds it took."""

SILENT = {"/livez", "/readyz"}
"""Probes ask every few seconds and would bury everything else."""
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
MAX_ID_CHARS = 128


class RequestLog:
    """Gives each request an id, answers a crash with a problem, and reports and logs it when the answer is out."""

    def __init__(self, app: ASGIApp, *, on_request: OnRequest) -> None:
        self._app = app
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
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
    """Refuses bodies that are too large, hosts that are not ours, and changes that a foreign web page asks for.

    The last two matter where nobody needs a key: a page that a person visits can send requests to 127.0.0.1, under any
    name that its owner's DNS server gives that address.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, allowed_hosts: tuple[str, ...]) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._allowed_hosts = None if "*" in allowed_hosts else frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI defines it."""
        # Probes address a container by its number, and neither take nor tell anything.
        if scope["type"] != "http" or _is_probe(scope):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            self._check_source(scope["method"], headers)
            if _is_upload(scope):
                await self._app(scope, *_closing_if_unread(receive, send) if b"expect" in headers else (receive, send))
                return
            self._check_length(headers)
            await self._app(scope, self._bounded(receive) if _has_body(headers) else receive, send)
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

    def _check_length(self, headers: dict[bytes, bytes]) -> None:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise BodyTooLarge(self._max_body_bytes)

    def _bounded(self, receive: Receive) -> Receive:
        received = 0

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise BodyTooLarge(self._max_body_bytes)
            return message

        return bounded_receive


def _is_probe(scope: Scope) -> bool:
    return scope["path"].removeprefix(scope.get("root_path", "")) in SILENT


def _is_upload(scope: Scope) -> bool:
    """Whether the body is a model's or an image's, for which the route has limits of its own."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if path in {"/ocr", "/ai/table"}:
        return True
    if scope["method"] == "PUT":
        return path.startswith("/models/")
    return (scope["method"] == "POST" and path == "/uploads") or (
        scope["method"] == "PATCH" and path.startswith("/uploads/")
    )


def _closing_if_unread(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """End the connection after an answer to a body that was never asked for: whether it still comes, nobody knows."""
    is_asked_for = False

    async def asking_receive() -> Message:
        nonlocal is_asked_for
        is_asked_for = True
        return await receive()

    async def closing_send(message: Message) -> None:
        if message["type"] == "http.response.start" and not is_asked_for:
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return asking_receive, closing_send


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or b"content-length" in headers


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _request_id(scope: Scope) -> str:
    """The caller's own id where it is a harmless one, so that a request can be followed through several services."""
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
