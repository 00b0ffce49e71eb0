"""The verbs of the store. They block: call them from a thread."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from app.errors import ModelChanged, ModelExists, ModelNotFound, StoreError, TrashEntryNotFound
from app.events import EventName, OnEvent
from app.store.actor import SERVICE, Actor
from app.store.headers.description import Description, describe
from app.store.incoming.disk_space import DiskSpace
from app.store.incoming.incoming import Incoming
from app.store.incoming.partials import PartialRecord
from app.store.integrity.corruption import HeaderCheckCache
from app.store.integrity.digests import Digests
from app.store.inventory import Inventory, Model, look_again, scan
from app.store.journal import Action, Journal, JournalEntry
from app.store.locks.leases import Lease
from app.store.locks.model_locks import ModelLocks
from app.store.policy import Policy
from app.store.protections import Protections
from app.store.trash.records import TrashEntry
from app.store.trash.trash import Purged, Trash, freed_by_unlinking
from app.store.volume.claims import Claims
from app.store.volume.filesystem import FileSystem
from app.store.volume.renames import sync_folder
from app.store.volume.volume import Volume, explaining_refusals

LOCK_SECONDS = 2.0
"""How long a change waits for another change of the same model; both take milliseconds."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A plan: which version of a model is to go, and how. `Store.delete()` executes it."""

    model: Model
    permanent: bool
    is_exact: bool
    """Whether only that version may go, or whatever has the name by then."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a deletion did."""

    name: str
    size_bytes: int
    freed_bytes: int
    """What the disk has back: nothing from the trash, nor from a file that has another name elsewhere."""
    trash_id: str | None
    """None when the model was deleted at once, without a way back."""
    expires_at: datetime | None


class Store:
    """One model folder and its rules. Any number of processes may have one on the same folder."""

    def __init__(
        self,
        root: Path,
        policy: Policy,
        *,
        trash_retention: timedelta,
        on_event: OnEvent,
        file_system: FileSystem | None = None,
    ) -> None:
        """Without a `file_system`, `open()` finds out which one the folder is on."""
        self.policy = policy
        self.volume = Volume(root, file_system)
        self.locks = ModelLocks(self.volume.lock_file)
        self.journal = Journal(self.volume.journal_file, self.locks)
        self.claims = Claims(self.volume)
        self._trash = Trash(self.volume, self.locks, self.claims, trash_retention)
        self._keeps_deleted = trash_retention > timedelta(0)
        self._on_event = on_event
        self.protections = Protections(self.volume, self.locks, policy, self._record_event)
        self.digests = Digests(self.volume.digests_dir, self.volume.corrupt_dir, self.claims)
        self.headers = HeaderCheckCache(self.examine)
        room = DiskSpace(self.root, self._trash, lambda entries: self._purge(entries, SERVICE, "room"))
        self.incoming = Incoming(
            self.volume,
            self.locks,
            self.protections,
            self.digests,
            self._trash,
            room,
            self._record_event,
            self.claims,
            keeps_replaced=self._keeps_deleted,
        )

    @property
    def root(self) -> Path:
        """The model folder, absolute, links resolved."""
        return self.volume.root

    def open(self) -> None:
        """Create what is missing; raises StoreUnavailable."""
        self.volume.prepare()
        self.journal.is_shared = self.volume.is_shared

    # Looking.

    def scan(self, before: Inventory | None = None) -> Inventory:
        """Look at every file; raises StoreUnavailable. What is as it was `before` is the same object."""
        self.volume.check()
        return scan(self.root, before)

    def look_again(self, before: Inventory, names: Iterable[str]) -> Inventory:
        """Look at those paths only; raises StoreUnavailable."""
        self.volume.check()
        return look_again(self.root, before, names)

    def find(self, name: str) -> Model:
        """One model as it is on disk now. Raises InvalidModelName, NotAModel, ModelNotFound, StoreUnavailable."""
        return self.volume.find(name)

    def examine(self, name: str) -> tuple[Model, Description]:
        """One model, and what its file says of itself in its header. Raises what `find` raises."""
        self.volume.check()
        with self.volume.parent_of(name) as (folder, leaf):
            model = self.volume.find_in(folder, leaf, name)
            try:
                file = os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError as exc:
                return model, Description("unknown", f"it cannot be read: {exc.strerror}", {})
            try:
                return model, describe(file, model.size_bytes, name)
            finally:
                os.close(file)

    def trash_entries(self) -> list[TrashEntry]:
        """What lies in the trash, oldest first; raises StoreUnavailable."""
        self.volume.check()
        with explaining_refusals():
            return self._trash.entries()

    # Using.

    def lease(self, name: str, *, kind: str, holder: str | None = None, pid: int | None = None) -> Lease:
        """Keep a model from being changed while it is used; the lease says by whom, see `ModelLocks.lease`.

        Raises InvalidModelName, NotAModel, ModelNotFound, ModelLocked, StoreUnavailable.
        """
        self.volume.find(name)
        lease = self.locks.lease(name, kind=kind, holder=holder, pid=pid, seconds=LOCK_SECONDS)
        try:
            self.volume.find(name)  # it may have gone before the lease began, and cannot any more
        except BaseException:
            lease.release()
            raise
        return lease

    # Deleting: a plan, which can be shown, and its execution.

    def plan_deletion(self, name: str, *, if_match: Iterable[str] | None = None, permanent: bool = False) -> Deletion:
        """What deleting a model would do. Changes nothing.

        `if_match` are the ETags of the versions that may go, '*' for any. Raises what the execution would raise now:
        InvalidModelName, NotAModel, ModelNotFound, ModelProtected, ModelChanged, ModelInUse, ModelLocked,
        StoreUnavailable, StoreReadOnly.
        """
        model = self.volume.find(name)
        with explaining_refusals():
            self.protections.check(name)
        allowed = set(if_match) if if_match is not None else {"*"}
        if not allowed & {"*", model.etag}:
            raise ModelChanged(name, model.etag)
        self.volume.check_writable()
        with explaining_refusals(), self.locks.exclusive(name, seconds=LOCK_SECONDS):
            return Deletion(model, permanent or not self._keeps_deleted, is_exact="*" not in allowed)

    def delete(self, deletion: Deletion, actor: Actor = SERVICE) -> Receipt:
        """Execute a plan under the model's lock: into the trash, or for good.

        Of any number of concurrent deletions, in any number of processes, exactly one returns; the others raise
        ModelNotFound or ModelLocked. Everything is checked again: raises what the plan raises, and StoreFull. Nothing
        has changed then.
        """
        name = deletion.model.name
        self.volume.check_writable()
        with explaining_refusals(), self.locks.exclusive(name, seconds=LOCK_SECONDS):
            self.protections.check(name)
            with self.volume.parent_of(name) as (folder, leaf):
                model = self.volume.find_in(folder, leaf, name)
                if deletion.is_exact and model.etag != deletion.model.etag:
                    raise ModelChanged(name, model.etag)
                try:
                    receipt = self._delete_locked(deletion, model, folder, leaf, actor)
                except FileNotFoundError:
                    # A program that takes no locks was faster. The rename decides; the lock only makes answers polite.
                    raise ModelNotFound(name) from None
        if receipt.trash_id:
            self._record_event(actor, Action.TRASHED, name, receipt.trash_id, receipt.size_bytes)
        return receipt

    # The way back, and the way out.

    def restore(self, trash_id: str, name: str | None = None, actor: Actor = SERVICE) -> Model:
        """Put an entry of the trash back, at its old name or at another; nothing is ever overwritten.

        Raises TrashEntryNotFound, ModelExists, InvalidModelName, NotAModel, ModelInUse, ModelLocked, StoreUnavailable,
        StoreReadOnly, StoreDenied, StoreUnsafe and StoreFull; the entry is still in the trash then.
        """
        self.volume.check_writable()
        with explaining_refusals():
            entry = self._trash.get(trash_id)
        name = entry.name if name is None else name
        with (
            explaining_refusals(),
            self.volume.parent_of(name, create=True) as (folder, leaf),
            self.locks.exclusive(name, seconds=LOCK_SECONDS),
        ):
            try:
                self._trash.take(entry, folder, leaf)
            except FileExistsError:
                raise ModelExists(name) from None
            model = self.volume.find_in(folder, leaf, name)
        self._record_event(actor, Action.RESTORED, name, trash_id, model.size_bytes)
        return model

    def purge(self, trash_id: str, actor: Actor = SERVICE) -> Purged:
        """Delete one entry of the trash for good.

        Raises TrashEntryNotFound, ModelLocked, StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe.
        """
        self.volume.check_writable()
        with explaining_refusals():
            entry = self._trash.get(trash_id)
        for purged in self._purge([entry], actor):
            return purged
        raise TrashEntryNotFound(trash_id)  # somebody else was faster

    def empty_trash(self, actor: Actor = SERVICE) -> list[Purged]:
        """Delete all of the trash for good, and say what went. Raises what `purge` raises."""
        self.volume.check_writable()
        return self._purge(self.trash_entries(), actor)

    def sweep(self, is_over: Callable[[str], bool] = lambda _: False) -> list[Purged]:
        """Purge the expired entries of the trash and return them; complete what killed processes left half done.

        `is_over` tells by its id whether the job of a partial file has ended, so that the file may go. Raises
        StoreUnavailable, StoreReadOnly, StoreDenied and StoreUnsafe.
        """
        self.volume.check_writable()
        purged = list[Purged]()

        def purge(entry: TrashEntry) -> None:
            purged.extend(self._purge([entry], SERVICE, "expired"))

        def purge_expired() -> None:
            now = datetime.now(UTC)
            for entry in self.trash_entries():
                if entry.expires_at <= now:
                    self._sweep_step(partial(purge, entry))

        def recover() -> None:
            found = self._trash.recover(self._put_back, lambda entry: self._note_purge(entry, SERVICE, "recovered"))
            for each in found:
                self._forget_digest(each)
            purged.extend(found)

        sweep_staging = partial(self._sweep_staging, is_over)
        for step in (purge_expired, recover, self.claims.recover, sweep_staging, self.locks.sweep):
            self._sweep_step(step)
        return purged

    def _sweep_staging(self, is_over: Callable[[str], bool]) -> None:
        def is_orphan(record: PartialRecord) -> bool:
            return "job_id" in record.extra and is_over(record.extra["job_id"])

        if swept := self.incoming.sweep(is_orphan):
            self._on_event(EventName.STAGING_SWEPT, {"files": swept})

    def _sweep_step(self, step: Callable[[], object]) -> None:
        """One step of a sweep: if it fails, that is told, and the others are made all the same."""
        try:
            with explaining_refusals():
                step()
        except (StoreError, OSError) as exc:
            self._on_event(EventName.TRASH_SWEEP_FAILED, {"error": str(exc)})

    def _delete_locked(self, deletion: Deletion, seen: Model, folder: int, leaf: str, actor: Actor) -> Receipt:
        """Delete the version that was seen, under its lock."""
        name = seen.name
        self._trash.drop_doubles(seen, folder, leaf)
        if self.volume.is_shared:
            return self._delete_aside(deletion, seen, folder, leaf, actor)
        if not deletion.permanent:
            entry = self._trash.put(seen, folder, leaf)
            return Receipt(name, seen.size_bytes, 0, entry.id, entry.expires_at)
        freed_bytes = freed_by_unlinking(os.stat(leaf, dir_fd=folder, follow_symlinks=False))
        os.unlink(leaf, dir_fd=folder)
        sync_folder(folder)
        self._record_event(actor, Action.DELETED, name, None, seen.size_bytes)
        self.digests.forget(name, seen.etag)
        return Receipt(name, seen.size_bytes, freed_bytes, None, None)

    def _delete_aside(self, deletion: Deletion, seen: Model, folder: int, leaf: str, actor: Actor) -> Receipt:
        """Delete what the server has at the name: first it is moved away, then it is seen what it was."""
        entry, moved = self._trash.set_aside(seen, folder, leaf)
        if deletion.is_exact and moved.etag != deletion.model.etag:
            self._trash.put_back(entry, folder, leaf)
            raise ModelChanged(seen.name, moved.etag)
        if not deletion.permanent:
            self._trash.keep(entry)
            return Receipt(seen.name, moved.size_bytes, 0, entry.id, entry.expires_at)
        gone = self._trash.purge_aside(
            entry, lambda gone: self._record_event(actor, Action.DELETED, gone.name, None, gone.size_bytes)
        )
        self.digests.forget(seen.name, moved.etag)
        return Receipt(seen.name, moved.size_bytes, gone.freed_bytes if gone else 0, None, None)

    def _put_back(self, entry: TrashEntry) -> None:
        """Put back at its name what a killed process had set aside. Raises ModelInUse and ModelLocked."""
        with (
            self.locks.exclusive(entry.name, seconds=0),
            self.volume.parent_of(entry.name, create=True) as (folder, leaf),
        ):
            is_back = self._trash.put_back(entry, folder, leaf)
        if not is_back:
            self._record_event(SERVICE, Action.TRASHED, entry.name, entry.id, entry.size_bytes, "recovered")

    def _purge(self, entries: Iterable[TrashEntry], actor: Actor, reason: str | None = None) -> list[Purged]:
        purged = []
        for entry in entries:
            with explaining_refusals():
                gone = self._trash.purge(entry, lambda entry: self._note_purge(entry, actor, reason))
            if gone:
                self._forget_digest(gone)
                purged.append(gone)
        return purged

    def _note_purge(self, entry: TrashEntry, actor: Actor, reason: str | None) -> None:
        self._record_event(actor, Action.PURGED, entry.name, entry.id, entry.size_bytes, reason)

    def _forget_digest(self, gone: Purged) -> None:
        if not gone.has_other_name:
            self.digests.forget(gone.entry.name, gone.etag)

    def _record_event(
        self,
        actor: Actor,
        action: Action,
        name: str,
        trash_id: str | None,
        size_bytes: int,
        reason: str | None = None,
    ) -> None:
        """Tell it, and write the journal. What was done is done: a journal that cannot be written undoes nothing."""
        fields = {"name": name, "size_bytes": size_bytes, "actor": actor.name, "trash_id": trash_id}
        self._on_event(EventName(f"model.{action}"), fields | ({"reason": reason} if reason else {}))
        entry = JournalEntry(
            datetime.now(UTC), actor.name, action, name, trash_id, size_bytes, actor.request_id, reason
        )
        try:
            self.journal.write(entry)
        except (OSError, StoreError) as exc:
            self._on_event(EventName.JOURNAL_FAILED, {"error": str(exc), "action": action, "name": name})
