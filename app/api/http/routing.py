"""How paths are matched: names that hold slashes, routes below a model's own path, and a HEAD for every GET."""

import copy
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

from fastapi import FastAPI, Path
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

from app.api.http.auth import GuardedRoute


class WholePath(PathConvertor):
    """Starlette's own stops at a line end, so that such a name would be no path of ours instead of an invalid name."""

    regex = "(?s:.*)"


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
    """A route about a part of a model. A model that is itself called so, in a folder, is met at its path all the same.

    Where there is none, the path is the part's for every method: those that it lacks are 405, not somebody's model.
    """

    _taken: ClassVar[dict[str, set[str]]] = {}

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - FastAPI's
        super().__init__(path, endpoint, **options)
        self._taken.setdefault(self.path, set()).update(self.methods or ())

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the request is for this route."""
        match, child_scope = super().matches(scope)
        if match is Match.NONE:
            return match, child_scope
        inventory = scope["state"]["watcher"].inventory
        part = self.path.rpartition("/")[2]
        if inventory and f"{child_scope['path_params']['name']}/{part}" in inventory.models:
            return Match.NONE, {}
        if match is Match.PARTIAL and scope["method"] not in self._taken[self.path]:
            match = Match.FULL  # so that it is this route which refuses the method
        return match, child_scope


def add_heads(app: FastAPI) -> None:
    """Give each GET of the application its HEAD; those whose headers are of use are in the document too."""
    gets = [route for route in app.router.routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())]
    # Behind all others, so that no other request looks at them.
    app.router.routes += [_head_of(route) for route in gets]


def _head_of(route: APIRoute) -> APIRoute:
    """A route of its own, because FastAPI would give two methods of one the same id in the document."""
    head = copy.copy(route)
    head.methods = {"HEAD"}
    head.name = f"head_{route.name}"
    head.summary = f"{route.summary}: headers only"
    head.description = "The same as GET, without the body: what has changed, how large it is, whether it is there."
    head.include_in_schema = route.include_in_schema and "headers" in route.responses.get(HTTPStatus.OK, {})
    return head
