"""The lock of one trash entry. A process holds the lock while it changes the entry, so that sweeps skip the entry."""

import contextlib
from collections.abc import Iterator

from app.errors import ModelInUse, ModelLocked
from app.store.locks.model_locks import STORE_LOCK_SECONDS, ModelLocks
from app.store.trash.records import TrashEntry


@contextlib.contextmanager
def entry_locked(locks: ModelLocks, entry: TrashEntry) -> Iterator[None]:
    """Hold a trash entry's lock. Raises ModelLocked, with the model's name, if another process holds the lock."""
    try:
        with locks.exclusive(entry_lock_name(entry.id), seconds=STORE_LOCK_SECONDS):
            yield
    except (ModelInUse, ModelLocked) as exc:
        if exc.name != entry_lock_name(entry.id):
            raise
        raise ModelLocked(entry.name) from None


def entry_lock_name(name: str) -> str:
    """Return the name of a trash entry's lock. No model can have it.

    `name` is the name of any of the entry's files.
    """
    return f"/trash/{name.partition('.')[0]}"
