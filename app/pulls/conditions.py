"""The conditions under which a pulled file may be published as a model, by the request's `if_exists`."""

from app.errors import ModelNotFound
from app.pulls.request import IfExists
from app.pulls.sources.base import SourceFile
from app.store import Conditions, Model, Store


def publication_conditions(store: Store, file: SourceFile, if_exists: IfExists) -> Conditions | None:
    """Return the conditions for publishing a file; None if the model exists and the request keeps it.

    Raises what `Incoming.plan` raises, such as StoreFull if the file does not fit on the disk.
    """
    existing = _find(store, file.name)
    if existing and (if_exists is IfExists.KEEP or _is_replaced_by_itself(store, existing, file, if_exists)):
        return None
    is_replacing = existing is not None and if_exists is IfExists.REPLACE
    conditions = Conditions(if_match=frozenset({existing.etag})) if existing and is_replacing else Conditions()
    store.incoming.plan(file.name, conditions, file.size_bytes)
    return conditions


def _find(store: Store, name: str) -> Model | None:
    try:
        return store.find(name)
    except ModelNotFound:
        return None


def _is_replaced_by_itself(store: Store, existing: Model, file: SourceFile, if_exists: IfExists) -> bool:
    is_same = file.sha256 is not None and store.digests.of(existing) == file.sha256
    return if_exists is IfExists.REPLACE and is_same
