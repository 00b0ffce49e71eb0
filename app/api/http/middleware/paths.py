"""The path of a request without the prefix of a proxy."""

from starlette.types import Scope

from app.api.http.middleware import PROBES


def is_probe(scope: Scope) -> bool:
    """Return whether a request is for a probe."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) in PROBES
