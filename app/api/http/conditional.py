"""Conditional requests (RFC 9110): 304 without a body if the caller already has the answer."""

import hashlib
import re
from typing import Any

from fastapi import Request
from starlette.responses import Response

from app.api.http.header_fields import JSON, malformed
from app.store import Conditions

CACHING = {"cache-control": "no-cache"}
"""Caches may store the answer, and must revalidate it before each use."""
ETAG = re.compile(r'(?:W/)?"[^"]*"')
"""Matches one entity tag of a condition."""
NO_ETAG = re.compile(r"[^\s,]")
"""Matches the text that remains of a malformed condition after its entity tags are removed."""
ANY = "*"
"""The condition that any version meets. It must not be combined with entity tags (RFC 9110, section 13.1.1)."""
OPAQUE_TAG = re.compile(r'(?:W/)?("[^"]*")')
"""Matches one entity tag. The group is the tag without the prefix `W/` of a weak tag."""

ETAG_HEADER = {
    "etag": {
        "description": "The answer's version; send it as `If-None-Match` to learn whether the answer has changed.",
        "schema": {"type": "string"},
        "example": '"6c1f8d9be8a17a3f2c0a5d1e4b7f9038"',
    },
    "cache-control": {"description": "Always `no-cache`.", "schema": {"type": "string"}, "example": "no-cache"},
}
WITH_ETAG: dict[int | str, dict[str, Any]] = {200: {"headers": ETAG_HEADER}}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The caller already has this version of the answer.", "headers": ETAG_HEADER}
}
IF_NONE_MATCH: dict[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `etag` of an answer that the caller already has; several, separated by commas; or `*` for any.",
    "schema": {"type": "string"},
    "examples": {
        "an answer": {"value": '"6c1f8d9be8a17a3f2c0a5d1e4b7f9038"'},
        "any answer": {"value": "*"},
    },
}
"""For the OpenAPI document only; `Representation` reads the header itself."""


def conditions_of(request: Request) -> Conditions:
    """Return the conditions for publishing a model: the request's `If-Match` and `If-None-Match`."""
    none_of = etags_of(request, "if-none-match")
    # Compared weakly (RFC 9110, section 13.1.2), unlike If-Match.
    weakly = None if none_of is None else frozenset(tag.removeprefix("W/") for tag in none_of)
    return Conditions(etags_of(request, "if-match"), weakly)


def etags_of(request: Request, field: str) -> frozenset[str] | None:
    """Return the entity tags of the condition in a header of a change; None if the request has no such header.

    A malformed condition, such as `*` beside a tag, has no certain meaning. A malformed `If-Match` matches no version.
    A malformed `If-None-Match` would exclude no version, so this function raises RequestValidationError.
    """
    values = request.headers.getlist(field)
    if not values:
        return None
    text = ", ".join(values)
    if text.strip() == ANY:
        return frozenset({ANY})
    tags = frozenset(ETAG.findall(text))
    if tags and not NO_ETAG.search(ETAG.sub("", text)):
        return tags
    if field == "if-none-match":
        raise malformed(field, 'it must be * or the etag of a version, in its quotes, such as "18-18e9fc0680810521"')
    return frozenset()


class Representation:
    """A JSON body with its two answers, 200 and 304. Both are built once and can be sent many times."""

    def __init__(self, body: bytes, etag: str | None = None) -> None:
        """Without `etag`, the ETag is a digest of the body, which is equal in every service and after a restart."""
        self.size = len(body)
        self._etag = etag or f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        headers = {"etag": self._etag} | CACHING
        self._whole = Response(body, media_type=JSON, headers=headers)
        self._unchanged = Response(status_code=304, headers=headers)

    def answer(self, request: Request) -> Response:
        """Return 304 if the request's `If-None-Match` names this version, else the JSON."""
        for name, _ in request.scope["headers"]:
            if name == b"if-none-match":
                break
        else:
            return self._whole  # the usual case, so nothing is allocated for it
        known = ",".join(request.headers.getlist("if-none-match"))
        return self._unchanged if matches(known, self._etag) else self._whole


def matches(known: str, etag: str) -> bool:
    """True if `known`, the value of an `If-None-Match`, is `*` or has this etag, by RFC 9110's weak comparison."""
    return known.strip() == ANY or etag.removeprefix("W/") in OPAQUE_TAG.findall(known)
