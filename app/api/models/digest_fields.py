"""`Content-Digest` and `Repr-Digest` (RFC 9530): what a caller says that its bytes come to."""

import base64
import binascii
import re
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError

ALGORITHMS = {"sha-256": ("sha256", 32), "sha-512": ("sha512", 64)}
"""By the name in the field: `hashlib`'s name, and how many bytes such a digest has. Others are ignored."""
FIELDS = ("content-digest", "repr-digest")
"""The same here, where no body is taken that is encoded."""

_ITEM = r'(?::[A-Za-z0-9+/=]*:|"(?:[ !#-\[\]-~]|\\["\\])*"|\?[01]|-?\d+(?:\.\d+)?|[A-Za-z*][!#$%&\'*+.^_`|~\w:/-]*)'
_KEY = r"[a-z*][a-z0-9_.*-]*"
MEMBER = re.compile(rf"({_KEY})(?:=({_ITEM}))?(?:[ ]*;[ ]*{_KEY}(?:={_ITEM})?)*", re.ASCII)
"""One member of a dictionary, as structured fields (RFC 9651) write it; none of a digest's is an inner list."""
COMMA = re.compile(r"[ \t]*,[ \t]*")

PARAMETERS: list[dict[str, Any]] = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "description": f"{what}, `sha-256` or `sha-512`: checked before the model becomes visible (RFC 9530).",
        "schema": {"type": "string"},
        "example": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    }
    for name, what in (("Content-Digest", "The digest of the body"), ("Repr-Digest", "The digest of the model"))
]
"""For the OpenAPI document alone."""


def announced_digests(request: Request) -> dict[str, set[bytes]]:
    """Every digest that the request announces, by `hashlib`'s name of its algorithm.

    Raises RequestValidationError for a field that is malformed.
    """
    announced: dict[str, set[bytes]] = {}
    for field in FIELDS:
        if values := request.headers.getlist(field):
            for algorithm, digest in _parse(field, ", ".join(values)).items():
                announced.setdefault(algorithm, set()).add(digest)
    return announced


def _parse(field: str, text: str) -> dict[str, bytes]:
    digests = {}
    at, text = 0, text.strip(" ")
    while True:
        member = MEMBER.match(text, at)
        if member is None:
            raise _malformed(field, "it is no dictionary of digests, such as sha-256=:…:")
        if member[1] in ALGORITHMS:
            name, length = ALGORITHMS[member[1]]
            digests[name] = _decoded(field, member[1], member[2] or "", length)
        if member.end() == len(text):
            return digests
        comma = COMMA.match(text, member.end())
        if comma is None:
            raise _malformed(field, f"nothing is understood from {text[member.end() :][:20]!r} on")
        at = comma.end()


def _decoded(field: str, algorithm: str, value: str, length: int) -> bytes:
    try:
        digest = base64.b64decode(value.strip(":"), validate=True) if value.startswith(":") else b""
    except binascii.Error:
        digest = b""
    if len(digest) != length:
        raise _malformed(field, f"a {algorithm} digest is {length} bytes in base64 between colons")
    return digest


def _malformed(field: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("header", field), "msg": message}])
