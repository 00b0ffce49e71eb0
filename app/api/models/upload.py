"""`PUT /models/{name}`: upload a model of any size in one request."""

from functools import partial
from typing import Any
from urllib.parse import quote

from anyio import CancelScope, to_thread
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.http import request_errors, threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.checks.body_streams import streams_body
from app.api.http.conditional import conditions_of
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.header_fields import FORMS, JSON, malformed, media_type_of
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.routing import ModelName
from app.api.models.detail import detail_of
from app.api.models.digest_fields import PARAMETERS, announced_digests
from app.api.models.list_cache import ListCache, ListCacheDep
from app.api.models.ocr_model_notes import OcrModelNotes, OcrModelNotesDep
from app.api.models.schemas import ModelDetailOut
from app.api.models.upload_receiver import UploadReceiver, UploadReceiverDep
from app.store import Actor, Blocker, Incoming, Published, Store
from app.store.aftermath import after_change

router = APIRouter(tags=["models"], route_class=GuardedRoute)

UPLOAD_ERRORS = (
    errors.InvalidModelName,
    errors.NotAModel,
    errors.ModelProtected,
    errors.ModelExists,
    errors.ModelInUse,
    errors.ModelLocked,
    errors.ModelChanged,
    errors.ConditionFailed,
    errors.DigestMismatch,
    errors.StoreUnavailable,
    *errors.UNWRITABLE,
    errors.StoreFull,
    request_errors.BodyCutShort,
    request_errors.UploadStalled,
    request_errors.UnsupportedBody,
    request_errors.PartialBody,
    request_errors.UploadsBusy,
    RequestValidationError,
)
"""Errors of a route that receives and publishes a model."""
TUS_FIELDS = (
    "upload-length",
    "upload-offset",
    "upload-concat",
    "upload-defer-length",
    "upload-metadata",
    "upload-checksum",
)
"""Headers of the tus protocol. With one of them, the body would be only a part of the model, or of another model."""
PUBLISHED_HEADERS: dict[str, dict[str, Any]] = {
    "location": {"description": "The model's address.", "schema": {"type": "string"}},
    "etag": {"description": "The model's `etag`.", "schema": {"type": "string"}},
}
UPLOAD_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ModelDetailOut,
        "description": "The model, which has replaced a previous version.",
        "headers": PUBLISHED_HEADERS,
    },
    201: {"headers": PUBLISHED_HEADERS},
}


def _condition(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


CONDITIONS = [
    _condition("If-Match", "Replace only this version: an `etag`, several separated by commas, or `*` for any.")
    | {"examples": {"any version": {"value": "*"}}},
    _condition("If-None-Match", "`*` to create only: the answer is 412 if the model exists. Without it, 409."),
]
UPLOAD_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The model's file, unencoded, of any size.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "parameters": [*CONDITIONS, *PARAMETERS],
}
"""For the OpenAPI document only: the route reads the headers and streams the body itself."""


@router.put(
    "/models/{name:path}",
    summary="Upload a model",
    status_code=201,
    response_model=ModelDetailOut,
    response_description="The new model.",
    responses=UPLOAD_RESPONSES | problems(*UPLOAD_ERRORS),
    openapi_extra=needs(Scope.WRITE) | UPLOAD_REQUEST,
)
@streams_body
async def upload_model(
    request: Request,
    name: ModelName,
    actor: ActorDep,
    store: StoreDep,
    watcher: WatcherDep,
    list_cache: ListCacheDep,
    receiver: UploadReceiverDep,
    notes: OcrModelNotesDep,
) -> Response:
    """Upload a model of any size. The model becomes visible only once it is complete, checked and synced to the disk.

    An existing model is replaced only with `If-Match`, in one step, and the previous version is moved to the trash.
    Name, size and conditions are checked before the body is read: a client that sends `Expect: 100-continue` need not
    send a body that would be refused.
    """
    _check_body(request)
    published = await _receive(request, name, actor, store.incoming, receiver)
    await watcher.refresh(name)
    # The detail of the uploaded version: by now another caller may have replaced or deleted it.
    detail = await to_thread.run_sync(_detail_of, published, store, list_cache, notes)
    headers = {"location": location_of(request, name), "etag": detail.etag}
    return Response(detail.model_dump_json(), 200 if published.has_replaced else 201, headers, JSON)


def _detail_of(published: Published, store: Store, list_cache: ListCache, notes: OcrModelNotes) -> ModelDetailOut:
    blockers = list[Blocker]()
    with after_change("the model's leases could not be read"):
        blockers = store.locks.blockers(published.model.name)
    about = published.model, published.description, published.sha256
    return detail_of(*about, store, list_cache, notes, blockers)


def location_of(request: Request, name: str) -> str:
    """Return the URL path of a model."""
    return f"{request.scope.get('root_path', '')}/models/{quote(name)}"


async def _receive(
    request: Request, name: str, actor: Actor, incoming: Incoming, receiver: UploadReceiver
) -> Published:
    """Receive the body and publish it as the model. The conditions are checked before and after the body."""
    announced = announced_digests(request)
    size_bytes = int(length) if (length := request.headers.get("content-length")) else None
    receiver.check_size(size_bytes or 0)
    conditions = conditions_of(request)
    with receiver.slot():
        await to_thread.run_sync(incoming.plan, name, conditions, size_bytes, limiter=threads.changes)
        staged = await to_thread.run_sync(incoming.begin, announced, size_bytes, limiter=receiver.threads)
        try:
            await receiver.receive(request.stream(), staged)
            if not staged.size_bytes:
                # An empty body is a mistake, such as `curl -X PUT` without a file.
                raise RequestValidationError([{"loc": ("body",), "msg": "The body is empty; a model cannot be empty"}])
            publish = partial(incoming.publish, name, staged, conditions, actor, announced)
            return await to_thread.run_sync(publish, limiter=receiver.threads)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(staged.drop, limiter=receiver.threads)


def _check_body(request: Request) -> None:
    """Refuse a form body, and digests that would not be checked. Raises UnsupportedBody and RequestValidationError."""
    if (media_type := media_type_of(request)) in FORMS:
        raise request_errors.UnsupportedBody(f"a form ({media_type})")
    for field in ("digest", "content-md5"):
        if field in request.headers:
            raise malformed(field, "it is not checked; send Repr-Digest with sha-256 or sha-512")
    for field in TUS_FIELDS:
        if field in request.headers:
            raise malformed(field, "a model is sent whole; to send it in parts, use POST /uploads")
