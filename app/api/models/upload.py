"""`PUT /models/{name}`: a model comes in, as a stream of any size."""

from functools import partial
from typing import Any
from urllib.parse import quote

from anyio import CancelScope, to_thread
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError

from app.api.http import request_errors, threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.conditional import JSON, conditions_of
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.error_groups import UPLOAD_ERRORS
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.routing import ModelName, streams_body
from app.api.models.digest_fields import PARAMETERS, announced_digests
from app.api.models.list_cache import ListCacheDep
from app.api.models.routes import detail_of
from app.api.models.schemas import ModelDetail
from app.api.models.upload_receiver import UploadReceiver, UploadReceiverDep
from app.store.actor import Actor
from app.store.incoming.incoming import Incoming, Published

router = APIRouter(tags=["models"], route_class=GuardedRoute)

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
HEADERS: dict[str, dict[str, Any]] = {
    "location": {"description": "Where the model is.", "schema": {"type": "string"}},
    "etag": {"description": "The model's `etag`.", "schema": {"type": "string"}},
}
UPLOAD_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": ModelDetail, "description": "The model, which replaced another version.", "headers": HEADERS},
    201: {"headers": HEADERS},
}


def _condition(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


CONDITIONS = [
    _condition("If-Match", "Replace this version: an `etag` of the model; several, or `*` for any.")
    | {"examples": {"any version": {"value": "*"}}},
    _condition("If-None-Match", "`*` to create only; that is so without it too, with another status."),
]
UPLOAD_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The model's file as it is, of any size.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "parameters": [*CONDITIONS, *PARAMETERS],
}
"""For the OpenAPI document alone; the route reads the request itself, and its body as it comes."""


@router.put(
    "/models/{name:path}",
    summary="Upload a model",
    status_code=201,
    response_model=ModelDetail,
    response_description="The model, which is new.",
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
) -> Response:
    """Take in a model of any size. It appears whole, its digests checked and its bytes on the disk, or not at all.

    An existing model is replaced only with `If-Match`, in one step; the version before goes to the trash. Whatever can
    be refused is refused before the body is read: with `Expect: 100-continue` it need not even be sent.
    """
    _check_body(request)
    published = await _take_in(request, name, actor, store.incoming, receiver)
    await watcher.refresh(name)
    # Of what came, not of what lies there by now: it may have been replaced or deleted already.
    about = published.model, published.description, published.sha256
    detail = await to_thread.run_sync(detail_of, *about, store, list_cache)
    headers = {"location": location_of(request, name), "etag": detail.etag}
    return Response(detail.model_dump_json(), 200 if published.has_replaced else 201, headers, JSON)


def location_of(request: Request, name: str) -> str:
    """Where a model is."""
    return f"{request.scope.get('root_path', '')}/models/{quote(name)}"


async def _take_in(
    request: Request, name: str, actor: Actor, incoming: Incoming, receiver: UploadReceiver
) -> Published:
    """Check, receive, check again, publish."""
    announced = announced_digests(request)
    size_bytes = receiver.announced_size(request)
    conditions = conditions_of(request)
    with receiver.slot():
        await to_thread.run_sync(incoming.plan, name, conditions, size_bytes, limiter=threads.changes)
        staged = await to_thread.run_sync(incoming.begin, announced, size_bytes, limiter=receiver.threads)
        try:
            await receiver.receive(request, staged)
            if not staged.size_bytes:
                # Nobody means to; `curl -X PUT` without a file does it.
                raise RequestValidationError([{"loc": ("body",), "msg": "It is empty, and a model is not"}])
            publish = partial(incoming.publish, name, staged, conditions, actor, announced)
            return await to_thread.run_sync(publish, limiter=receiver.threads)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(staged.discard, limiter=receiver.threads)


def _check_body(request: Request) -> None:
    """Refuse a body that would not be the model's bytes as they are."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in FORMS:
        raise request_errors.UnsupportedBody(f"a form ({media_type})")
    if (coding := request.headers.get("content-encoding", "identity")).lower() != "identity":
        raise request_errors.UnsupportedBody(f"encoded ({coding})")
    if "content-range" in request.headers:
        raise RequestValidationError([{"loc": ("header", "content-range"), "msg": "A model is sent whole"}])
