"""The verbs of the store. They block: call them from a thread."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from app.errors import ModelNotFound, ModelProtected
from app.store.inventory import Inventory, Model, look_again, scan
from app.store.locks import ModelLocks
from app.store.rules import Rules
from app.store.trash import Trash, TrashEntry
from app.store.volume import Volume, explaining_refusals

LOCK_SECONDS = 2.0
"""How long a change waits for another change of the same model; both take milliseconds."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a deletion did."""

    name: str
    size_bytes: int
    trash_id: str | None
    """None when the model was deleted at once, without a way back."""
    expires_at: datetime | None


class Store:
    """One model folder and its rules. Any number of processes may have one on the same folder."""

    def __init__(self, root: Path, rules: Rules, *, trash_retention: timedelta) -> None:
        self.rules = rules
        self.volume = Volume(root)
        self.locks = ModelLocks(self.volume.lock_file)
        self._trash = Trash(self.volume.trash_dir, self.locks, trash_retention)
        self._keeps_deleted = trash_retention > timedelta(0)

    @property
    def root(self) -> Path:
        """The model folder, absolute, links resolved."""
        return self.volume.root

    def open(self) -> None:
        """Create what is missing; raises StoreUnavailable."""
        self.volume.prepare()

    def scan(self) -> Inventory:
        """Look at every file; raises StoreUnavailable. 2 to 4 µs a file."""
        self.volume.check()
        return scan(self.root)

    def look_again(self, before: Inventory, names: Iterable[str]) -> Inventory:
        """Look at those paths only; raises StoreUnavailable."""
        self.volume.check()
        return look_again(self.root, before, names)

    def find(self, name: str) -> Model:
        """One model as it is on disk now. Raises InvalidModelName, NotAModel, ModelNotFound, StoreUnavailable."""
        return self.volume.find(name)

    def delete(self, name: str) -> Receipt:
        """Move a model into the trash, or with a retention of zero delete it at once, under its lock.

        Of any number of concurrent deletions, in any number of processes, exactly one returns; the others raise
        ModelNotFound or ModelLocked. Raises also InvalidModelName, NotAModel, ModelProtected, ModelInUse,
        StoreUnavailable, StoreReadOnly and StoreFull; nothing has changed then.
        """
        self.volume.find(name)
        if pattern := self.rules.protecting(name):
            raise ModelProtected(name, pattern)
        self.volume.check_writable()
        with explaining_refusals(), self.locks.exclusive(name, seconds=LOCK_SECONDS):
            return self._delete_locked(name)

    def sweep(self) -> list[TrashEntry]:
        """Purge from the trash what has expired; return that. Raises StoreUnavailable, StoreReadOnly, StoreFull."""
        self.volume.check_writable()
        with explaining_refusals():
            return self._trash.sweep()

    def trash_entries(self) -> list[TrashEntry]:
        """What lies in the trash, oldest first."""
        return self._trash.entries()

    def _delete_locked(self, name: str) -> Receipt:
        with self.volume.parent_of(name) as (folder, leaf):
            model = self.volume.find_in(folder, leaf, name)
            try:
                if self._keeps_deleted:
                    entry = self._trash.put(model, folder, leaf)
                    return Receipt(name, model.size_bytes, entry.id, entry.expires_at)
                os.unlink(leaf, dir_fd=folder)
                os.fsync(folder)
            except FileNotFoundError:
                # Somebody who takes no locks was faster; the rename decides, the lock only makes the answers polite.
                raise ModelNotFound(name) from None
        return Receipt(name, model.size_bytes, None, None)
