"""Middleware for `/uploads`: adds the headers of every tus answer, and applies `X-HTTP-Method-Override`."""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http.header_fields import malformed
from app.api.http.problems import problem
from app.api.uploads.tus import TUS_VERSION

PREFIX = "/uploads"
OVERRIDE = b"x-http-method-override"
METHODS = {"GET": "GET", "HEAD": "GET", "PATCH": "PATCH", "DELETE": "DELETE", "OPTIONS": "OPTIONS", "POST": "POST"}
"""The methods that `X-HTTP-Method-Override` of a POST may name. HEAD is answered as GET, because a POST's answer has a
body."""
ANSWER_HEADERS = [(b"tus-resumable", TUS_VERSION.encode()), (b"cache-control", b"no-store")]


class TusMiddleware:
    """Adds the headers of tus to every answer below `/uploads`, errors included, and reads `X-HTTP-Method-Override`.

    A client sends `X-HTTP-Method-Override` if its environment, or a proxy before the service, supports no PATCH and
    DELETE.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI defines it."""
        if scope["type"] == "http" and _is_upload(scope):
            scope["answer_headers"] = [*scope.get("answer_headers", ()), *ANSWER_HEADERS]
            given = [value.decode("latin-1").strip() for name, value in scope["headers"] if name == OVERRIDE]
            if given:
                if scope["method"] != "POST" or len(given) > 1 or given[0] not in METHODS:
                    reason = f"send it once, with POST, and one of {', '.join(METHODS)}"
                    await problem(Request(scope), malformed(OVERRIDE.decode(), reason))(scope, receive, send)
                    return
                scope["method"] = METHODS[given[0]]
        await self._app(scope, receive, send)


def _is_upload(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path == PREFIX or path.startswith(PREFIX + "/")
