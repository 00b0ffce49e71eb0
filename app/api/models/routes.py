"""`/models`: list, get and delete models. Other modules: `upload`, `protection`, `verification`."""

from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.engine.deps import ModelSessionDep, OcrModelLeasesDep, SupervisorDep
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.conditional import IF_NONE_MATCH, NOT_MODIFIED, WITH_ETAG, Representation, etags_of
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.keys import Scope
from app.api.http.problems import NAME_ERRORS, WRITE_ERRORS, problems
from app.api.http.routing import ModelName
from app.api.models.deletion import DeletionPlanner
from app.api.models.detail import examine
from app.api.models.list_cache import ListCacheDep
from app.api.models.list_query import ListQuery
from app.api.models.ocr_model_notes import OcrModelNotesDep
from app.api.models.schemas import ModelDetailOut, ModelListOut, PathOut, ReceiptOut


class ListRoute(GuardedRoute):
    """A route that sends a cached answer before FastAPI parses the parameters.

    Most requests are polls of an unchanged list, and parsing the parameters costs as much as sending the answer.
    """

    def unguarded_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that sends the cached answer, or else calls FastAPI's own handler."""
        handle = super().unguarded_handler()

        async def answer(request: Request) -> Response:
            ready = request.state.list_cache.ready(request.scope["query_string"])
            return await handle(request) if ready is None else ready.answer(request)

        return answer


list_router = APIRouter(tags=["models"], route_class=ListRoute)
router = APIRouter(tags=["models"], route_class=GuardedRoute)


class PathQuery(BaseModel):
    """The query parameters of `GET /models/path`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str | SkipJsonSchema[None] = Field(default=None, examples=["en_ocr_v2.bin"])
    """A model's name. Without it, the answer is the folder's path."""


class DeletionQuery(BaseModel):
    """The query parameters of a deletion."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    dry_run: bool = False
    """Check everything and delete nothing. The answer shows what would be deleted."""
    permanent: bool = False
    """Delete permanently instead of moving to the trash. Disk space is freed immediately. Cannot be undone."""
    release: bool = False
    """If this service's engine is using the model, release the engine first. A dry run releases nothing."""


async def _if_match(
    request: Request,
    _: Annotated[
        str | None,
        Header(
            alias="if-match",
            description="Delete only this version: an `etag`, several separated by commas, or `*` for any.",
        ),
    ] = None,
) -> frozenset[str] | None:
    return etags_of(request, "if-match")


@list_router.get(
    "/models",
    summary="List models",
    response_model=ModelListOut,
    response_description="The models.",
    responses=WITH_ETAG | NOT_MODIFIED | problems(errors.StoreUnavailable, RequestValidationError),
    openapi_extra=needs(Scope.READ) | {"parameters": [IF_NONE_MATCH]},
)
async def list_models(request: Request, query: Annotated[ListQuery, Query()], list_cache: ListCacheDep) -> Response:
    """List the model files in the model folder and its subfolders, with any suffix.

    Hidden files are not models. The answer usually shows a change by another process within a second, and never waits
    for the engine. Files that cannot be listed are in `warnings`. If the folder is not mounted, the answer
    is 503, never an empty list.

    Without parameters the answer has all models. Filters can be combined; a model must match all. With `limit` the
    answer is one page, and its `next_cursor` requests the next page. If models are added or deleted between two pages,
    no other model is repeated or missing.
    """
    answer = await list_cache.answer(request.scope["query_string"], query)
    return answer.answer(request)


@router.get(
    "/models/path",
    summary="Get the models' folder",
    response_description="The absolute path.",
    responses=problems(*NAME_ERRORS, RequestValidationError),
    openapi_extra=needs(Scope.READ),
)
async def get_models_path(store: StoreDep, query: Annotated[PathQuery, Query()]) -> PathOut:
    """Get the absolute path of the model folder, or of one model.

    AsposeAI uses this folder: if its `get_local_path()` is another folder, the engine does not become ready.
    """
    return PathOut(path=await to_thread.run_sync(store.path_of, query.name))


@router.get(
    "/models/{name:path}",
    summary="Get a model",
    response_model=ModelDetailOut,
    response_description="The model.",
    responses=WITH_ETAG | NOT_MODIFIED | problems(*NAME_ERRORS),
    openapi_extra=needs(Scope.READ) | {"parameters": [IF_NONE_MATCH]},
)
async def get_model(
    request: Request, name: ModelName, store: StoreDep, list_cache: ListCacheDep, notes: OcrModelNotesDep
) -> Response:
    """Get one model as it is on the disk now, with its header, digest, protection and leases.

    The answer's ETag is the model's `etag`, which a deletion takes as `If-Match`. The ETag depends on the file alone:
    304 means that the file is unchanged, but leases or protection may have changed.
    """
    detail = await to_thread.run_sync(examine, store, list_cache, notes, name)
    return Representation(detail.model_dump_json().encode(), detail.etag).answer(request)


@router.delete(
    "/models/{name:path}",
    summary="Delete a model",
    response_description="The receipt of the deletion.",
    responses=problems(
        *NAME_ERRORS,
        errors.ModelProtected,
        errors.ModelChanged,
        errors.ModelInUse,
        errors.ModelLocked,
        errors.EngineNotReady,
        *WRITE_ERRORS,
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
    ocr_model_leases: OcrModelLeasesDep,
    if_match: Annotated[frozenset[str] | None, Depends(_if_match)],
) -> ReceiptOut:
    """Move a model to the trash; with `permanent`, or if the service keeps no trash, delete it permanently.

    If several callers delete the same model at once, through any services on the folder, exactly one caller gets the
    receipt; the other callers get 404 or 409. A protected model and a model in use are not deleted.
    """
    plan = await DeletionPlanner(store.deletions, supervisor, session, ocr_model_leases).plan(
        name,
        if_match=if_match,
        permanent=query.permanent,
        may_release=query.release and not query.dry_run,
    )
    if query.dry_run:
        receipt = plan.preview()
    else:
        receipt = await to_thread.run_sync(store.deletions.delete, plan, actor, limiter=threads.changes)
        watcher.remove(name)
    return ReceiptOut(**asdict(receipt), dry_run=query.dry_run)
