"""Deletion of models in two steps: `plan` checks and returns a plan, `delete` executes the plan. Both block."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from app.errors import ModelChanged, ModelNotFound, StoreError, StoreUnavailable
from app.store.actor import SERVICE, Actor
from app.store.aftermath import after_change
from app.store.integrity.digests import Digests
from app.store.inventory import Model
from app.store.journal.entries import Action
from app.store.journal.journal import Journal
from app.store.locks.model_locks import STORE_LOCK_SECONDS, ModelLocks
from app.store.protections import Protections
from app.store.trash.folder import UNSYNCED, TrashFolder
from app.store.trash.purging import freed_by_unlinking
from app.store.trash.records import TrashEntry
from app.store.volume.refusals import explaining_refusals
from app.store.volume.renames import sync_folder, unlink
from app.store.volume.volume import Volume


@dataclass(frozen=True, slots=True)
class Deletion:
    """The plan of a deletion: which version of a model to delete, and how. `Deletions.delete()` executes the plan."""

    model: Model
    permanent: bool
    is_exact: bool
    """True if only the planned version may be deleted, False if any version of the name may be deleted."""

    def preview(self) -> "Receipt":
        """Return the receipt that `Deletions.delete()` would return, without a trash entry, since there is none yet."""
        size_bytes = self.model.size_bytes
        return Receipt(self.model.name, size_bytes, size_bytes if self.permanent else 0, None, None)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a deletion."""

    name: str
    size_bytes: int
    freed_bytes: int
    """How many bytes the disk regained: 0 if the model is in the trash, or the file has another hard link."""
    trash_id: str | None
    """The id of the trash entry; None if the model was deleted without the trash."""
    expires_at: datetime | None
    """When the trash entry expires; None without a trash entry."""


class Deletions:
    """Deletes the models of one model folder."""

    def __init__(
        self,
        volume: Volume,
        locks: ModelLocks,
        protections: Protections,
        trash: TrashFolder,
        digests: Digests,
        journal: Journal,
        *,
        keeps_deleted: bool,
    ) -> None:
        """If `keeps_deleted` is False, the trash is not used: every deletion is permanent."""
        self._volume = volume
        self._locks = locks
        self._protections = protections
        self._trash = trash
        self._digests = digests
        self._journal = journal
        self._keeps_deleted = keeps_deleted

    def plan(self, name: str, *, if_match: Iterable[str] | None = None, permanent: bool = False) -> Deletion:
        """Return the plan to delete a model. Changes nothing.

        `if_match` has the ETags of the versions that may be deleted, or '*' for any version. Raises what `delete` would
        raise now: InvalidModelName, NotAModel, ModelNotFound, ModelProtected, ModelChanged, ModelInUse, ModelLocked,
        StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe.
        """
        model = self._volume.find(name)
        with explaining_refusals():
            self._protections.check(name)
        allowed = set(if_match) if if_match is not None else {"*"}
        if not allowed & {"*", model.etag}:
            raise ModelChanged(name, model.etag)
        self._volume.check_writable()
        # The lock is taken only so that ModelInUse or ModelLocked is raised now, as `delete` would raise it.
        with explaining_refusals(), self._locks.exclusive(name, seconds=STORE_LOCK_SECONDS):
            return Deletion(model, permanent or not self._keeps_deleted, is_exact="*" not in allowed)

    def delete(self, deletion: Deletion, actor: Actor = SERVICE) -> Receipt:
        """Delete a model as planned, to the trash or permanently, under the model's lock.

        Of any number of concurrent deletions of a model, in any number of processes, exactly one succeeds; the other
        deletions raise ModelNotFound or ModelLocked. The method repeats the checks of `plan`: it raises what `plan`
        raises, and StoreFull. After an error nothing has changed.
        """
        name = deletion.model.name
        self._volume.check_writable()
        with explaining_refusals(), self._locks.exclusive(name, seconds=STORE_LOCK_SECONDS):
            self._protections.check(name)
            with self._volume.parent_of(name) as (folder, leaf):
                model = self._volume.find_in(folder, leaf, name)
                if deletion.is_exact and model.etag != deletion.model.etag:
                    raise ModelChanged(name, model.etag)
                try:
                    receipt = self._delete_locked(deletion, model, folder, leaf, actor)
                except FileNotFoundError as exc:
                    if _is_there(folder, leaf):
                        raise StoreUnavailable("a part of .store was removed meanwhile. Try again") from exc
                    # A program that takes no locks removed the file first. The rename decides, not the lock.
                    raise ModelNotFound(name) from None
        if receipt.trash_id:
            self._journal.record(actor, Action.TRASHED, name, receipt.trash_id, receipt.size_bytes)
        return receipt

    def _delete_locked(self, deletion: Deletion, seen: Model, folder: int, leaf: str, actor: Actor) -> Receipt:
        """Delete the file of a model. The caller holds the model's lock."""
        name = seen.name
        self._trash.remove_extra_links(seen, folder, leaf)
        if self._volume.is_shared:
            return self._delete_aside(deletion, seen, folder, leaf, actor)
        if not deletion.permanent:
            entry = self._trash.put(seen, folder, leaf)
            return Receipt(name, seen.size_bytes, 0, entry.id, entry.expires_at)
        freed_bytes = freed_by_unlinking(os.stat(leaf, dir_fd=folder, follow_symlinks=False))
        unlink(leaf, folder=folder)
        with after_change(UNSYNCED):
            sync_folder(folder)
        self._journal.record(actor, Action.DELETED, name, None, seen.size_bytes)
        self._digests.forget(name, seen.etag)
        return Receipt(name, seen.size_bytes, freed_bytes, None, None)

    def _delete_aside(self, deletion: Deletion, seen: Model, folder: int, leaf: str, actor: Actor) -> Receipt:
        """Delete a model on a shared volume: move its file to `.store/aside/`, check the moved version, then delete.

        The version is checked after the move, since a lookup on a shared volume may be out of date.
        """
        entry, moved = self._trash.set_aside(seen, folder, leaf)
        if deletion.is_exact and moved.etag != deletion.model.etag:
            self._trash.put_back(entry, folder, leaf)
            raise ModelChanged(seen.name, moved.etag)
        if not deletion.permanent:
            with self._putting_back(entry, folder, leaf):
                self._trash.keep(entry)
            return Receipt(seen.name, moved.size_bytes, 0, entry.id, entry.expires_at)
        with self._putting_back(entry, folder, leaf):
            gone = self._trash.purge_aside(
                entry, lambda gone: self._journal.record(actor, Action.DELETED, gone.name, None, gone.size_bytes)
            )
        self._digests.forget(seen.name, moved.etag)
        return Receipt(seen.name, moved.size_bytes, gone.freed_bytes if gone else 0, None, None)

    @contextmanager
    def _putting_back(self, entry: TrashEntry, folder: int, leaf: str) -> Iterator[None]:
        """If the `with` block fails, move the model's file from `.store/aside/` back to its name."""
        try:
            yield
        except FileNotFoundError:  # a sweep considered this process dead and has put the model back
            raise
        except (OSError, StoreError):
            with suppress(OSError, StoreError):  # if this fails too, a sweep puts the model back
                self._trash.put_back(entry, folder, leaf)
            raise


def _is_there(folder: int, leaf: str) -> bool:
    try:
        os.stat(leaf, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
