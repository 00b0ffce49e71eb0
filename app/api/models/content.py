"""`/models/{name}/content`: a model's bytes, for callers that do not share its volume."""

import asyncio
import base64
from typing import Any
from urllib.parse import quote

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from app import errors
from app.api.http import threads
from app.api.http.auth import needs
from app.api.http.conditional import ETAG_HEADER, IF_NONE_MATCH, NOT_MODIFIED, etags_of, matches
from app.api.http.deps import StoreDep
from app.api.http.keys import Scope as KeyScope
from app.api.http.problems import NAME_ERRORS, problems
from app.api.http.request_errors import RangeNotSatisfiable
from app.api.http.routing import ModelName, PartRoute
from app.api.models.content_range import ByteRange, requested_range
from app.events import EventName
from app.store import ContentChanged, ModelContent, Store

log = structlog.get_logger()

CHUNK_BYTES = 1 << 18
"""How many bytes are read at once. A caller that takes them slowly keeps about so much memory in use."""
MEDIA_TYPE = "application/octet-stream"
CACHING = "no-cache, no-transform"
"""Caches must revalidate the bytes, and proxies must not compress them: ranges and digests are those of the file."""

router = APIRouter(tags=["models"], route_class=PartRoute)


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


HEADERS: dict[str, Any] = {
    "etag": ETAG_HEADER["etag"],
    "cache-control": _header("Always `no-cache, no-transform`.", CACHING),
    "accept-ranges": _header("Always `bytes`.", "bytes"),
    "content-disposition": _header("The file name for a download.", 'attachment; filename="en_ocr_v2.bin"'),
    "repr-digest": _header(
        "The recorded SHA-256 of the whole model (RFC 9530), also on a part of it. Left out if none is recorded.",
        "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    ),
}
RANGE_HEADER = {
    "content-range": _header("Which bytes these are, and the size of the model.", "bytes 0-1048575/24000000")
}
CONTENT: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": CONTENT, "headers": HEADERS},
    206: {"description": "A part of the bytes.", "content": CONTENT, "headers": HEADERS | RANGE_HEADER},
}
PARAMETERS: list[dict[str, Any]] = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "description": text,
        "schema": {"type": "string"},
        "example": like,
    }
    for name, text, like in (
        (
            "Range",
            "One range of bytes. Of several ranges, none is used, and the whole model is sent.",
            "bytes=0-1048575",
        ),
        ("If-Range", "An `etag`: if the model is another version now, `Range` is ignored.", '"18-18e9fc0680810521"'),
        ("If-Match", "An `etag`, several, or `*`: if the model is none of these versions, 412.", "*"),
    )
]


@router.get(
    "/models/{name:path}/content",
    summary="Download a model",
    response_class=Response,
    response_description="The bytes of the model.",
    responses=RESPONSES | NOT_MODIFIED | problems(*NAME_ERRORS, errors.ModelChanged, RangeNotSatisfiable),
    openapi_extra=needs(KeyScope.CONTENT) | {"parameters": [*PARAMETERS, IF_NONE_MATCH]},
)
async def get_model_content(request: Request, name: ModelName, store: StoreDep) -> Response:
    """Get the bytes of a model, or one range of them.

    All bytes of an answer are of one version of the model, even if the model is deleted or replaced meanwhile. To
    continue a download that was cut, send `Range` with the `etag` as `If-Range`. If another program writes to the file
    while it is sent, the connection is closed before the end.
    """
    content = await to_thread.run_sync(store.open_content, name, limiter=threads.contents)
    try:
        return await _answer(request, store, content)
    except BaseException:
        content.close()
        raise


async def _answer(request: Request, store: Store, content: ModelContent) -> Response:
    """Return the answer, which closes `content` once it is sent. Raises ModelChanged and RangeNotSatisfiable."""
    model, etag = content.model, content.model.etag
    wanted = etags_of(request, "if-match")
    if wanted is not None and not wanted & {"*", etag}:
        raise errors.ModelChanged(model.name, etag)
    headers = {"etag": etag, "cache-control": CACHING}
    if matches(",".join(request.headers.getlist("if-none-match")), etag):
        content.close()
        return Response(status_code=304, headers=headers)
    part = requested_range(request, model.size_bytes, etag)
    headers |= {"accept-ranges": "bytes", "content-disposition": _disposition(model.name)}
    if sha256 := await to_thread.run_sync(store.digests.of, model, limiter=threads.contents):
        headers["repr-digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
    if part:
        headers["content-range"] = part.describe(model.size_bytes)
    return ContentResponse(content, part or ByteRange(0, model.size_bytes), 206 if part else 200, headers)


def _disposition(name: str) -> str:
    """Return the value of `Content-Disposition` (RFC 6266) with the last part of a model's name."""
    leaf = name.rpartition("/")[2]
    plain = leaf.isascii() and leaf.isprintable() and not set(leaf) & set('"\\%')
    return f'attachment; filename="{leaf}"' if plain else f"attachment; filename*=UTF-8''{quote(leaf, safe='')}"


class ContentResponse(Response):
    """The answer with a part of a model's bytes. It reads them in threads, and closes the file at its end.

    Starlette's FileResponse does not fit: it opens a path, which may be another version by then; it refuses malformed
    ranges in plain text, and continues to read after the caller has gone.
    """

    media_type = MEDIA_TYPE

    def __init__(self, content: ModelContent, part: ByteRange, status: int, headers: dict[str, str]) -> None:
        length = {"content-length": str(part.end - part.start)}
        super().__init__(None, status, headers | length)
        self._content = content
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes. If they cannot be read to their end as one version, return early: the connection is cut."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await self._send_bytes(scope, receive, send)
            else:
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._content.close()

    async def _send_bytes(self, scope: Scope, receive: Receive, send: Send) -> None:
        offset, end = self._part.start, self._part.end
        gone = asyncio.create_task(_until_gone(receive))
        try:
            while offset < end and not gone.done():
                count = min(CHUNK_BYTES, end - offset)
                chunk = await to_thread.run_sync(self._content.read, offset, count, limiter=threads.contents)
                offset += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": offset < end})
            if self._part.start == end:
                await send({"type": "http.response.body", "body": b""})
        except (ContentChanged, OSError) as exc:
            cause = "the file was written while it was sent" if isinstance(exc, ContentChanged) else str(exc)
            log.warning(EventName.REQUEST_CUT, id=scope["request_id"], path=scope["path"], cause=cause)
        finally:
            gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
