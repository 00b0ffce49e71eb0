"""The middleware that lets web pages of the origins in OCR_CORS_ORIGINS use the service (CORS)."""

from fastapi import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http.problems import problem
from app.api.http.request_errors import CrossOrigin

ANY = "*"
"""The setting that allows every origin."""
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
MAX_AGE_SECONDS = 7200
"""For how long a browser may keep the answer to a preflight, in seconds. Chromium keeps none for longer."""
EXPOSED = (
    "accept-ranges, allow, change-warning, connection, content-digest, content-disposition, content-location, "
    "content-range, etag, location, preference-applied, repr-digest, retry-after, tus-checksum-algorithm, "
    "tus-extension, tus-max-size, tus-resumable, tus-version, upload-expires, upload-length, upload-metadata, "
    "upload-offset, vary, www-authenticate, x-page-warnings, x-request-id, x-served-by, x-truncated-by-evaluation"
)
"""The headers of answers that scripts may read, besides those that CORS always lets them read. A list, because not
every browser knows `*`."""
VARY = (b"vary", b"origin")


def is_allowed(origin: str, allowed: frozenset[str]) -> bool:
    """Return whether pages of an origin may use the service; False for an empty `origin`."""
    return bool(origin) and (ANY in allowed or origin in allowed)


class CorsMiddleware:
    """Answers preflights, and adds the headers of CORS to every answer for a page of an allowed origin.

    Starlette's CORSMiddleware does not fit. Inside `RequestLog` its headers would be missing from the answers to
    crashes and to requests that a shutdown interrupts; outside, a preflight would have no request id and no line in the
    log. It refuses an origin in plain text, and omits `Vary` from answers to other origins, which a cache could then
    send to an allowed one.

    No answer allows credentials: keys are in `Authorization`, which scripts set themselves, and not in cookies.
    """

    def __init__(self, app: ASGIApp, *, origins: frozenset[str]) -> None:
        """`origins` are in the spelling that browsers use, or ANY."""
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI defines it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        allowed = is_allowed(origin, self._origins)
        scope["answer_headers"] = [*scope.get("answer_headers", ()), *self._answer_headers(origin, allowed=allowed)]
        if scope["method"] == "OPTIONS" and origin and b"access-control-request-method" in headers:
            answer = _permission(headers) if allowed else problem(Request(scope), CrossOrigin(origin))
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _answer_headers(self, origin: str, *, allowed: bool) -> list[tuple[bytes, bytes]]:
        is_any = ANY in self._origins
        answered = [] if is_any else [VARY]
        if allowed:
            answered += [
                (b"access-control-allow-origin", ANY.encode() if is_any else origin.encode("latin-1")),
                (b"access-control-expose-headers", EXPOSED.encode()),
            ]
        return answered


def _permission(headers: dict[bytes, bytes]) -> Response:
    """Return the answer to a preflight of an allowed origin, which permits every method and header."""
    answered = {"access-control-allow-methods": METHODS, "access-control-max-age": str(MAX_AGE_SECONDS)}
    if requested := headers.get(b"access-control-request-headers"):
        answered["access-control-allow-headers"] = requested.decode("latin-1")
    if headers.get(b"access-control-request-private-network") == b"true":
        answered["access-control-allow-private-network"] = "true"
    return Response(status_code=204, headers=answered)
