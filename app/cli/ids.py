"""Finds what a shortened id means: ids have 29 characters, and people type or copy a few of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from app.errors import ServiceError


class AmbiguousId(ServiceError):
    """Several ids begin as the given one."""

    def __init__(self, given: str, ids: list[str]) -> None:
        super().__init__(f"{given!r} is the beginning of {len(ids)} ids: {', '.join(ids)}. Give more of the id.")


def one_of(objects: Iterable[Mapping[str, Any]], given: str, missing: Callable[[str], ServiceError]) -> str:
    """Return the id of the one object whose id, or whose id's part after the hyphen, begins with `given`.

    An id is a time, a hyphen and a random part, so the beginning of the random part is the shortest unique one. Raises
    AmbiguousId, and `missing(given)` if there is no such object.
    """
    ids = [str(each["id"]) for each in objects]
    if given in ids:
        return given
    found = [each for each in ids if each.startswith(given) or each.rpartition("-")[2].startswith(given)]
    if not given or not found:
        raise missing(given)
    if len(found) > 1:
        raise AmbiguousId(given, found)
    return found[0]
