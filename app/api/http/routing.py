"""How requests find their routes: names that hold slashes, routes below a model's path, HEAD, and streamed bodies."""

import copy
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Path
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

from app.api.http.auth import GuardedRoute

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
STREAMS_BODY = "streams_body"


def streams_body(endpoint: Endpoint) -> Endpoint:
    """Mark a route's function as one that reads the body itself, as a stream, under a limit of its own.

    RequestLimits bounds the body of every other route by OCR_MAX_BODY_BYTES.
    """
    setattr(endpoint, STREAMS_BODY, True)
    return endpoint


def is_body_streamed(endpoint: object) -> bool:
    """True if the function is marked by `streams_body`."""
    return getattr(endpoint, STREAMS_BODY, False)


def find_endpoint(scope: Scope) -> object:
    """Return the function of the route that a request matches, or None. The router matches again afterwards."""
    for route in scope["app"].router.routes:
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            return child_scope["endpoint"]
    return None


class WholePath(PathConvertor):
    """The rest of a path, line ends included: a name with one is then an invalid name, and not an unknown path."""

    regex = "(?s:.*)"


# Starlette keeps one table of convertors for the process and offers no other way to replace the one called `path`. It
# has to be replaced before any route is constructed, so here, where every resource gets its ModelName.
register_url_convertor("path", WholePath())

ModelName = Annotated[
    str,
    Path(
        description="The model's path below the model folder. It may hold `/`, as it is or as `%2F`.",
        openapi_examples={
            "an old model": {"value": "old_en_ocr_v1.bin"},
            "a model in a folder": {
                "value": "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"
            },
        },
    ),
]


class PartRoute(GuardedRoute):
    """A route for a part of a model, such as `/models/{name}/verify`.

    If there is a model whose own name is `x/verify`, its path means that model. Otherwise the path is the part's for
    every method: one that the part does not have is answered 405, and never taken for a request about a model.
    """

    path_methods: Collection[str] = ()
    """The methods of all routes with this path; `complete_routes` sets it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the request is for this route, and what the match adds to the request's scope."""
        match, child_scope = super().matches(scope)
        if match is Match.NONE:
            return match, child_scope
        inventory = scope["state"]["inventory_watcher"].inventory
        part = self.path.rpartition("/")[2]
        if inventory and f"{child_scope['path_params']['name']}/{part}" in inventory.models:
            return Match.NONE, {}
        if match is Match.PARTIAL and scope["method"] not in self.path_methods:
            match = Match.FULL  # so that this route refuses the method
        return match, child_scope


def complete_routes(app: FastAPI) -> None:
    """Give each GET route of the application a HEAD route, and tell each PartRoute which methods its path has."""
    # After all others, so that no other request is compared with them.
    app.router.routes += [_head_of(route) for route in _api_routes(app) if "GET" in (route.methods or ())]
    methods: dict[str, set[str]] = {}
    for route in _api_routes(app):
        methods.setdefault(route.path, set()).update(route.methods or ())
    for route in _api_routes(app):
        if isinstance(route, PartRoute):
            route.path_methods = methods[route.path]


def _api_routes(app: FastAPI) -> list[APIRoute]:
    return [route for route in app.router.routes if isinstance(route, APIRoute)]


def _head_of(route: APIRoute) -> APIRoute:
    """Return a HEAD route with the same handler. One route with both methods would have one id in the document.

    It is in the document only if its headers are of use.
    """
    head = copy.copy(route)
    head.methods = {"HEAD"}
    head.name = f"head_{route.name}"
    head.summary = f"{route.summary}: headers only"
    head.description = "The headers of GET without the body: whether the resource exists, its size and its version."
    head.include_in_schema = route.include_in_schema and "headers" in route.responses.get(HTTPStatus.OK, {})
    return head
