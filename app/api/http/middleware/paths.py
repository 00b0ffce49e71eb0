"""Functions that return a request's path without the prefix OCR_ROOT_PATH, and whether the path is a probe's."""

from starlette.types import Scope

from app.api.http.middleware import PROBES


def is_probe(scope: Scope) -> bool:
    """Return whether a request is for a probe."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) in PROBES
