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
from app.api.http.header_fields import malformed, media_type_of, single_value
from app.api.http.request_errors import UnsupportedBody, UnsupportedChecksum, UnsupportedTus

TUS_VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
CHECKSUMS = {"sha1": 20, "sha256": 32, "sha512": 64}
"""The algorithms of `Upload-Checksum`, by `hashlib`'s names, and the length of each digest in bytes."""
CHUNK_MEDIA_TYPE = "application/offset+octet-stream"
MAX_STATED_BYTES = 1 << 62
"""The largest number of bytes that a header may state."""
MAX_DIGITS = 30
MAX_METADATA_CHARS = 8192
"""The longest `Upload-Metadata`, which is kept in the upload's record."""
SHA256_HEX = re.compile(r"[0-9a-f]{64}")
METADATA_KEY = re.compile(r"[!-+\--~]+")
"""Matches a key of `Upload-Metadata`: ASCII without blanks and commas."""
MODELS, IMAGES = "models", "images"
"""The values of `purpose` in `Upload-Metadata`: what the file is for. The first is the default."""
UNSUPPORTED = {
    "upload-concat": "parallel uploads of one file (the extension 'concatenation' of tus) are not supported; send the "
    "file in one upload: in tus-js-client and Uppy, leave out 'parallelUploads'",
    "upload-defer-length": "an upload without a size (the extension 'creation-defer-length' of tus) is not supported; "
    "send Upload-Length: in tus-js-client, leave out 'uploadLengthDeferred' and, for a stream, set 'uploadSize'",
}
"""The headers of extensions that are not supported, and what the caller should do instead."""
DIGEST_FIELDS = {"repr-digest", "content-digest", "digest", "content-md5"}
REPEATED_LENGTH = "upload-length"
"""The header of an upload's length, which some clients repeat with each PATCH."""


class TusRoute(GuardedRoute):
    """A route that refuses other versions of tus, and headers of tus that the route does not read."""

    def unguarded_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that checks the headers of tus, and then calls FastAPI's own handler."""
        handle = super().unguarded_handler()
        parameters = (self.openapi_extra or {}).get("parameters", [])
        known = {REPEATED_LENGTH} | {parameter["name"].lower() for parameter in parameters}

        async def checked(request: Request) -> Response:
            # OPTIONS passes: a client uses it to learn which versions are supported.
            if request.method != "OPTIONS":
                version = single_value(request, "tus-resumable") or TUS_VERSION
                if version != TUS_VERSION:
                    raise UnsupportedTus(version)
                _check_fields(request, known)
            return await handle(request)

        return checked


def _check_fields(request: Request, known: set[str]) -> None:
    """Refuse headers of tus that the route does not read, and headers with a digest.

    Raises RequestValidationError.
    """
    for field in request.headers.keys():  # noqa: SIM118 - iterating over the headers themselves is slower
        if field == "upload-extension":  # some clients name the extension that they use
            if not set(map(str.strip, request.headers[field].split(","))) <= set(EXTENSIONS.split(",")):
                raise malformed(field, f"the extensions are {EXTENSIONS}")
        elif field in UNSUPPORTED:
            raise malformed(field, UNSUPPORTED[field])
        elif field.startswith(("upload-", "tus-")) and field not in known:
            raise malformed(field, f"{request.method} does not read this header; leave it out")
        elif field in DIGEST_FIELDS:
            advice = "send the model's SHA-256 as 'sha256' in Upload-Metadata, or a chunk's in Upload-Checksum"
            raise malformed(field, f"it is not checked here; {advice}")


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum that a caller announces for a chunk."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the `Upload-Metadata` of a new upload says."""

    name: str | None
    """The model's name, or that of a file for a job, which may have none."""
    is_for_job: bool
    """True for a file that a job is to read, false for a model."""
    sha256: str | None
    """The SHA-256 of the whole file in hexadecimal, or None."""
    text: str
    """The text of the header `Upload-Metadata`, which the answer to `HEAD` returns."""


def number(request: Request, field: str) -> int:
    """Read a header that holds a number of bytes; raises RequestValidationError."""
    text = single_value(request, field) or ""
    if not (text.isascii() and text.isdigit()):
        raise malformed(field, "it is required, and must be a number of bytes")
    # The length is checked first, because Python refuses to convert thousands of digits.
    if len(text) > MAX_DIGITS or int(text) > MAX_STATED_BYTES:
        raise malformed(field, f"it must be at most {MAX_STATED_BYTES} bytes")
    return int(text)


def metadata(request: Request) -> Metadata:
    """Read the header `Upload-Metadata`. Raises RequestValidationError."""
    field = "upload-metadata"
    text = ",".join(request.headers.getlist(field))
    if len(text) > MAX_METADATA_CHARS:
        raise malformed(field, f"it is longer than {MAX_METADATA_CHARS} characters")
    found: dict[str, str] = {}
    pairs = [pair.strip(" \t") for pair in text.split(",")]
    for pair in filter(None, pairs):
        key, _, value = pair.partition(" ")
        decoded = _decoded(value)
        if not METADATA_KEY.fullmatch(key) or key in found:
            raise malformed(field, f"the key {key!r} is not ASCII, or is given twice")
        try:
            found[key] = (decoded or b"").decode()
        except UnicodeDecodeError:
            decoded = None
        if decoded is None:
            raise malformed(field, f"the value of {key!r} is not UTF-8 text in base64")
    purpose = found.get("purpose", MODELS)
    if purpose not in {MODELS, IMAGES}:
        raise malformed(field, f"'purpose' must be {MODELS!r} or {IMAGES!r}, encoded in base64 like every value")
    if purpose == MODELS and "filename" not in found:
        raise malformed(
            field,
            "it lacks 'filename', the model's name in base64; "
            "for a file of a job, it needs the purpose 'images' instead",
        )
    sha256 = found.get("sha256", "").lower() or None
    if sha256 and not SHA256_HEX.fullmatch(sha256):
        raise malformed(field, "'sha256' must be 64 hexadecimal digits, encoded in base64 like every value")
    return Metadata(found.get("filename"), purpose == IMAGES, sha256, ",".join(filter(None, pairs)))


def metadata_of(name: str, sha256: str | None) -> str:
    """Build the `Upload-Metadata` of an upload from its name and digest, for a record that does not hold the header."""
    pairs = {"filename": name, "sha256": sha256}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items() if value)


def checksum(request: Request) -> Checksum | None:
    """Read the header `Upload-Checksum`; None if it was not sent.

    Raises RequestValidationError and UnsupportedChecksum.
    """
    text = single_value(request, "upload-checksum")
    if text is None:
        return None
    algorithm, blank, value = text.partition(" ")
    if blank and algorithm not in CHECKSUMS:
        raise UnsupportedChecksum(", ".join(CHECKSUMS))
    digest = _decoded(value)
    if digest is None or len(digest) != CHECKSUMS.get(algorithm):
        raise malformed(
            "upload-checksum", f"it must be one of {', '.join(CHECKSUMS)}, a space, and the digest in base64"
        )
    return Checksum(algorithm, digest)


def _decoded(value: str) -> bytes | None:
    """Decode the base64 value of a header; None if the value is not valid base64."""
    try:
        return base64.b64decode(value.strip(" \t").encode("latin-1"), validate=True)
    except binascii.Error:
        return None


def check_media_type(request: Request) -> None:
    """Raise UnsupportedBody if the body's media type is not the media type of a tus chunk."""
    if (media_type := media_type_of(request)) != CHUNK_MEDIA_TYPE:
        raise UnsupportedBody(f"of the type {media_type or 'none'}", f"Send the file's bytes as {CHUNK_MEDIA_TYPE}.")


def http_date(moment: datetime) -> str:
    """Format a time for `Upload-Expires`."""
    return format_datetime(moment, usegmt=True)
