"""Incoming models: their bytes are staged, then published in one step under the model's lock. All methods block."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

from app.errors import (
    ConditionFailed,
    DigestMismatch,
    LookupStale,
    ModelExists,
    ModelNotFound,
    NotAModel,
    StoreError,
    StoreUnavailable,
)
from app.store.actor import Actor
from app.store.aftermath import after_change
from app.store.expiry import Expiry
from app.store.headers.description import Description
from app.store.incoming.disk_space import DiskSpace
from app.store.incoming.partials import Partial, PartialRecord
from app.store.incoming.publish_conditions import Conditions
from app.store.incoming.staged_file import StagedFile
from app.store.incoming.staging import Staging
from app.store.integrity.digests import Digests
from app.store.inventory import Model, model_at
from app.store.journal.entries import Action
from app.store.journal.journal import Journal
from app.store.locks.model_locks import STORE_LOCK_SECONDS, ModelLocks
from app.store.names import parts_of
from app.store.protections import Protections
from app.store.trash.folder import TrashFolder
from app.store.trash.records import TrashEntry
from app.store.volume.claims import Claims
from app.store.volume.refusals import explaining_refusals
from app.store.volume.server_lookups import move_to_free_name
from app.store.volume.volume import Volume

SHA256 = "sha256"

Announced = Mapping[str, Collection[bytes]]
"""The digests that a caller has announced for the bytes, by `hashlib`'s name of the algorithm."""
NOTHING: Announced = {}


@dataclass(frozen=True, slots=True)
class _Replaced:
    """The version of a model that a publication has replaced."""

    size_bytes: int
    trash_id: str | None
    """The id of the version's trash entry; None if the version was deleted without the trash."""


@dataclass(frozen=True, slots=True)
class Published:
    """The result of a publication."""

    model: Model
    description: Description
    sha256: str
    has_replaced: bool


class Incoming:
    """Stages, resumes, publishes and discards the incoming models of one model folder, from uploads and pulls."""

    def __init__(
        self,
        volume: Volume,
        locks: ModelLocks,
        protections: Protections,
        digests: Digests,
        trash: TrashFolder,
        disk_space: DiskSpace,
        journal: Journal,
        claims: Claims,
        expiry: Expiry,
        *,
        keeps_replaced: bool,
    ) -> None:
        """If `keeps_replaced` is False, a replaced version is deleted without the trash."""
        self.staging = Staging(volume.staging_dir, claims, volume.records, expiry, disk_space.free)
        self._volume = volume
        self._locks = locks
        self._protections = protections
        self._digests = digests
        self._trash = trash
        self._keeps_replaced = keeps_replaced
        self._disk_space = disk_space
        self._journal = journal

    def plan(self, name: str, conditions: Conditions, size_bytes: int | None) -> tuple[TrashEntry, ...]:
        """Check that a model of this name and size could be published now. Changes nothing.

        Returns the trash entries that must be purged so that the model fits; usually none.

        Raises InvalidModelName, NotAModel, ModelProtected, ModelExists, ModelChanged, ConditionFailed, ModelInUse,
        ModelLocked, StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe, StoreFull.
        """
        self._check_place(name)
        self._volume.check_writable()
        with explaining_refusals(), self._locks.exclusive(name, seconds=STORE_LOCK_SECONDS):
            present = None
            with contextlib.suppress(ModelNotFound):
                present = self._volume.find(name)
            self._check(name, present, conditions)
        return self._disk_space.plan(size_bytes or 0)

    def begin(
        self, algorithms: Iterable[str] = (), size_bytes: int | None = None, *, keep: PartialRecord | None = None
    ) -> StagedFile:
        """Create a staged file, if `size_bytes` would fit on the disk after a purge of the trash.

        `StagedFile.write` purges trash entries as needed. Whether the staged file is published or not, the caller must
        finally call `discard()` on it. With `keep`, the caller may call `release()` instead, which keeps the file for
        `resume()`. Raises StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe, StoreFull.
        """
        self._volume.check_writable()
        with explaining_refusals():
            self._disk_space.plan(size_bytes or 0)
            return self.staging.begin({SHA256, *algorithms}, keep=keep)

    def resume(self, partial_id: str, algorithms: Iterable[str] = ()) -> tuple[StagedFile, PartialRecord]:
        """Reopen a kept partial file at its end, if its missing bytes would fit on the disk after a purge of the trash.

        Raises PartialNotFound, PartialBusy, StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe, StoreFull.
        """
        self._volume.check_writable()
        with explaining_refusals():
            staged, record = self.staging.reopen(partial_id, {SHA256, *algorithms})
            try:
                self._disk_space.plan(max(0, (record.expected_bytes or 0) - staged.size_bytes))
            except BaseException:
                staged.release()
                raise
            return staged, record

    def hold(self, partial_id: str) -> tuple[StagedFile, PartialRecord]:
        """Open and lock a kept file in order to use it, and return it with its record. The caller releases it.

        Raises PartialNotFound, PartialBusy, StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe.
        """
        self._volume.check_writable()
        with explaining_refusals():
            return self.staging.reopen(partial_id, {SHA256})

    def discard(self, partial_id: str) -> None:
        """Delete a kept partial file, or the record of a published one.

        Raises PartialNotFound, PartialBusy, StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe.
        """
        self._volume.check_writable()
        with explaining_refusals():
            self.staging.discard(partial_id)

    def partials(self) -> list[Partial]:
        """List all partial files, by id. Takes no lock. Raises StoreUnavailable."""
        self._volume.check()
        self._volume.check_folder(self._volume.staging_dir)
        with explaining_refusals():
            return self.staging.partials()

    def find(self, partial_id: str) -> Partial:
        """Get the state of a kept partial file by its id. A published file is found as long as its record is there.

        Raises PartialNotFound, StoreUnavailable.
        """
        self._volume.check()
        self._volume.check_folder(self._volume.staging_dir)
        with explaining_refusals():
            return self.staging.find(partial_id)

    def record(self, record: PartialRecord) -> None:
        """Replace the record of a partial file. Only the file's writer may call this.

        Raises StoreUnavailable, OSError.
        """
        self._volume.check()
        self.staging.record(record)

    def sweep(self, has_ended: Callable[[PartialRecord], bool] = lambda _: False) -> list[str]:
        """Delete the partial files that no living process writes and no record keeps, and return their file names.

        `has_ended` receives a record and returns True if its upload or pull has ended before the record expires. Raises
        StoreUnavailable, StoreReadOnly, StoreDenied, StoreUnsafe.
        """
        self._volume.check_writable()
        return self.staging.sweep(has_ended)

    def publish(
        self,
        name: str,
        staged: StagedFile,
        conditions: Conditions,
        actor: Actor,
        announced: Announced = NOTHING,
        *,
        action: Literal[Action.UPLOADED, Action.PULLED] = Action.UPLOADED,
    ) -> Published:
        """Publish a staged file under a model's name, in one step.

        A replaced version is moved to the trash; without a trash it is deleted. If the process is killed, the previous
        model or the new model, complete, has the name. The method repeats the checks of `plan`: it raises what `plan`
        raises, LookupStale, and DigestMismatch if the bytes do not have the announced digests. After an error nothing
        has been published.
        """
        _check_digests(name, staged, announced)
        staged.sync()
        description, sha256 = staged.describe(name), staged.digest(SHA256).hex()
        self._check_place(name)
        self._volume.check_writable()
        with explaining_refusals(), self._entered(name) as (folder, leaf):
            model, replaced = self._publish_locked(name, staged, conditions, folder, leaf, actor)
            # The model is published: if the disk is too full for the record, its digest stays unknown.
            with contextlib.suppress(OSError):
                self._digests.record(model, sha256)
        if replaced and replaced.trash_id:
            self._journal.record(actor, Action.TRASHED, name, replaced.trash_id, replaced.size_bytes)
        self._journal.record(actor, action, name, None, model.size_bytes)
        return Published(model, description, sha256, replaced is not None)

    def _publish_locked(
        self, name: str, staged: StagedFile, conditions: Conditions, folder: int, leaf: str, actor: Actor
    ) -> tuple[Model, "_Replaced | None"]:
        """Check the conditions and move the file to its name. The caller holds the model's lock."""
        present = _present(self._volume, folder, leaf, name)
        if present and conditions.if_match is None and self._volume.is_shared:
            present = None  # the lookup may be stale; the move below never replaces, and fails if the name is taken
        else:
            self._check(name, present, conditions)
        modified_ns = staged.stamp(
            self._volume.time_step_ns, other_than=(present.size_bytes, present.modified_ns) if present else None
        )
        try:
            with self.staging.publishing(staged):
                status, replaced = self._put_in_place(staged, present, conditions, folder, leaf, actor)
        except FileExistsError:  # another machine, or a program that takes no locks, has created the model
            self._check(name, _present(self._volume, folder, leaf, name), conditions)
            raise ModelExists(name) from None
        except FileNotFoundError as exc:
            if not self._volume.is_shared:
                reason = "the received bytes were removed from .store/staging, or the model's folder was removed"
                raise StoreUnavailable(f"{reason}. Send them again") from exc
            raise LookupStale from exc  # another machine has moved the file that this machine was about to move
        # Use the size and the time as written, because some network file systems report old values for a while.
        model = model_at(name, status)._replace(size_bytes=staged.size_bytes, modified_ns=modified_ns)
        return model, replaced

    def _put_in_place(
        self, staged: StagedFile, present: Model | None, conditions: Conditions, folder: int, leaf: str, actor: Actor
    ) -> tuple[os.stat_result, "_Replaced | None"]:
        """Move a staged file to the model's name; return the file's new status, and the version that it replaced."""
        if present is None:
            move = partial(staged.move, folder, leaf, replacing=False)
            return move_to_free_name(move, folder, leaf) if self._volume.is_shared else move(), None
        try:
            # Otherwise the trash would have two entries for the replaced file.
            self._trash.remove_extra_links(present, folder, leaf)
            entry = self._trash.link_aside(present, folder, leaf)
            is_linked = entry is not None
            if entry is None:
                # The name has no model at this moment. If this process is killed here, a sweep puts the old model back.
                entry, present = self._trash.set_aside(present, folder, leaf)
        except FileNotFoundError as exc:
            if _present(self._volume, folder, leaf, present.name):
                raise StoreUnavailable("a part of .store was removed meanwhile. Try again") from exc
            raise ConditionFailed(present.name, None) from None
        try:
            conditions.check(present.name, present)  # again: on a shared volume this is the file that was moved
            status = staged.move(folder, leaf, replacing=is_linked)
        except BaseException:
            with contextlib.suppress(OSError, StoreError):  # if this fails too, a sweep puts the old model back
                self._trash.put_back(entry, folder, leaf)
            raise
        # The new version has the name now, so an error below must not be raised.
        if self._keeps_replaced:
            trash_id = None
            with after_change("the replaced version is not in the trash yet, and a later sweep moves it there"):
                with contextlib.suppress(FileNotFoundError):  # a sweep that considered this process dead has done this
                    self._trash.keep(entry)
                trash_id = entry.id
            return status, _Replaced(present.size_bytes, trash_id)
        with after_change("the replaced version is still on the disk, and a later sweep moves it to the trash"):
            self._trash.purge_aside(entry, lambda gone: self._note_deleted(gone, actor))
        return status, _Replaced(present.size_bytes, None)

    def _note_deleted(self, entry: TrashEntry, actor: Actor) -> None:
        self._journal.record(actor, Action.DELETED, entry.name, None, entry.size_bytes, "replaced")

    @contextmanager
    def _entered(self, name: str) -> Iterator[tuple[int, str]]:
        """Hold a model's lock; yield its folder, opened or created, and the last part of the name."""
        with (
            self._volume.parent_of(name, create=True) as opened,
            self._locks.exclusive(name, seconds=STORE_LOCK_SECONDS),
        ):
            yield opened

    def _check(self, name: str, present: Model | None, conditions: Conditions) -> None:
        if present:
            self._protections.check(name)
        conditions.check(name, present)

    def _check_place(self, name: str) -> None:
        """Raise NotAModel if a part of the path above the model is a file."""
        parts = parts_of(name)
        for count in range(1, len(parts)):
            above = "/".join(parts[:count])
            if (self._volume.root / above).is_file():
                raise NotAModel(name, f"below {above!r}, which is a file")


def _check_digests(name: str, staged: StagedFile, announced: Announced) -> None:
    for algorithm, digests in announced.items():
        actual = staged.digest(algorithm)
        for expected in digests:
            if expected != actual:
                raise DigestMismatch(name, algorithm, expected.hex(), actual.hex())


def _present(volume: Volume, folder: int, leaf: str, name: str) -> Model | None:
    try:
        return volume.find_in(folder, leaf, name)
    except ModelNotFound:
        return None
