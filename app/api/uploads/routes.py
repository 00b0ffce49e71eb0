"""`/uploads`: models that come in over connections that break, by the tus 1.0 protocol.

What arrived is kept, whatever ends the request or the service, and any service on the folder can take the rest.
"""

import secrets
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.http import request_errors, threads
from app.api.http.auth import PUBLIC, needs
from app.api.http.conditional import JSON, conditions_of
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.error_groups import UPLOAD_ERRORS
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.models.upload import CONDITIONS, location_of
from app.api.models.upload_receiver import UploadReceiverDep
from app.api.uploads import tus
from app.api.uploads.resumable_upload import Uploading
from app.api.uploads.schemas import (
    CAPABILITIES,
    CHECKSUM_PARAMETER,
    EXPIRES,
    LENGTH,
    LENGTH_PARAMETER,
    LINKS,
    LOCATION,
    METADATA_PARAMETER,
    NO_STORE,
    OFFSET,
    OFFSET_PARAMETER,
    PUBLISHED,
    RESUMABLE,
    VERSION_PARAMETER,
    UploadList,
    UploadOut,
    body,
    with_headers,
)
from app.store.actor import Actor
from app.store.incoming.partials import Partial, PartialRecord
from app.store.inventory_watcher import InventoryWatcher
from app.store.store import Store

router = APIRouter(tags=["uploads"], route_class=tus.TusRoute)

UPLOAD: Final = "upload"
UploadId = Annotated[
    str, Path(description="The upload's id, from its `Location`.", examples=["0f8fad5bd9cb469fa16570867728950e"])
]
LOOKUP_ERRORS = (errors.PartialNotFound, errors.StoreUnavailable, request_errors.UnsupportedTus)
CHUNK_ERRORS = (*UPLOAD_ERRORS, request_errors.UnsupportedTus, request_errors.ChecksumMismatch)


@router.options(
    "/uploads",
    summary="Say what of tus is spoken",
    status_code=204,
    response_class=Response,
    response_description="It is in the headers.",
    responses=with_headers(204, CAPABILITIES),
    openapi_extra=PUBLIC,
)
async def describe_uploads(receiver: UploadReceiverDep) -> Response:
    """Name the version of the tus protocol, its extensions and limits."""
    headers = {
        "tus-version": tus.VERSION,
        "tus-extension": tus.EXTENSIONS,
        "tus-checksum-algorithm": ",".join(tus.CHECKSUMS),
    }
    if receiver.max_bytes:
        headers["tus-max-size"] = str(receiver.max_bytes)
    return Response(status_code=204, headers=headers)


@router.get(
    "/uploads",
    summary="List the unfinished uploads",
    response_description="The uploads.",
    responses=with_headers(200, RESUMABLE) | problems(errors.StoreUnavailable, request_errors.UnsupportedTus),
    openapi_extra=needs(Scope.READ) | {"parameters": [VERSION_PARAMETER]},
)
async def list_uploads(store: StoreDep) -> UploadList:
    """List the resumable uploads on this folder that are not published yet, whichever service they were begun at."""
    await to_thread.run_sync(store.volume.check)
    partials = await to_thread.run_sync(store.publisher.staging.partials)
    uploads = [_upload(each) for each in partials if each.kind == UPLOAD]
    return UploadList(count=len(uploads), uploads=sorted(uploads, key=lambda upload: upload.created_at))


@router.post(
    "/uploads",
    summary="Begin a resumable upload",
    status_code=201,
    response_model=UploadOut,
    response_description="The upload, which is empty, or begins with the chunk that was sent along.",
    responses=with_headers(201, RESUMABLE | LOCATION | OFFSET | EXPIRES | PUBLISHED, LINKS) | problems(*CHUNK_ERRORS),
    openapi_extra=needs(Scope.WRITE)
    | {
        "parameters": [LENGTH_PARAMETER, METADATA_PARAMETER, CHECKSUM_PARAMETER, VERSION_PARAMETER, *CONDITIONS],
        "requestBody": body(required=False),
    },
)
async def begin_upload(
    request: Request, actor: ActorDep, store: StoreDep, watcher: WatcherDep, receiver: UploadReceiverDep
) -> Response:
    """Begin an upload that can be gone on with after a broken connection, by the tus 1.0 protocol.

    Everything that can be refused is refused now, and `If-Match` and `If-None-Match` mean what they mean to
    `PUT /models/{name}`; both are checked again when the last byte is there. The first chunk may be sent along; if
    that one fails, nothing is begun.
    """
    record = _new_record(request, actor.name, receiver.retention)
    receiver.check_size(record.expected_bytes or 0)
    has_chunk, conditions, publisher = tus.has_body(request), conditions_of(request), store.publisher
    with receiver.slot():
        plan = partial(publisher.plan, record.name, conditions, record.expected_bytes)
        await to_thread.run_sync(plan, limiter=threads.changes)
        begin = partial(publisher.begin, (), record.expected_bytes, keep=record)
        staged = await to_thread.run_sync(begin, limiter=receiver.threads)
        uploading = Uploading(publisher, receiver, staged, record)
        try:
            headers = await _take_in(request, uploading, record, actor, watcher) if has_chunk else _progress(0, record)
        except BaseException:
            # Its caller has not been told where it is, and could not go on with it.
            await uploading.give_up()
            raise
        await uploading.let_go()
    is_published = "content-location" in headers
    now = datetime.now(UTC)
    begun = Partial(record.id, uploading.offset, now, is_active=False, is_published=is_published, record=record)
    headers["location"] = f"{request.scope.get('root_path', '')}/uploads/{record.id}"
    return Response(_upload(begun).model_dump_json(), 201, headers, JSON)


@router.get(
    "/uploads/{upload_id}",
    summary="Say how far an upload is",
    response_model=UploadOut,
    response_description="The upload.",
    responses=with_headers(200, RESUMABLE | OFFSET | LENGTH | EXPIRES | NO_STORE) | problems(*LOOKUP_ERRORS),
    openapi_extra=needs(Scope.WRITE) | {"parameters": [VERSION_PARAMETER]},
)
async def get_upload(request: Request, upload_id: UploadId, store: StoreDep) -> Response:
    """Say where to go on after a broken connection; `HEAD` says it in the headers alone, as tus clients ask.

    An upload whose model is published says so until it expires, so that a caller whose last answer was lost learns of
    it. Any service on the folder answers, also for uploads that were begun at another.
    """
    found = await to_thread.run_sync(_find, store, upload_id)
    upload = _upload(found)
    headers = {
        "upload-offset": str(upload.offset),
        "upload-length": str(upload.size_bytes),
        "cache-control": "no-store",
    }
    headers["upload-expires"] = tus.http_date(upload.expires_at)
    if upload.published:
        headers["content-location"] = location_of(request, upload.name)
    return Response(upload.model_dump_json(), headers=headers, media_type=JSON)


@router.patch(
    "/uploads/{upload_id}",
    summary="Go on with an upload",
    status_code=204,
    response_class=Response,
    response_description="The chunk is here; the headers say how far the upload is, or where its model is.",
    responses=with_headers(204, RESUMABLE | OFFSET | EXPIRES | PUBLISHED)
    | problems(*CHUNK_ERRORS, errors.PartialNotFound, errors.PartialBusy, request_errors.OffsetMismatch),
    openapi_extra=needs(Scope.WRITE)
    | {"parameters": [OFFSET_PARAMETER, CHECKSUM_PARAMETER, VERSION_PARAMETER], "requestBody": body(required=True)},
)
async def append_to_upload(
    request: Request,
    upload_id: UploadId,
    actor: ActorDep,
    store: StoreDep,
    watcher: WatcherDep,
    receiver: UploadReceiverDep,
) -> Response:
    """Append a chunk at the upload's offset. The one that makes it whole publishes the model, as `PUT` would.

    What came of a chunk when the connection broke is kept; one with an `Upload-Checksum` counts whole or not at all. If
    the model cannot be published now, all but the last byte counts as here, and to send that byte tries again; only of
    a model that is not what its `sha256` says nothing is kept.
    """
    tus.check_media_type(request)
    offset = tus.number(request, "upload-offset")
    found = await to_thread.run_sync(_find, store, upload_id)
    if found.is_published:  # and its answer was lost
        if offset != found.size_bytes:
            raise request_errors.OffsetMismatch(found.size_bytes)
        return Response(status_code=204, headers=_published(request, found.name or "", offset))
    with receiver.slot():
        resume = partial(store.publisher.resume, upload_id)
        staged, record = await to_thread.run_sync(resume, limiter=receiver.threads)
        uploading = Uploading(store.publisher, receiver, staged, record)
        try:
            await uploading.go_back_to(offset)
            headers = await _take_in(request, uploading, record, actor, watcher)
        finally:
            await uploading.let_go()
    return Response(status_code=204, headers=headers)


@router.delete(
    "/uploads/{upload_id}",
    summary="Give an upload up",
    status_code=204,
    response_class=Response,
    response_description="It is gone.",
    responses=with_headers(204, RESUMABLE) | problems(*LOOKUP_ERRORS, errors.PartialBusy, *errors.UNWRITABLE),
    openapi_extra=needs(Scope.WRITE) | {"parameters": [VERSION_PARAMETER]},
)
async def give_upload_up(upload_id: UploadId, store: StoreDep) -> Response:
    """Delete what came of an upload. A model that it has published stays; only the upload is forgotten."""
    await to_thread.run_sync(_find, store, upload_id)
    await to_thread.run_sync(store.publisher.discard, upload_id, limiter=threads.changes)
    return Response(status_code=204)


async def _take_in(
    request: Request, uploading: Uploading, record: PartialRecord, actor: Actor, watcher: InventoryWatcher
) -> dict[str, str]:
    """Receive a chunk, publish what is whole, and return the headers that tell of it."""
    await uploading.receive(request)
    published = await uploading.publish(actor)
    if published is None:
        return _progress(uploading.offset, record)
    await watcher.look_at(record.name)
    return _published(request, record.name, uploading.offset) | {"etag": published.model.etag}


def _new_record(request: Request, actor: str, retention: timedelta) -> PartialRecord:
    """What a new upload is to be; raises RequestValidationError."""
    name, sha256 = tus.name_and_sha256(request)
    size_bytes = tus.number(request, "upload-length")
    if not size_bytes:
        raise RequestValidationError([{"loc": ("header", "upload-length"), "msg": "A model is not empty"}])
    conditions = {field: tags and sorted(tags) for field, tags in asdict(conditions_of(request)).items()}
    extra = conditions | {"sha256": sha256}
    return PartialRecord(secrets.token_hex(16), name, UPLOAD, actor, size_bytes, datetime.now(UTC), retention, extra)


def _find(store: Store, upload_id: str) -> Partial:
    """Raises PartialNotFound, also for a pull, and StoreUnavailable."""
    store.volume.check()
    found = store.publisher.staging.find(upload_id)
    if found.kind != UPLOAD:
        raise errors.PartialNotFound(upload_id)
    return found


def _progress(offset: int, record: PartialRecord) -> dict[str, str]:
    return {"upload-offset": str(offset), "upload-expires": tus.http_date(record.expires_at(datetime.now(UTC)))}


def _published(request: Request, name: str, offset: int) -> dict[str, str]:
    return {"upload-offset": str(offset), "content-location": location_of(request, name)}


def _upload(found: Partial) -> UploadOut:
    record = found.record
    assert record is not None  # noqa: S101 - whatever is an upload has one
    size_bytes = record.expected_bytes or 0
    # As long as it is not published, nobody is to take it for done.
    offset = found.size_bytes if found.is_published else min(found.size_bytes, size_bytes - 1)
    return UploadOut(
        id=found.id,
        name=record.name,
        offset=offset,
        size_bytes=size_bytes,
        published=found.is_published,
        active=found.is_active,
        created_by=record.actor,
        created_at=record.created_at,
        expires_at=record.expires_at(found.modified_at),
    )
