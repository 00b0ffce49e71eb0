"""The middleware that refuses large and slow bodies, unknown host names, and changes requested by other web pages."""

import asyncio
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.checks.body_streams import is_body_streamed
from app.api.http.connections.errors import BodyTimedOut, InvalidHttp, TooManyConnections
from app.api.http.middleware.cross_origin import is_allowed
from app.api.http.middleware.paths import is_probe
from app.api.http.problems import problem
from app.api.http.request_errors import BodyTooLarge, CrossOrigin, WrongHost
from app.api.http.routing import find_endpoint
from app.host_names import authority_of, canonical_host, host_of

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
SINGLE = {b"authorization", b"content-type", b"host", b"idempotency-key", b"origin", b"sec-fetch-site"}
"""Headers that a request may have only once. If one came twice, a proxy and this service could use different values."""


class RequestLimits:
    """Middleware that refuses large bodies, unknown host names, and changes requested by web pages of other origins.

    The checks of host and origin protect a service without keys: any web page that is open in a browser can send
    requests to 127.0.0.1, also under a host name that the page's owner resolves to that address.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        allowed_hosts: Iterable[str],
        body_seconds: float = 60.0,
        allowed_origins: Iterable[str] = (),
    ) -> None:
        """`body_seconds` is how long a body may take on a route that does not stream it.

        Web pages of `allowed_origins` may change something.
        """
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds
        self._allowed_origins = frozenset(allowed_origins)
        self._allowed_hosts = None if "*" in allowed_hosts else frozenset(map(canonical_host, allowed_hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            # Probes address a container by its IP address; they change nothing and reveal nothing.
            if not is_probe(scope):
                self._check_head(scope, headers)
            if _has_body(headers):
                self._check_length(scope, headers)
                receive = self._bounded(scope, receive)
                if b"expect" in headers:
                    receive, send = _closing_if_unread(receive, send)
            await self._app(scope, receive, send)
        except (BodyTooLarge, BodyTimedOut, CrossOrigin, InvalidHttp, TooManyConnections, WrongHost) as exc:
            await problem(Request(scope), exc)(scope, receive, send)

    def _check_head(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if "is_surplus" in scope:
            raise TooManyConnections
        if len(headers) < len(scope["headers"]):
            _require_single(scope["headers"])
        if b"host" not in headers and scope.get("http_version") != "1.0":
            raise InvalidHttp("The request has no Host.")
        _require_utf8(scope)
        self._check_source(scope["method"], headers)

    def _check_source(self, method: str, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._allowed_hosts is not None and host_of(host) not in self._allowed_hosts:
            raise WrongHost(host)
        if method in SAFE_METHODS:
            return
        site, origin = (headers.get(name, b"").decode("latin-1") for name in (b"sec-fetch-site", b"origin"))
        if site in {"same-origin", "none"} or is_allowed(origin, self._allowed_origins):
            return
        # A browser sends at least one of the two with a change, a program neither.
        if site or (origin and not _is_same(origin, host)):
            raise CrossOrigin(origin or f"another site (Sec-Fetch-Site: {site})")

    def _check_length(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        declared = headers.get(b"content-length", b"0")
        is_large = declared.isdigit() and int(declared) > self._max_body_bytes
        # This matches the route a second time, before the router does, so it is done for large bodies only.
        if is_large and not is_body_streamed(find_endpoint(scope)):
            raise BodyTooLarge(self._max_body_bytes)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that raises BodyTooLarge and BodyTimedOut, unless the route streams the body."""
        received, is_whole = 0, False
        deadline = asyncio.get_running_loop().time() + self._body_seconds

        async def bounded_receive() -> Message:
            nonlocal received, is_whole
            # By now the router has put the route's function into the scope.
            if is_whole or is_body_streamed(scope.get("endpoint")):
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTimedOut(self._body_seconds) from None
            received += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if received > self._max_body_bytes:
                raise BodyTooLarge(self._max_body_bytes)
            return message

        return bounded_receive


def _require_single(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise InvalidHttp if a header that a request may have only once is repeated."""
    seen = set()
    for name, _ in headers:
        if name in seen and name in SINGLE:
            raise InvalidHttp(f"The request has more than one {name.decode('latin-1')}.", "Send this header once.")
        seen.add(name)


def _require_utf8(scope: Scope) -> None:
    """Raise InvalidHttp if the path or the query is percent-encoded from bytes that are not UTF-8.

    Starlette and uvicorn would replace such bytes, so that the request would be about a model of another name.
    """
    for what, quoted in (("path", scope.get("raw_path", b"")), ("query", scope["query_string"])):
        if b"%" in quoted:
            try:
                unquote_to_bytes(quoted).decode()
            except UnicodeDecodeError:
                raise InvalidHttp(
                    f"The percent-encoded bytes of the {what} are not UTF-8.", "Encode text as UTF-8 first."
                ) from None


def _is_same(origin: str, host: str) -> bool:
    """Return whether a web page's origin names the same host and port as the request's `Host`."""
    scheme, _, authority = origin.partition("://")
    theirs = authority_of(authority, scheme)
    return theirs is not None and theirs == authority_of(host, scheme)


def _closing_if_unread(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Wrap `receive` and `send` so that the connection is closed after the answer if the body was never read.

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
