"""`/trash` and `/journal`: the way back, the way out, and the record of who did what."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.error_groups import WRITE_ERRORS
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.maintenance.schemas import EventOut, JournalOut, PurgeOut, TrashEntryOut, TrashList
from app.api.models.list_cache import ListCacheDep
from app.api.models.schemas import ModelOut
from app.store.trash.trash import Purged

router = APIRouter(tags=["trash"], route_class=GuardedRoute)

TrashId = Annotated[
    str,
    Path(description="An entry's id, as `GET /trash` has it.", examples=["20261121T063713Z-3a56954a93f8"]),
]


class RestoreQuery(BaseModel):
    """What may be asked of a restore."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    as_: str | SkipJsonSchema[None] = Field(default=None, alias="as", examples=["en_ocr_v1.bin"])
    """The name to restore it at; without it, the one it had."""


class JournalQuery(BaseModel):
    """What may be asked of the journal."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    limit: int = Field(default=100, ge=1, le=1000)
    """How many events to show."""


@router.get(
    "/trash",
    summary="List the trash",
    response_description="The trash.",
    responses=problems(errors.StoreUnavailable),
    openapi_extra=needs(Scope.READ),
)
async def list_trash(store: StoreDep) -> TrashList:
    """List the deleted models that can still be restored, oldest first. Their bytes are still on the disk."""
    entries = await to_thread.run_sync(store.trash_entries)
    return TrashList(
        count=len(entries),
        total_size_bytes=sum(entry.size_bytes for entry in entries),
        entries=[TrashEntryOut.model_validate(entry) for entry in entries],
    )


@router.post(
    "/trash/{trash_id}/restore",
    summary="Restore a model",
    response_description="The model, back in its place.",
    responses=problems(
        errors.TrashEntryNotFound,
        errors.InvalidModelName,
        errors.NotAModel,
        errors.ModelExists,
        errors.ModelInUse,
        errors.ModelLocked,
        *WRITE_ERRORS,
        errors.StoreFull,
        RequestValidationError,
    ),
    openapi_extra=needs(Scope.WRITE),
)
async def restore_model(
    trash_id: TrashId,
    query: Annotated[RestoreQuery, Query()],
    actor: ActorDep,
    store: StoreDep,
    watcher: WatcherDep,
    list_cache: ListCacheDep,
) -> ModelOut:
    """Put a deleted model back where it was, whole, or at another name with `as`. Nothing is ever overwritten."""
    model = await to_thread.run_sync(store.restore, trash_id, query.as_, actor, limiter=threads.changes)
    await watcher.look_at(model.name)
    return list_cache.describe(model)


@router.delete(
    "/trash/{trash_id}",
    summary="Purge one entry",
    response_description="What went for good.",
    responses=problems(errors.TrashEntryNotFound, *WRITE_ERRORS),
    openapi_extra=needs(Scope.WRITE),
)
async def purge_entry(trash_id: TrashId, actor: ActorDep, store: StoreDep) -> PurgeOut:
    """Delete one entry of the trash for good; the disk has its bytes back when this is answered."""
    return _purged([await to_thread.run_sync(store.purge, trash_id, actor, limiter=threads.changes)])


@router.delete(
    "/trash",
    summary="Empty the trash",
    response_description="What went for good.",
    responses=problems(*WRITE_ERRORS),
    openapi_extra=needs(Scope.WRITE),
)
async def empty_trash(actor: ActorDep, store: StoreDep) -> PurgeOut:
    """Delete everything in the trash for good; the disk has the bytes back when this is answered."""
    return _purged(await to_thread.run_sync(store.empty_trash, actor, limiter=threads.changes))


@router.get(
    "/journal",
    summary="Read the journal",
    response_description="The last events, newest first.",
    responses=problems(errors.StoreUnavailable, RequestValidationError),
    openapi_extra=needs(Scope.READ),
)
async def read_journal(query: Annotated[JournalQuery, Query()], store: StoreDep) -> JournalOut:
    """Say who did what to which model, and when: every deletion, restore and purge on this folder, by any service."""
    await to_thread.run_sync(store.volume.check)
    events = await to_thread.run_sync(store.journal.latest, query.limit)
    return JournalOut(events=[EventOut.model_validate(event) for event in events])


def _purged(purged: list[Purged]) -> PurgeOut:
    return PurgeOut(
        count=len(purged),
        freed_bytes=sum(gone.freed_bytes for gone in purged),
        entries=[TrashEntryOut.model_validate(gone.entry) for gone in purged],
    )
