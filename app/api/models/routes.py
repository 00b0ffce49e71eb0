"""`/models/…`: where they lie, and what is known of one."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.http.auth import GuardedRoute, needs
from app.api.http.conditional import IF_NONE_MATCH, NOT_MODIFIED, WITH_ETAG, Representation
from app.api.http.deps import StoreDep
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.routing import ModelName
from app.api.models.list_cache import ListCache, ListCacheDep
from app.api.models.schemas import BlockerOut, HeaderOut, ModelDetail, PathOut, protection_out
from app.store.headers.description import Description
from app.store.inventory import Model
from app.store.store import Store

router = APIRouter(tags=["models"], route_class=GuardedRoute)

NAME_ERRORS = (errors.InvalidModelName, errors.NotAModel, errors.ModelNotFound, errors.StoreUnavailable)


class PathQuery(BaseModel):
    """What may be asked of `GET /models/path`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str | SkipJsonSchema[None] = Field(default=None, examples=["en_ocr_v2.bin"])
    """A model; without it the answer is the folder."""


@router.get(
    "/models/path",
    summary="Say where the models lie",
    response_description="The absolute path.",
    responses=problems(*NAME_ERRORS, RequestValidationError),
    openapi_extra=needs(Scope.READ),
)
async def get_path(store: StoreDep, query: Annotated[PathQuery, Query()]) -> PathOut:
    """Give the absolute path of the model folder, or of one model.

    It is AsposeAI's own: no engine becomes ready whose `get_local_path()` is another folder.
    """
    return PathOut(path=await to_thread.run_sync(store.path_of, query.name))


@router.get(
    "/models/{name:path}",
    summary="Describe one model",
    response_model=ModelDetail,
    response_description="The model.",
    responses=WITH_ETAG | NOT_MODIFIED | problems(*NAME_ERRORS),
    openapi_extra=needs(Scope.READ) | {"parameters": [IF_NONE_MATCH]},
)
async def get_model(request: Request, name: ModelName, store: StoreDep, list_cache: ListCacheDep) -> Response:
    """Describe one model as it is on disk now, with what its file says of itself.

    Its ETag is the model's own, the one that a deletion takes as `If-Match`. It tells of the file alone: a 304 says
    that the file is the same, and not whether the model is in use.
    """
    detail = await to_thread.run_sync(examine, store, list_cache, name)
    return Representation(detail.model_dump_json().encode(), detail.etag).answer(request)


def examine(store: Store, list_cache: ListCache, name: str) -> ModelDetail:
    """Everything that is known of one model. Reads its header: call it from a thread."""
    model, header = store.examine(name)
    return detail_of(model, header, store.digests.of(model), store, list_cache)


def detail_of(
    model: Model, header: Description, sha256: str | None, store: Store, list_cache: ListCache
) -> ModelDetail:
    """A model whose header was read, with what else is known of it. Reads small files: call it from a thread."""
    protection = store.protections.of(model.name)
    return ModelDetail(
        **dict(list_cache.describe(model)) | {"protected": protection is not None},
        header=HeaderOut.model_validate(header),
        sha256=sha256,
        corrupt_since=store.digests.corrupt_since(model),
        blockers=[BlockerOut.model_validate(blocker) for blocker in store.locks.blockers(model.name)],
        protected_by=protection_out(protection),
    )
