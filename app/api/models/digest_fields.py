"""`Content-Digest` and `Repr-Digest` (RFC 9530): the digests that a caller announces for an uploaded model."""

from typing import Any

import http_sf
from fastapi import Request

from app.api.http.header_fields import malformed

ALGORITHMS = {"sha-256": ("sha256", 32), "sha-512": ("sha512", 64)}
"""For each supported algorithm, by its name in the header: its name in `hashlib`, and the length of its digest in
bytes. Digests of other algorithms are ignored."""
FIELDS = ("content-digest", "repr-digest")
"""The headers with digests. Both mean the digest of the model's file, because the service refuses encoded bodies."""

PARAMETERS: list[dict[str, Any]] = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "description": f"{what}, `sha-256` or `sha-512`. It is checked before the model becomes visible (RFC 9530).",
        "schema": {"type": "string"},
        "example": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    }
    for name, what in (("Content-Digest", "The digest of the body"), ("Repr-Digest", "The digest of the model"))
]
"""The parameters in the OpenAPI document; `announced_digests` reads the headers themselves."""


def announced_digests(request: Request) -> dict[str, set[bytes]]:
    """Return every digest that the request announces, by `hashlib`'s name of its algorithm.

    Raises RequestValidationError for a malformed field.
    """
    announced: dict[str, set[bytes]] = {}
    for field in FIELDS:
        if values := request.headers.getlist(field):
            for algorithm, digest in _parse(field, ", ".join(values)).items():
                announced.setdefault(algorithm, set()).add(digest)
    return announced


def _parse(field: str, text: str) -> dict[str, bytes]:
    """Return a header's digests by algorithm.

    Raises RequestValidationError, also for an empty header or a list as a digest.
    """
    try:
        members: Any = http_sf.parse(text.encode("latin-1"), tltype="dictionary")
    except http_sf.StructuredFieldError as exc:
        raise malformed(field, f"it is not a dictionary of digests, such as sha-256=:…: ({exc})") from None
    values = {key: value for key, (value, _) in members.items()}
    if not values or any(isinstance(value, list) for value in values.values()):
        raise malformed(field, "it is not a dictionary of digests, such as sha-256=:…:")
    return {ALGORITHMS[key][0]: _checked(field, key, value) for key, value in values.items() if key in ALGORITHMS}


def _checked(field: str, key: str, value: object) -> bytes:
    length = ALGORITHMS[key][1]
    if not isinstance(value, bytes) or len(value) != length:
        raise malformed(field, f"a {key} digest is {length} bytes in base64 between colons")
    return value
