"""Checks whether pulled files may be published as models: the request's `if_exists`, the size limit, the disk space."""

from collections.abc import Iterable

from app.errors import ModelNotFound
from app.pulls.download import check_limit
from app.pulls.pull_partials import staged_bytes
from app.pulls.request import IfExists
from app.pulls.retries import PullLimits
from app.pulls.sources.base import SourceFile
from app.store import Conditions, Model, Store


def check_space(store: Store, files: Iterable[SourceFile], if_exists: IfExists, limits: PullLimits) -> None:
    """Check that every file of a pull may be published, and that all files together fit on the disk.

    Raises SourceNotAllowed if a file is larger than the limit, and what `Incoming.plan` raises.
    """
    needed_bytes = 0
    for file in files:
        if publication_conditions(store, file, if_exists, beside_bytes=needed_bytes) is not None:
            check_limit(file, file.size_bytes or 0, limits)
            needed_bytes += _missing_bytes(store, file)


def publication_conditions(
    store: Store, file: SourceFile, if_exists: IfExists, beside_bytes: int = 0
) -> Conditions | None:
    """Return the conditions for publishing a file; None if the model exists and the request keeps it.

    `beside_bytes` is the disk space that other files of the pull need. Raises what `Incoming.plan` raises, such as
    StoreFull if the file does not fit on the disk.
    """
    existing = _find(store, file.name)
    if existing and (if_exists is IfExists.KEEP or _is_replaced_by_itself(store, existing, file, if_exists)):
        return None
    is_replacing = existing is not None and if_exists is IfExists.REPLACE
    conditions = Conditions(if_match=frozenset({existing.etag})) if existing and is_replacing else Conditions()
    store.incoming.plan(file.name, conditions, beside_bytes + _missing_bytes(store, file))
    return conditions


def _missing_bytes(store: Store, file: SourceFile) -> int:
    """Return how many bytes of a file a pull must still write: an earlier pull may have left some on the disk."""
    size_bytes = file.size_bytes or 0
    return max(0, size_bytes - staged_bytes(store, file.name)) if size_bytes else 0


def _find(store: Store, name: str) -> Model | None:
    try:
        return store.find(name)
    except ModelNotFound:
        return None


def _is_replaced_by_itself(store: Store, existing: Model, file: SourceFile, if_exists: IfExists) -> bool:
    is_same = file.sha256 is not None and store.digests.of(existing) == file.sha256
    return if_exists is IfExists.REPLACE and is_same
