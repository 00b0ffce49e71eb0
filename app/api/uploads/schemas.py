"""What answers about resumable uploads look like on the wire, and the headers that go with them."""

from typing import Any

from pydantic import NonNegativeInt

from app.api.http.schema import Schema, Timestamp
from app.api.uploads.tus import CHECKSUMS, EXTENSIONS, MEDIA_TYPE, VERSION


class UploadOut(Schema):
    """One resumable upload."""

    id: str
    """What names it: `/uploads/{id}`."""
    name: str
    """The model it is to be."""
    offset: NonNegativeInt
    """Where to go on. Everything before it is here; it is the whole size once the model is published."""
    size_bytes: NonNegativeInt
    """How large the model is going to be."""
    published: bool
    """Whether all came and the model is there."""
    active: bool
    """Whether a request is writing it right now."""
    created_by: str
    """Who began it: the name of an API key, or `anonymous`."""
    created_at: Timestamp
    """When it was begun."""
    expires_at: Timestamp
    """When it is given up if nothing more comes."""


class UploadList(Schema):
    """What is unfinished."""

    count: NonNegativeInt
    """How many there are."""
    uploads: list[UploadOut]
    """The uploads, by when they were begun."""


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


def _parameter(name: str, description: str, example: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    described = _header(description, example) | {"name": name, "in": "header", "required": False}
    return described | {"schema": schema} if schema else described


_SIZE: dict[str, Any] = {"type": "integer", "minimum": 0}
RESUMABLE = {"tus-resumable": _header("The version of tus.", VERSION)}
OFFSET = {"upload-offset": {"description": "Where to go on.", "schema": _SIZE, "example": 1048576}}
EXPIRES = {"upload-expires": _header("When it is given up.", "Sun, 22 Nov 2026 06:37:11 GMT")}
PUBLISHED = {
    "content-location": _header("Where the model is; only once it is published.", "/models/en_ocr_v2.bin"),
    "etag": _header("The model's `etag`; only on the answer that published it.", '"18-18e9fc0680810521"'),
}
LOCATION = {"location": _header("Where the upload is.", "/uploads/0f8fad5bd9cb469fa16570867728950e")}
LENGTH = {"upload-length": {"description": "The whole size.", "schema": _SIZE, "example": 1048576}}
NO_STORE = {"cache-control": _header("Always `no-store`.", "no-store")}
CAPABILITIES = RESUMABLE | {
    "tus-version": _header("The versions spoken here.", VERSION),
    "tus-extension": _header("The extensions.", EXTENSIONS),
    "tus-checksum-algorithm": _header("The algorithms of `Upload-Checksum`.", ",".join(CHECKSUMS)),
    "tus-max-size": {"description": "The largest size, if any is set.", "schema": _SIZE, "example": 1048576},
}

_BY_ID = {"upload_id": "$response.body#/id"}
LINKS: dict[str, Any] = {
    "progress": {"operationId": "get_upload", "parameters": _BY_ID, "description": "How far it is."},
    "headers": {"operationId": "head_get_upload", "parameters": _BY_ID, "description": "The same in headers."},
    "rest": {
        "operationId": "append_to_upload",
        "parameters": _BY_ID | {"header.Upload-Offset": "$response.body#/offset"},
        "description": "The next chunk.",
    },
    "end": {"operationId": "give_upload_up", "parameters": _BY_ID, "description": "To give it up."},
}

VERSION_PARAMETER = _parameter("Tus-Resumable", "The version of tus, if it is told.", VERSION)
CHECKSUM_PARAMETER = _parameter(
    "Upload-Checksum",
    "The chunk's checksum: `sha1`, `sha256` or `sha512`, a space, and the digest in base64.",
    "sha1 Lve95gjOVATpfV8EL5X4nxwjKHE=",
    {"type": "string", "pattern": r"^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=|sha512 [A-Za-z0-9+/]{86}==)$"},
)
LENGTH_PARAMETER = _parameter(
    "Upload-Length", "The whole size of the model, in bytes.", "1048576", {"type": "integer", "minimum": 1}
) | {"required": True, "example": 1048576}
METADATA_PARAMETER = _parameter(
    "Upload-Metadata",
    "Pairs of a key and a value in base64: `filename` is the model's name and needed, `sha256` its digest in "
    "hexadecimal, checked before the model becomes visible. Others are ignored.",
    "filename ZW5fb2NyX3YyLmJpbg==",
    {"type": "string", "pattern": r"^filename [A-Za-z0-9+/]+={0,2}(,[a-z0-9]+ [A-Za-z0-9+/]+={0,2})*$"},
) | {"required": True}
OFFSET_PARAMETER = _parameter("Upload-Offset", "Where the chunk begins.", "0", _SIZE) | {
    "required": True,
    "example": 0,
}


def body(*, required: bool) -> dict[str, Any]:
    """A chunk as the OpenAPI document has it."""
    return {
        "required": required,
        "description": "A part of the model's file, of any size.",
        "content": {MEDIA_TYPE: {"schema": {}}},
    }


def with_headers(
    status: int, headers: dict[str, Any], links: dict[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """A route's `responses` for an answer that has them."""
    return {status: {"headers": headers} | ({"links": links} if links else {})}
