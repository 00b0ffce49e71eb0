"""`/trash`: list, restore and purge deleted models."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.examples.ids import TRASH_ID
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.keys import Scope
from app.api.http.problems import WRITE_ERRORS, problems
from app.api.http.schema import DamagedRecordOut
from app.api.maintenance.schemas import PurgeOut, TrashEntryOut, TrashListOut
from app.api.models.list_cache import ListCacheDep
from app.api.models.schemas import ModelOut
from app.store import Purged

router = APIRouter(tags=["trash"], route_class=GuardedRoute)

TrashId = Annotated[
    str,
    Path(description="The entry's id, from `GET /trash`.", examples=[TRASH_ID]),
]


class RestoreQuery(BaseModel):
    """The query parameters of a restore."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    as_: str | SkipJsonSchema[None] = Field(default=None, alias="as", examples=["en_ocr_v1.bin"])
    """The model's name after the restore. The default is the name that it had."""


@router.get(
    "/trash",
    summary="List the trash",
    response_description="The entries of the trash, oldest first.",
    responses=problems(errors.StoreUnavailable),
    openapi_extra=needs(Scope.READ),
)
async def list_trash(store: StoreDep) -> TrashListOut:
    """List the deleted models that can still be restored, oldest first. They still take disk space."""
    entries, damaged = await to_thread.run_sync(lambda: (store.trash.entries(), store.volume.records.damaged("trash")))
    return TrashListOut(
        count=len(entries),
        total_size_bytes=sum(entry.size_bytes for entry in entries),
        entries=[TrashEntryOut.model_validate(entry) for entry in entries],
        warnings=[DamagedRecordOut.model_validate(each) for each in damaged],
    )


@router.post(
    "/trash/{trash_id}/restore",
    summary="Restore a model",
    response_description="The restored model.",
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
async def restore_trash_entry(
    trash_id: TrashId,
    query: Annotated[RestoreQuery, Query()],
    actor: ActorDep,
    store: StoreDep,
    watcher: WatcherDep,
    list_cache: ListCacheDep,
) -> ModelOut:
    """Restore a deleted model at its previous name, or at another with `as`. An existing model is never overwritten."""
    model = await to_thread.run_sync(store.trash.restore, trash_id, query.as_, actor, limiter=threads.changes)
    await watcher.refresh(model.name)
    return list_cache.describe(model)


@router.delete(
    "/trash/{trash_id}",
    summary="Purge a trash entry",
    response_description="The purged entry.",
    responses=problems(errors.TrashEntryNotFound, *WRITE_ERRORS),
    openapi_extra=needs(Scope.WRITE),
)
async def purge_trash_entry(trash_id: TrashId, actor: ActorDep, store: StoreDep) -> PurgeOut:
    """Delete one entry of the trash permanently. Its disk space is free when the request is answered."""
    return _purged([await to_thread.run_sync(store.trash.purge, trash_id, actor, limiter=threads.changes)])


@router.delete(
    "/trash",
    summary="Empty the trash",
    response_description="The purged entries.",
    responses=problems(*WRITE_ERRORS),
    openapi_extra=needs(Scope.WRITE),
)
async def empty_trash(actor: ActorDep, store: StoreDep) -> PurgeOut:
    """Delete every entry of the trash permanently. Their disk space is free when the request is answered."""
    return _purged(await to_thread.run_sync(store.trash.empty, actor, limiter=threads.changes))


def _purged(purged: list[Purged]) -> PurgeOut:
    return PurgeOut(
        count=len(purged),
        freed_bytes=sum(gone.freed_bytes for gone in purged),
        entries=[TrashEntryOut.model_validate(gone.entry) for gone in purged],
    )
