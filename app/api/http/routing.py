"""Routing: model names with slashes, routes below a model's path, and HEAD."""

import copy
from collections.abc import Collection
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Path
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

from app.api.http.auth import GuardedRoute
from app.engine.contract.processors import DEFAULT_MODEL


def find_endpoint(scope: Scope) -> object:
    """Return the function of the route that a request matches, or None. The router matches again afterwards."""
    for route in scope["app"].router.routes:
        match, child_scope = route.matches(scope)
        if match is Match.FULL:
            return child_scope["endpoint"]
    return None


class WholePath(PathConvertor):
    """A path convertor that matches the rest of a path, line breaks included.

    So a request for a model name with a line break is refused as an invalid name, not as an unknown path.
    """

    regex = "(?s:.*)"


# Starlette keeps one table of convertors for the process and offers no other way to replace the one called `path`. It
# has to be replaced before any route is constructed, so on import of this module, which such routes need for ModelName.
register_url_convertor("path", WholePath())

ModelName = Annotated[
    str,
    Path(
        description="The model's path relative to the model folder. Slashes may be sent as `/` or as `%2F`.",
        openapi_examples={
            "an old model": {"value": "old_en_ocr_v1.bin"},
            "a model in a folder": {"value": DEFAULT_MODEL},
        },
    ),
]


class PartRoute(GuardedRoute):
    """A route below a model's path, such as `/models/{name}/verify`.

    If there is a model named `x/verify`, the path `/models/x/verify` means that model. Otherwise the path belongs to
    this route for every method: a method that it lacks is answered 405, and is not taken for a request about a model.
    """

    path_methods: Collection[str] = ()
    """The methods of all routes with this path; `complete_routes` sets it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the request is for this route, and the items that the match adds to the ASGI scope."""
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
    """Add a HEAD route for each GET route of the application, and set `path_methods` of each PartRoute."""
    # HEAD routes come last, so that no other request is compared with them.
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
    """Return a HEAD route with the handler of a GET route.

    HEAD needs a separate route, because a route with two methods would have one operation id in the OpenAPI document.
    The document has the HEAD route only if the GET route documents headers.
    """
    head = copy.copy(route)
    head.methods = {"HEAD"}
    head.name = f"head_{route.name}"
    head.summary = f"{route.summary}: headers only"
    head.description = "Get the headers that GET returns, without the body."
    head.include_in_schema = route.include_in_schema and "headers" in route.responses.get(HTTPStatus.OK, {})
    return head
