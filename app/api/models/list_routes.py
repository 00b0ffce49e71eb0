"""`GET /models`: the list, whole, filtered, in pages."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.http.auth import GuardedRoute, needs
from app.api.http.conditional import IF_NONE_MATCH, NOT_MODIFIED, WITH_ETAG
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.models.list_cache import ListCacheDep
from app.api.models.list_query import ListQuery
from app.api.models.schemas import ModelList


class ListRoute(GuardedRoute):
    """A route that gives an answer it has given since the last change before FastAPI looks at the parameters.

    This is what pollers ask for, and to look at the parameters costs as much as to send the answer.
    """

    def unguarded_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, behind the answers that are ready."""
        handle = super().unguarded_handler()

        async def answer(request: Request) -> Response:
            ready = request.state.list_cache.ready(request.scope["query_string"])
            return await handle(request) if ready is None else ready.answer(request)

        return answer


router = APIRouter(tags=["models"], route_class=ListRoute)


@router.get(
    "/models",
    summary="List the models",
    response_model=ModelList,
    response_description="The models.",
    responses=WITH_ETAG | NOT_MODIFIED | problems(errors.StoreUnavailable, RequestValidationError),
    openapi_extra=needs(Scope.READ) | {"parameters": [IF_NONE_MATCH]},
)
async def list_models(request: Request, query: Annotated[ListQuery, Query()], list_cache: ListCacheDep) -> Response:
    """List every model file below the model folder, any suffix, in folders too. Hidden files are not models.

    The answer is never older than a second, whatever process changes the folder, and never waits for the engine. What
    could not be listed is in `warnings`. An unmounted folder is a 503, never an empty list.

    Without parameters that is all of them. Filters may be combined; a model must match each. With `limit` the answer
    is a page, and its `next_cursor` leads to the next: models that come and go meanwhile make no other model appear
    twice or go missing.
    """
    answer = await list_cache.answer(request.scope["query_string"], query)
    return answer.answer(request)
