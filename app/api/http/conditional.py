"""Conditional requests (RFC 9110): an answer that the caller still has is a 304 without a body."""

import hashlib
import re
from typing import Any

from fastapi import Request
from starlette.responses import Response

from app.store.incoming.incoming import Conditions

JSON = "application/json"
CACHING = {"cache-control": "no-cache"}
"""Keep it, and ask each time whether it is still so."""
ETAG = re.compile(r'\*|(?:W/)?"[^"]*"')
"""One of those that a condition names, compared as it is; '*' is any."""
OPAQUE_TAG = re.compile(r'(?:W/)?("[^"]*")')

ETAG_HEADER = {
    "etag": {
        "description": "What this answer is known by; send it as `If-None-Match` to learn whether it is still so.",
        "schema": {"type": "string"},
        "example": '"6c1f8d9be8a17a3f2c0a5d1e4b7f9038"',
    },
    "cache-control": {"description": "Always `no-cache`.", "schema": {"type": "string"}, "example": "no-cache"},
}
WITH_ETAG: dict[int | str, dict[str, Any]] = {200: {"headers": ETAG_HEADER}}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The caller has this answer already.", "headers": ETAG_HEADER}
}
IF_NONE_MATCH: dict[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `etag` of an answer that the caller has, several with commas between, or `*`.",
    "schema": {"type": "string"},
    "examples": {
        "an answer": {"value": '"6c1f8d9be8a17a3f2c0a5d1e4b7f9038"'},
        "any answer": {"value": "*"},
    },
}
"""For the OpenAPI document alone: nothing reads it from there."""


def conditions_of(request: Request) -> Conditions:
    """Which versions of a model a request lets a publication meet."""
    return Conditions(_etags(request, "if-match"), _etags(request, "if-none-match"))


def _etags(request: Request, field: str) -> frozenset[str] | None:
    values = request.headers.getlist(field)
    return frozenset(ETAG.findall(", ".join(values))) if values else None


class Representation:
    """Some JSON, with the answers that give it. It may be given any number of times."""

    def __init__(self, body: bytes, etag: str | None = None) -> None:
        """Without an `etag` it is a digest of the body: the same from every replica, and after a restart."""
        self.size = len(body)
        self._etag = etag or f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        headers = {"etag": self._etag} | CACHING
        self._whole = Response(body, media_type=JSON, headers=headers)
        self._unchanged = Response(status_code=304, headers=headers)

    def answer(self, request: Request) -> Response:
        """What to answer to this request: the JSON, or that the caller has it."""
        for name, _ in request.scope["headers"]:
            if name == b"if-none-match":
                break
        else:
            return self._whole  # nearly every request, without making anything for it
        known = ",".join(request.headers.getlist("if-none-match"))
        return self._unchanged if matches(known, self._etag) else self._whole


def matches(known: str, etag: str) -> bool:
    """Whether an `If-None-Match` names this etag or any; compared weakly, as the RFC has it."""
    return known.strip() == "*" or etag.removeprefix("W/") in OPAQUE_TAG.findall(known)
