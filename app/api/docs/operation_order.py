"""The order of the operations in the OpenAPI document, which is that of the pages made from it."""

from collections import defaultdict
from typing import Any

FIRST = ("list_models", "get_models_path", "delete_model", "get_model", "upload_model")
"""The operations that come before all others: first the three that most callers need."""


def sort_operations(paths: dict[str, Any], tags: list[str]) -> dict[str, Any]:
    """Return the paths in the order of their first operations: FIRST, then by tag, then as they were.

    The operations of a path are sorted the same way; HEAD and OPTIONS come last.
    """

    def rank(method: str, operation: dict[str, Any]) -> tuple[bool, int, int]:
        number = FIRST.index(operation["operationId"]) if operation["operationId"] in FIRST else len(FIRST)
        return method in {"head", "options"}, number, tags.index(operation["tags"][0])

    ranks = {
        path: sorted(((rank(method, operation), method) for method, operation in methods.items()), key=_by_rank)
        for path, methods in paths.items()
    }
    ordered: dict[str, Any] = defaultdict(dict)
    for path in sorted(paths, key=lambda path: ranks[path][0][0]):
        for _, method in ranks[path]:
            ordered[path][method] = paths[path][method]
    return dict(ordered)


def _by_rank(ranked: tuple[tuple[bool, int, int], str]) -> tuple[bool, int, int]:
    return ranked[0]
