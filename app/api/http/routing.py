"""Routes below a model's own path, such as `/models/{name}/verify`, beside models whose names end like that."""

from collections.abc import Callable
from typing import Any, ClassVar

from starlette.routing import Match
from starlette.types import Scope

from app.api.http.auth import GuardedRoute


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
