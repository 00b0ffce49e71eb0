"""Schemas of resumable uploads, and the documentation of their headers."""

from typing import Any, Literal

from pydantic import NonNegativeInt

from app.api.examples.ids import UPLOAD_ID
from app.api.http.schema import DamagedRecordOut, Schema, Timestamp
from app.api.uploads.tus import CHECKSUMS, CHUNK_MEDIA_TYPE, EXTENSIONS, TUS_VERSION


class UploadOut(Schema):
    """One resumable upload."""

    id: str
    """The upload's id; its address is `/uploads/{id}`."""
    name: str
    """The name that the model will have, or that of a file for a job."""
    purpose: Literal["models", "images"]
    """What it is for: `images` is a file for a job."""
    offset: NonNegativeInt
    """How many bytes are stored; the next chunk begins there. For a model it equals `size_bytes` only once the model is
    published."""
    size_bytes: NonNegativeInt
    """The whole size."""
    published: bool
    """Whether the upload is complete and its model is published."""
    active: bool
    """Whether a request is writing to the upload now."""
    created_by: str
    """Who created the upload: the name of an API key, or `anonymous`."""
    created_at: Timestamp
    """When the upload was created."""
    expires_at: Timestamp
    """When the upload is deleted if no more bytes arrive."""


class UploadListOut(Schema):
    """The unfinished uploads."""

    count: NonNegativeInt
    """How many uploads are listed."""
    uploads: list[UploadOut]
    """The uploads, oldest first."""
    warnings: list[DamagedRecordOut]
    """The records of uploads and pulls that cannot be read."""


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


def _parameter(name: str, description: str, example: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    described = _header(description, example) | {"name": name, "in": "header", "required": False}
    return described | {"schema": schema} if schema else described


_SIZE: dict[str, Any] = {"type": "integer", "minimum": 0}
TUS_HEADER = {"tus-resumable": _header("The version of the tus protocol.", TUS_VERSION)}
OFFSET = {
    "upload-offset": {
        "description": "The upload's offset: where the next chunk begins.",
        "schema": _SIZE,
        "example": 1048576,
    }
}
EXPIRES = {"upload-expires": _header("When the upload expires.", "Sun, 22 Nov 2026 06:37:11 GMT")}
PUBLISHED = {
    "content-location": _header("The model's address; only once the model is published.", "/models/en_ocr_v2.bin"),
    "etag": _header("The model's `etag`; only on the answer to the chunk that published it.", '"18-18e9fc0680810521"'),
}
UPLOAD_LOCATION_HEADER = {"location": _header("The upload's address.", f"/uploads/{UPLOAD_ID}")}
LENGTH_HEADER = {
    "upload-length": {"description": "The model's whole size in bytes.", "schema": _SIZE, "example": 1048576}
}
METADATA_HEADER = {
    "upload-metadata": _header("The header that the upload was created with.", "filename ZW5fb2NyX3YzLmJpbg==")
}
NO_STORE = {"cache-control": _header("Always `no-store`.", "no-store")}
CAPABILITIES = TUS_HEADER | {
    "tus-version": _header("The versions of the tus protocol that the service supports.", TUS_VERSION),
    "tus-extension": _header("The protocol's extensions that the service supports.", EXTENSIONS),
    "tus-checksum-algorithm": _header("The algorithms that `Upload-Checksum` may name.", ",".join(CHECKSUMS)),
    "tus-max-size": {
        "description": "The largest size of an upload in bytes, if a limit is set.",
        "schema": _SIZE,
        "example": 1048576,
    },
}

_BY_ID = {"upload_id": "$response.body#/id"}
LINKS: dict[str, Any] = {
    "progress": {"operationId": "get_upload", "parameters": _BY_ID, "description": "Get the upload's offset."},
    "headers": {
        "operationId": "head_get_upload",
        "parameters": _BY_ID,
        "description": "Get the upload's offset in headers only.",
    },
    "rest": {
        "operationId": "append_to_upload",
        "parameters": _BY_ID | {"header.Upload-Offset": "$response.body#/offset"},
        "description": "Append the next chunk.",
    },
    "end": {"operationId": "cancel_upload", "parameters": _BY_ID, "description": "Cancel the upload."},
}

VERSION_PARAMETER = _parameter(
    "Tus-Resumable", "The version of the tus protocol. Without this header, 1.0.0.", TUS_VERSION
)
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
    "Pairs of a key and a value in base64. `filename` is required: the model's name. `sha256` is its digest in "
    "hexadecimal, checked before the model is published. `purpose` is `models`, or `images` for a file that a job is "
    "to read. Other keys are ignored.",
    "filename ZW5fb2NyX3YzLmJpbg==",
    {"type": "string", "pattern": r"^filename [A-Za-z0-9+/]+={0,2}(,[a-z0-9]+ [A-Za-z0-9+/]+={0,2})*$"},
) | {"required": True}
OFFSET_PARAMETER = _parameter("Upload-Offset", "Where the chunk begins: the upload's offset.", "0", _SIZE) | {
    "required": True,
    "example": 0,
}


def body(*, required: bool) -> dict[str, Any]:
    """Return the OpenAPI request body of a chunk."""
    return {
        "required": required,
        "description": "A chunk of the model's file, of any size.",
        "content": {CHUNK_MEDIA_TYPE: {"schema": {}}},
    }


def with_headers(
    status: int, headers: dict[str, Any], links: dict[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Return a route's OpenAPI `responses`: an answer with this status, these headers and these links."""
    return {status: {"headers": headers} | ({"links": links} if links else {})}
