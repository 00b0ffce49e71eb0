"""`/uploads`: uploads that can be resumed after a broken connection, by the tus 1.0 protocol.

Bytes received are kept when the request or the service ends. Any service on the folder can resume an upload.
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
from app.api.examples.ids import UPLOAD_ID
from app.api.http import request_errors, threads
from app.api.http.auth import PUBLIC, needs
from app.api.http.checks.body_streams import streams_body
from app.api.http.checks.request_checks import has_body
from app.api.http.conditional import conditions_of
from app.api.http.deps import ActorDep, JobsDep, StoreDep, WatcherDep
from app.api.http.header_fields import JSON, malformed
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.schema import DamagedRecordOut
from app.api.jobs.idempotency_key import IdempotencyKey
from app.api.models.upload import CONDITIONS, UPLOAD_ERRORS, location_of
from app.api.models.upload_receiver import UploadReceiverDep
from app.api.uploads import tus
from app.api.uploads.resumable_upload import ResumableUpload
from app.api.uploads.schemas import (
    CAPABILITIES,
    CHECKSUM_PARAMETER,
    EXPIRES,
    LENGTH_HEADER,
    LENGTH_PARAMETER,
    LINKS,
    METADATA_HEADER,
    METADATA_PARAMETER,
    NO_STORE,
    OFFSET,
    OFFSET_PARAMETER,
    PUBLISHED,
    TUS_HEADER,
    UPLOAD_LOCATION_HEADER,
    VERSION_PARAMETER,
    UploadListOut,
    UploadOut,
    body,
    with_headers,
)
from app.api.uploads.unfinished_limits import UnfinishedLimits, UnfinishedLimitsDep
from app.api.uploads.upload_key import UploadKey, fingerprint_of
from app.api.uploads.upload_view import metadata_of, progress_headers, published_headers, upload_out
from app.jobs.units.new_units import require_space
from app.store import Actor, Conditions, Incoming, Partial, PartialRecord, StagedFile, Store, explaining_refusals
from app.store.inventory_watcher import InventoryWatcher

router = APIRouter(tags=["uploads"], route_class=tus.TusRoute)

UPLOAD_KIND: Final = "upload"
FILE_KIND: Final = "file"
KINDS = {UPLOAD_KIND, FILE_KIND}
UploadId = Annotated[str, Path(description="The upload's id, from its `Location`.", examples=[UPLOAD_ID])]
LOOKUP_ERRORS = (errors.PartialNotFound, errors.StoreUnavailable, request_errors.UnsupportedTus)
CHUNK_ERRORS = (
    *UPLOAD_ERRORS,
    request_errors.UnsupportedTus,
    request_errors.UnsupportedChecksum,
    request_errors.ChecksumMismatch,
)


@router.options(
    "/uploads",
    summary="Get tus protocol capabilities",
    status_code=204,
    response_class=Response,
    response_description="The capabilities, in the headers.",
    responses=with_headers(204, CAPABILITIES),
    openapi_extra=PUBLIC,
)
async def get_upload_capabilities(receiver: UploadReceiverDep) -> Response:
    """Get the version of the tus protocol that the service supports, with its extensions and limits."""
    headers = {
        "tus-version": tus.TUS_VERSION,
        "tus-extension": tus.EXTENSIONS,
        "tus-checksum-algorithm": ",".join(tus.CHECKSUMS),
    }
    if receiver.max_bytes:
        headers["tus-max-size"] = str(receiver.max_bytes)
    return Response(status_code=204, headers=headers)


@router.get(
    "/uploads",
    summary="List unfinished uploads",
    response_description="The unfinished uploads, oldest first.",
    responses=with_headers(200, TUS_HEADER) | problems(errors.StoreUnavailable, request_errors.UnsupportedTus),
    openapi_extra=needs(Scope.READ) | {"parameters": [VERSION_PARAMETER]},
)
async def list_uploads(store: StoreDep) -> UploadListOut:
    """List the uploads whose models are not published yet, and the files that no job has taken yet.

    Those created at other services on the folder are listed too.
    """
    partials = await to_thread.run_sync(store.incoming.partials)
    uploads = [upload_out(each) for each in partials if each.kind in KINDS]
    damaged = await to_thread.run_sync(store.volume.records.damaged, "partial")
    return UploadListOut(
        count=len(uploads),
        uploads=sorted(uploads, key=lambda upload: upload.created_at),
        warnings=[DamagedRecordOut.model_validate(each) for each in damaged],
    )


@router.post(
    "/uploads",
    summary="Create a resumable upload",
    status_code=201,
    response_model=UploadOut,
    response_description="The new upload; empty, or with the first chunk if the request had one.",
    responses=with_headers(201, TUS_HEADER | UPLOAD_LOCATION_HEADER | OFFSET | EXPIRES | PUBLISHED, LINKS)
    | problems(*CHUNK_ERRORS, request_errors.TooManyUnfinishedUploads, errors.IdempotencyKeyReused),
    openapi_extra=needs(Scope.WRITE)
    | {
        "parameters": [LENGTH_PARAMETER, METADATA_PARAMETER, CHECKSUM_PARAMETER, VERSION_PARAMETER, *CONDITIONS],
        "requestBody": body(required=False),
    },
)
@streams_body
async def create_upload(
    request: Request,
    actor: ActorDep,
    store: StoreDep,
    watcher: WatcherDep,
    receiver: UploadReceiverDep,
    limits: UnfinishedLimitsDep,
    jobs: JobsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Create an upload that can be resumed after a broken connection, by the tus 1.0 protocol.

    `If-Match` and `If-None-Match` have the same meaning as for `PUT /models/{name}`. Name, size and conditions are
    checked now, and again after the last byte. With the purpose `images` the file is no model but one for a job: the
    member `uploads` of `POST /ocr/jobs` names it. The request may carry the first chunk; if that chunk fails, no upload
    is created, except with an `Idempotency-Key`: sent again with it, the request gets the upload as it is then, and the
    chunk is not read.
    """
    record = _new_record(request, actor.name, receiver.retention)
    receiver.check_size(record.expected_bytes or 0)
    has_chunk, checksum = has_body(request), tus.checksum(request)
    if has_chunk:
        tus.check_media_type(request)
    conditions, incoming = conditions_of(request), store.incoming
    key = UploadKey(jobs.units.keys, actor, idempotency_key, fingerprint_of(record))
    if earlier := await to_thread.run_sync(key.upload, limiter=threads.changes):
        return await _created(request, store, earlier)
    with receiver.slot():
        await to_thread.run_sync(_plan, store, record, conditions, limiter=threads.changes)
        begin = partial(key.create, record.id, partial(_begin, incoming, record, limits))
        async with limits.lock:  # uploads that are created at the same time are counted one after another
            staged = await to_thread.run_sync(begin, limiter=receiver.threads)
        if isinstance(staged, str):
            return await _created(request, store, staged)
        upload = ResumableUpload(incoming, receiver, staged, record)
        try:
            headers = progress_headers(0, record)
            if has_chunk:
                headers = await _receive(request, upload, record, checksum, actor, watcher)
        except BaseException:
            if idempotency_key:
                await upload.release()
            else:  # the caller does not know the upload's address, so it could not resume the upload
                await upload.discard()
            raise
        await upload.release()
    is_published = "content-location" in headers
    now = datetime.now(UTC)
    created = Partial(record.id, upload.offset, now, is_active=False, is_published=is_published, record=record)
    headers["location"] = f"{request.scope.get('root_path', '')}/uploads/{record.id}"
    return Response(upload_out(created).model_dump_json(), 201, headers, JSON)


@router.get(
    "/uploads/{upload_id}",
    summary="Get an upload's offset",
    response_model=UploadOut,
    response_description="The upload.",
    responses=with_headers(200, TUS_HEADER | OFFSET | LENGTH_HEADER | METADATA_HEADER | EXPIRES | NO_STORE)
    | problems(*LOOKUP_ERRORS),
    openapi_extra=needs(Scope.WRITE) | {"parameters": [VERSION_PARAMETER]},
)
async def get_upload(request: Request, upload_id: UploadId, store: StoreDep) -> Response:
    """Get an upload with its offset, at which to resume after a broken connection. tus clients use `HEAD`.

    A finished upload is kept until it expires, with `published` true: a caller who lost the last answer can still learn
    that the model is published. Any service on the folder answers, whichever service created the upload.
    """
    found = await to_thread.run_sync(_find, store, upload_id)
    upload = upload_out(found)
    headers = {
        "upload-offset": str(upload.offset),
        "upload-length": str(upload.size_bytes),
        "upload-metadata": metadata_of(found),
        "upload-expires": tus.http_date(upload.expires_at),
    }
    if upload.published:
        headers["content-location"] = location_of(request, upload.name)
    return Response(upload.model_dump_json(), headers=headers, media_type=JSON)


@router.patch(
    "/uploads/{upload_id}",
    summary="Append to an upload",
    status_code=204,
    response_class=Response,
    response_description="The chunk is stored; the headers have the new offset, or the address of the published model.",
    responses=with_headers(204, TUS_HEADER | OFFSET | EXPIRES | PUBLISHED)
    | problems(*CHUNK_ERRORS, errors.PartialNotFound, errors.PartialBusy, request_errors.OffsetMismatch),
    openapi_extra=needs(Scope.WRITE)
    | {"parameters": [OFFSET_PARAMETER, CHECKSUM_PARAMETER, VERSION_PARAMETER], "requestBody": body(required=True)},
)
@streams_body
async def append_to_upload(
    request: Request,
    upload_id: UploadId,
    actor: ActorDep,
    store: StoreDep,
    watcher: WatcherDep,
    receiver: UploadReceiverDep,
) -> Response:
    """Append a chunk at the upload's offset. The last chunk publishes the model, as `PUT /models/{name}` does.

    If the connection breaks, the bytes received are kept; a chunk with an `Upload-Checksum` is kept as a whole or
    discarded. If publishing fails, for example because the name is taken, the offset becomes the size less one: send
    the last byte again to retry. If the bytes do not match the `sha256` of `Upload-Metadata`, the upload is deleted.
    """
    tus.check_media_type(request)
    offset, checksum = tus.number(request, "upload-offset"), tus.checksum(request)
    found = await to_thread.run_sync(_find, store, upload_id)
    if tus.REPEATED_LENGTH in request.headers and tus.number(request, tus.REPEATED_LENGTH) != found.expected_bytes:
        raise malformed(tus.REPEATED_LENGTH, "it differs from the length that the upload was created with")
    if found.is_published:  # the client lost the answer and sends the last chunk again
        if offset != found.size_bytes:
            raise request_errors.OffsetMismatch(found.size_bytes)
        await receiver.require_end(request.stream())
        return Response(status_code=204, headers=published_headers(request, found.name or "", offset))
    with receiver.slot():
        resume = partial(store.incoming.resume, upload_id)
        staged, record = await to_thread.run_sync(resume, limiter=receiver.threads)
        upload = ResumableUpload(store.incoming, receiver, staged, record)
        try:
            await upload.check_offset(offset, keeps_complete=record.kind == FILE_KIND)
            headers = await _receive(request, upload, record, checksum, actor, watcher)
        finally:
            await upload.release()
    return Response(status_code=204, headers=headers)


@router.delete(
    "/uploads/{upload_id}",
    summary="Cancel an upload",
    status_code=204,
    response_class=Response,
    response_description="The upload is deleted.",
    responses=with_headers(204, TUS_HEADER) | problems(*LOOKUP_ERRORS, errors.PartialBusy, *errors.UNWRITABLE),
    openapi_extra=needs(Scope.WRITE) | {"parameters": [VERSION_PARAMETER]},
)
async def cancel_upload(upload_id: UploadId, store: StoreDep) -> Response:
    """Delete an upload and its bytes. If its model is published already, the model stays."""
    await to_thread.run_sync(_find, store, upload_id)
    await to_thread.run_sync(store.incoming.discard, upload_id, limiter=threads.changes)
    return Response(status_code=204)


async def _created(request: Request, store: Store, upload_id: str) -> Response:
    """Return the answer to a request that has created an upload before. Raises PartialNotFound, StoreUnavailable."""
    found = await to_thread.run_sync(_find, store, upload_id)
    shown = upload_out(found)
    assert found.record is not None  # noqa: S101 - every upload has a record
    headers = progress_headers(shown.offset, found.record)
    if shown.published:
        headers = published_headers(request, shown.name, shown.offset)
    headers["location"] = f"{request.scope.get('root_path', '')}/uploads/{upload_id}"
    return Response(shown.model_dump_json(), 201, headers, JSON)


async def _receive(
    request: Request,
    upload: ResumableUpload,
    record: PartialRecord,
    checksum: tus.Checksum | None,
    actor: Actor,
    watcher: InventoryWatcher,
) -> dict[str, str]:
    """Receive a chunk, publish the model after the last chunk, and return the headers of the answer."""
    await upload.receive(request.stream(), checksum)
    if record.kind == FILE_KIND:
        await upload.complete()
        return progress_headers(upload.offset, record)
    published = await upload.publish(actor)
    if published is None:
        return progress_headers(upload.offset, record)
    await watcher.refresh(record.name)
    return published_headers(request, record.name, upload.offset) | {"etag": published.model.etag}


def _begin(incoming: Incoming, record: PartialRecord, limits: UnfinishedLimits) -> StagedFile:
    actors = [each.record.actor for each in incoming.partials() if each.record and each.kind in KINDS]
    limits.check(record.actor, actors)
    return incoming.begin((), record.expected_bytes, keep=record)


def _new_record(request: Request, actor: str, retention: timedelta) -> PartialRecord:
    """Build a new upload's record from the request's headers. Raises RequestValidationError."""
    metadata = tus.metadata(request)
    size_bytes = tus.number(request, "upload-length")
    if not size_bytes:
        raise RequestValidationError(
            [{"loc": ("header", "upload-length"), "msg": "a file cannot be empty; send its size in bytes"}]
        )
    now, upload_id = datetime.now(UTC), secrets.token_hex(16)
    if metadata.is_for_job:
        for field in ("if-match", "if-none-match"):
            if field in request.headers:
                raise malformed(field, "only a model has versions; leave it out")
        file = {"sha256": metadata.sha256, "metadata": metadata.text, "file_name": metadata.name}
        return PartialRecord(upload_id, upload_id, FILE_KIND, actor, size_bytes, now, retention, file)
    name = metadata.name or ""
    asked = asdict(conditions_of(request))
    conditions = {field: None if tags is None else sorted(tags) for field, tags in asked.items()}
    extra = conditions | {"sha256": metadata.sha256, "metadata": metadata.text}
    return PartialRecord(upload_id, name, UPLOAD_KIND, actor, size_bytes, now, retention, extra)


def _plan(store: Store, record: PartialRecord, conditions: Conditions) -> None:
    """Check that a model could be published, or a file for a job be received beside what is left to models.

    Raises the StoreErrors of `Incoming.plan`.
    """
    if record.kind != FILE_KIND:
        store.incoming.plan(record.name, conditions, record.expected_bytes)
        return
    store.volume.check_writable()
    with explaining_refusals():
        require_space(store.root, record.expected_bytes or 0)


def _find(store: Store, upload_id: str) -> Partial:
    """Find an upload. Raises PartialNotFound, also if the id is a pull's, and StoreUnavailable."""
    found = store.incoming.find(upload_id)
    if found.kind not in KINDS:
        raise errors.PartialNotFound(upload_id)
    return found
