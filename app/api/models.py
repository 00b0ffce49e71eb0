"""`/models`: list them and find them."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.auth import GuardedRoute, needs
from app.api.deps import ListingDep, ModelName, StoreDep
from app.api.keys import Scope
from app.api.listing import Listing
from app.api.problems import problems
from app.api.schemas import ModelList, ModelOut, PathOut

router = APIRouter(tags=["models"], route_class=GuardedRoute)

NAMED = (errors.InvalidModelName, errors.NotAModel, errors.ModelNotFound, errors.StoreUnavailable)


class PathQuery(BaseModel):
    """What may be asked of `GET /models/path`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str | SkipJsonSchema[None] = Field(default=None, examples=["en_ocr_v2.bin"])
    """A model; without it the answer is the folder."""


@router.get(
    "/models",
    summary="List the models",
    response_model=ModelList,
    response_description="The models.",
    responses=problems(errors.StoreUnavailable),
    openapi_extra=needs(Scope.READ),
)
async def list_models(request: Request) -> Response:
    """List every model file below the model folder, any suffix, in folders too. Hidden files are not models.

    The answer is never older than a second, whatever process changes the folder, and never waits for the engine. What
    could not be listed is in `warnings`. An unmounted folder is a 503, never an empty list.
    """
    # Not a dependency: this is what pollers ask for, and resolving one costs as much as sending the answer.
    listing: Listing = request.state.listing
    return Response(await listing.body(), media_type="application/json")


@router.get(
    "/models/path",
    summary="Say where the models lie",
    response_description="The absolute path.",
    responses=problems(*NAMED, RequestValidationError),
    openapi_extra=needs(Scope.READ),
)
async def get_path(store: StoreDep, query: Annotated[PathQuery, Query()]) -> PathOut:
    """Give the absolute path of the model folder, or of one model.

    It is AsposeAI's own: no engine becomes ready whose `get_local_path()` is another folder.
    """
    if query.name is None:
        await to_thread.run_sync(store.volume.check)
        return PathOut(path=str(store.root))
    model = await to_thread.run_sync(store.find, query.name)
    return PathOut(path=f"{store.root}/{model.name}")


@router.get(
    "/models/{name:path}",
    summary="Describe one model",
    response_description="The model.",
    responses=problems(*NAMED),
    openapi_extra=needs(Scope.READ),
)
async def get_model(name: ModelName, store: StoreDep, listing: ListingDep) -> ModelOut:
    """Describe one model as it is on disk now."""
    return listing.describe(await to_thread.run_sync(store.find, name))
