"""`DELETE /models/{name}`: a plan, which a dry run shows, and its execution."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict

from app import errors
from app.api.engine.deps import ModelSessionDep, SupervisorDep
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.conditional import ETAG
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.routing import ModelName
from app.api.models.schemas import ReceiptOut
from app.store.deletions import Deletion, Receipt

router = APIRouter(tags=["models"], route_class=GuardedRoute)


class DeletionQuery(BaseModel):
    """How a model is to be deleted."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    dry_run: bool = False
    """Check everything and change nothing: the answer is what would be done."""
    permanent: bool = False
    """Past the trash: the disk has the bytes back at once, and there is no way back."""
    release: bool = False
    """Release the engine first when it is this service's engine that uses the model. A dry run releases nothing."""


@router.delete(
    "/models/{name:path}",
    summary="Delete a model",
    response_description="The receipt: the model is gone.",
    responses=problems(
        errors.InvalidModelName,
        errors.NotAModel,
        errors.ModelNotFound,
        errors.ModelProtected,
        errors.ModelChanged,
        errors.ModelInUse,
        errors.ModelLocked,
        errors.EngineNotReady,
        errors.StoreUnavailable,
        *errors.UNWRITABLE,
        errors.StoreFull,
        RequestValidationError,
    ),
    openapi_extra=needs(Scope.WRITE),
)
async def delete_model(
    name: ModelName,
    query: Annotated[DeletionQuery, Query()],
    actor: ActorDep,
    store: StoreDep,
    watcher: WatcherDep,
    supervisor: SupervisorDep,
    session: ModelSessionDep,
    if_match: Annotated[
        str | None, Header(description="Delete only this version: an `etag` of the model; several, or `*` for any.")
    ] = None,
) -> ReceiptOut:
    """Move a model into the trash, under its lock; or, with `permanent` or where the service keeps no trash, delete it.

    Of any number of callers that delete one model at the same moment, through any number of services on the folder,
    exactly one gets the receipt; the others get 404 or 409. A protected model or one in use stays.
    """
    allowed = None if if_match is None else ETAG.findall(if_match)

    def make_plan() -> Deletion:
        return store.deletions.plan(name, if_match=allowed, permanent=query.permanent)

    try:
        plan = await to_thread.run_sync(make_plan, limiter=threads.changes)
    except errors.ModelInUse:
        # Whatever else forbids it was found before: nothing is released in vain.
        if query.dry_run or not query.release or not session.is_using(name):
            raise
        await supervisor.release(f"released to delete {name}")
        plan = await to_thread.run_sync(make_plan, limiter=threads.changes)
    if query.dry_run:
        return _planned(plan)
    receipt = await to_thread.run_sync(store.deletions.delete, plan, actor, limiter=threads.changes)
    watcher.remove(name)
    return _done(receipt)


def _planned(plan: Deletion) -> ReceiptOut:
    size_bytes = plan.model.size_bytes
    return ReceiptOut(
        name=plan.model.name,
        size_bytes=size_bytes,
        freed_bytes=size_bytes if plan.permanent else 0,
        trash_id=None,
        expires_at=None,
        dry_run=True,
    )


def _done(receipt: Receipt) -> ReceiptOut:
    return ReceiptOut(
        name=receipt.name,
        size_bytes=receipt.size_bytes,
        freed_bytes=receipt.freed_bytes,
        trash_id=receipt.trash_id,
        expires_at=receipt.expires_at,
        dry_run=False,
    )
