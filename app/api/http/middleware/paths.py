"""The path of a request without the prefix OCR_ROOT_PATH, and whether it is a probe's path."""

from starlette.types import Scope

from app.api.http.middleware import PROBES


def is_probe(scope: Scope) -> bool:
    """Return whether a request is for a probe."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) in PROBES
