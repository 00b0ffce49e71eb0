"""Lists, restores, purges and empties the trash. The methods block, and the journal records each change."""

import contextlib
from collections.abc import Iterable

from app.errors import ModelExists, StoreError, TrashEntryNotFound
from app.store.actor import SERVICE, Actor
from app.store.aftermath import after_change, note_failure
from app.store.expiry import Expiry
from app.store.integrity.digests import Digests
from app.store.integrity.versions import is_version
from app.store.inventory import Model
from app.store.journal.entries import Action
from app.store.journal.journal import Journal
from app.store.locks.model_locks import STORE_LOCK_SECONDS, ModelLocks
from app.store.trash.folder import TrashFolder
from app.store.trash.purging import Purged
from app.store.trash.records import TrashEntry
from app.store.trash.recovery import TrashRecovery
from app.store.volume.refusals import explaining_refusals
from app.store.volume.volume import Volume


class Trash:
    """The deleted models of one model folder."""

    def __init__(
        self,
        volume: Volume,
        locks: ModelLocks,
        folder: TrashFolder,
        digests: Digests,
        journal: Journal,
        expiry: Expiry,
    ) -> None:
        """`expiry` decides when the retention of an entry is over."""
        self._expiry = expiry
        self._volume = volume
        self._locks = locks
        self._folder = folder
        self._recovery = TrashRecovery(volume, locks, folder)
        self._digests = digests
        self._journal = journal

    def entries(self) -> list[TrashEntry]:
        """List the entries of the trash, oldest first. Raises StoreUnavailable."""
        self._volume.check()
        with explaining_refusals():
            return self._folder.entries()

    def restore(self, trash_id: str, name: str | None = None, actor: Actor = SERVICE) -> Model:
        """Move an entry of the trash back to its old name, or to `name`. Never overwrites a model.

        Raises TrashEntryNotFound, ModelExists, InvalidModelName, NotAModel, ModelInUse, ModelLocked, StoreUnavailable,
        StoreReadOnly, StoreDenied, StoreUnsafe and StoreFull; after an error the entry is still in the trash.
        """
        self._volume.check_writable()
        with explaining_refusals():
            entry = self._folder.get(trash_id)
        name = entry.name if name is None else name
        with (
            explaining_refusals(),
            self._volume.parent_of(name, create=True) as (folder, leaf),
            self._locks.exclusive(name, seconds=STORE_LOCK_SECONDS),
        ):
            before = self._folder.model_in(entry, name)
            try:
                self._folder.take(entry, folder, leaf)
            except FileExistsError:
                raise ModelExists(name) from None
            model = before
            with after_change("the restored model could not be looked up"):
                model = self._volume.find_in(folder, leaf, name)
            self._restore_records(entry, model)
        self._journal.record(actor, Action.RESTORED, name, trash_id, model.size_bytes)
        return model

    def _restore_records(self, entry: TrashEntry, model: Model) -> None:
        """Record the digest of a restored model, and that it is corrupt if it was, under the model's present name.

        Without these records, the next verification would record the digest of the model's bytes even if they were
        damaged.
        """
        # The model is restored already. If the disk is too full for a record, the digest stays unknown.
        with contextlib.suppress(OSError):
            if entry.sha256 and is_version(entry.etag, model.etag) and self._digests.of(model) is None:
                self._digests.record(model, entry.sha256)
            if entry.name != model.name:
                self._digests.copy(entry.name, model)

    def purge(self, trash_id: str, actor: Actor = SERVICE) -> Purged:
        """Delete one entry of the trash permanently.

        Raises TrashEntryNotFound, ModelLocked, StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe.
        """
        self._volume.check_writable()
        with explaining_refusals():
            entry = self._folder.get(trash_id)
        for purged in self._purge([entry], actor):
            return purged
        raise TrashEntryNotFound(trash_id)  # another process purged or restored the entry first

    def empty(self, actor: Actor = SERVICE) -> list[Purged]:
        """Delete all entries of the trash permanently, and return the results of the purges.

        Raises what `purge` raises if no entry could be deleted.
        """
        self._volume.check_writable()
        purged = list[Purged]()
        entries = self.entries()
        for count, entry in enumerate(entries):
            try:
                purged += self._purge([entry], actor)
            except StoreError as exc:
                if not purged:
                    raise
                note_failure(f"{len(entries) - count} of {len(entries)} entries stay in the trash: {exc}")
                break
        return purged

    # Purges that the service makes without a caller.

    def make_space(self, entries: Iterable[TrashEntry]) -> None:
        """Purge trash entries so that an incoming model fits on the disk. Raises what `purge` raises."""
        self._purge(entries, SERVICE, "room")

    def expired(self) -> list[TrashEntry]:
        """List the entries whose retention is over, oldest first. Raises StoreUnavailable.

        Call this every few seconds, because a new entry's retention is counted from the first call that sees the entry.
        """
        entries = self.entries()
        over = [
            entry
            for entry in entries
            if self._expiry.is_over(entry.id, entry.expires_at, entry.expires_at - entry.deleted_at)
        ]
        self._expiry.seen_all({entry.id for entry in entries})
        return over

    def purge_expired(self, entry: TrashEntry) -> list[Purged]:
        """Purge an expired entry. Returns an empty list if another process has purged or restored the entry first.

        Raises what `purge` raises.
        """
        return self._purge([entry], SERVICE, "expired")

    def recover(self) -> list[Purged]:
        """Complete or undo the steps that killed processes left unfinished. Returns the entries that were purged."""
        found = self._recovery.run(self._put_back, lambda entry: self._record_purge(entry, SERVICE, "recovered"))
        for each in found:
            self._forget_digest(each)
        return found

    def _put_back(self, entry: TrashEntry) -> None:
        """Move a model that a killed process left in `.store/aside/` back to its name.

        Raises ModelInUse and ModelLocked.
        """
        with (
            self._locks.exclusive(entry.name, seconds=0),
            self._volume.parent_of(entry.name, create=True) as (folder, leaf),
        ):
            is_back = self._folder.put_back(entry, folder, leaf)
        if not is_back:
            self._journal.record(SERVICE, Action.TRASHED, entry.name, entry.id, entry.size_bytes, "recovered")

    def _purge(self, entries: Iterable[TrashEntry], actor: Actor, reason: str | None = None) -> list[Purged]:
        purged = []
        for entry in entries:
            with explaining_refusals():
                gone = self._folder.purge(entry, lambda entry: self._record_purge(entry, actor, reason))
            if gone:
                self._forget_digest(gone)
                purged.append(gone)
        return purged

    def _record_purge(self, entry: TrashEntry, actor: Actor, reason: str | None) -> None:
        self._journal.record(actor, Action.PURGED, entry.name, entry.id, entry.size_bytes, reason)

    def _forget_digest(self, gone: Purged) -> None:
        if not gone.has_other_name:
            self._digests.forget(gone.entry.name, gone.etag)
