"""The tus 1.0 protocol: the class of its routes, and parsers of its headers."""

import base64
import binascii
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from fastapi import Request, Response

from app.api.http.auth import GuardedRoute
from app.api.http.header_fields import coding_of, malformed, media_type_of
from app.api.http.request_errors import UnsupportedBody, UnsupportedTus

TUS_VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
CHECKSUMS = {"sha1": 20, "sha256": 32, "sha512": 64}
"""The algorithms of `Upload-Checksum`, by `hashlib`'s names, and the length of each digest in bytes."""
CHUNK_MEDIA_TYPE = "application/offset+octet-stream"
MAX_STATED_BYTES = 1 << 62
"""The largest number of bytes that a header may state."""
SHA256_HEX = re.compile(r"[0-9a-f]{64}")


class TusRoute(GuardedRoute):
    """A route that sends `Tus-Resumable` with every answer, errors included, and refuses other versions."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that sends `Tus-Resumable` with the answer of the guarded handler."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            request.scope["answer_headers"] = [(b"tus-resumable", TUS_VERSION.encode())]
            return await handle(request)

        return answer

    def unguarded_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that checks the version of tus, if one is sent, and then calls FastAPI's own handler."""
        handle = super().unguarded_handler()

        async def checked(request: Request) -> Response:
            version = request.headers.get("tus-resumable") or TUS_VERSION
            # OPTIONS passes: a client uses it to learn which versions are supported.
            if version != TUS_VERSION and request.method != "OPTIONS":
                raise UnsupportedTus(version)
            return await handle(request)

        return checked


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum that a caller announces for a chunk."""

    algorithm: str
    digest: bytes


def number(request: Request, field: str) -> int:
    """Read a header that holds a number of bytes; raises RequestValidationError."""
    text = request.headers.get(field, "")
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_STATED_BYTES):
        raise malformed(field, "it is required, and must be a number of bytes")
    return int(text)


def metadata(request: Request) -> dict[str, str]:
    """Read `Upload-Metadata` as a dictionary; raises RequestValidationError."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, request.headers.get("upload-metadata", "").split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise malformed("upload-metadata", f"the value of {key!r} is not UTF-8 text in base64") from None
    return found


def name_and_sha256(request: Request) -> tuple[str, str | None]:
    """Read a new upload's model name, and its SHA-256 in hexadecimal if given; raises RequestValidationError."""
    found = metadata(request)
    if "filename" not in found:
        raise malformed("upload-metadata", "it lacks 'filename', the model's name in base64")
    sha256 = found.get("sha256", "").lower() or None
    if sha256 and not SHA256_HEX.fullmatch(sha256):
        raise malformed("upload-metadata", "'sha256' must be 64 hexadecimal digits, encoded in base64 like every value")
    return found["filename"], sha256


def checksum(request: Request) -> Checksum | None:
    """Read `Upload-Checksum`; None without it. Raises RequestValidationError."""
    text = request.headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != CHECKSUMS.get(algorithm):
        raise malformed(
            "upload-checksum", f"it must be one of {', '.join(CHECKSUMS)}, a space, and the digest in base64"
        )
    return Checksum(algorithm, digest)


def has_body(request: Request) -> bool:
    """True if the request has a body; raises UnsupportedBody if the body is not a chunk."""
    is_there = "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"
    if is_there:
        check_media_type(request)
    return is_there


def check_media_type(request: Request) -> None:
    """Check that the body is an unencoded chunk, by its headers; raises UnsupportedBody."""
    media_type, coding = media_type_of(request), coding_of(request)
    if media_type != CHUNK_MEDIA_TYPE or coding is not None:
        what = f"encoded ({coding})" if media_type == CHUNK_MEDIA_TYPE else f"of the type {media_type or 'none'}"
        raise UnsupportedBody(what, f"Send the file's bytes unencoded, as {CHUNK_MEDIA_TYPE}.")


def http_date(moment: datetime) -> str:
    """Format a time for `Upload-Expires`."""
    return format_datetime(moment, usegmt=True)
