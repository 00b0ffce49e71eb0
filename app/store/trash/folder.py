"""The trash: deleted models, each with its record, until they expire. Record first, file second.

Where a file lies says what it is, and each step from one to the next is a rename that the file system's server decides,
so that of any number of machines exactly one makes it, whatever their caches believe:

- `trash/<id>`: a deleted model, to be restored or purged.
- `aside/<id>.model`: a model that is being replaced or, on a shared volume, deleted, while its version is checked.
  When its process was killed, it is put back at its name, or becomes `trash/<id>` if that name is taken.
- `aside/trash~...`: an entry that is being restored; see `app.store.volume.claims`.
- `trash/<id>.purged`: an entry that is being purged. If its process is killed, the next sweep completes it.

No file is ever removed because a lookup said something of another: a client of a network file system goes on seeing a
name for a while after another machine has renamed it.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from app.errors import InvalidModelName, ModelInUse, ModelLocked, NotAModel, StoreError, TrashEntryNotFound
from app.store.inventory import Model, model_at, what_instead
from app.store.locks.model_locks import LOCK_SECONDS, ModelLocks
from app.store.trash.records import ENTRY_ID, RECORD_SUFFIX, TrashEntry, TrashRecords
from app.store.volume.claims import Claims, folder_opened
from app.store.volume.renames import rename_without_replacing, sync_folder
from app.store.volume.server_lookups import files_on_server, place
from app.store.volume.volume import Volume

ASIDE, PURGED = ".model", ".purged"


@dataclass(frozen=True, slots=True)
class Purged:
    """An entry that is gone for good."""

    entry: TrashEntry
    freed_bytes: int
    """What the disk has back."""
    etag: str
    """The version that was removed."""
    has_other_name: bool
    """True if its bytes are still there under another name."""


OnPurge = Callable[[TrashEntry], None]
"""Told of each purge just before the bytes go, while it can still be written down."""


class TrashFolder:
    """The trash folder of one model folder, and on the same file system as it: in and out are renames."""

    def __init__(self, volume: Volume, locks: ModelLocks, claims: Claims, retention: timedelta) -> None:
        self._volume = volume
        self._folder = volume.trash_dir
        self._aside = volume.aside_dir
        self._locks = locks
        self._claims = claims
        self._retention = retention
        self._records = TrashRecords(self._folder)

    # Into the trash. Hold the model's lock meanwhile. The model's file is given by its open folder and last part.

    def put(self, model: Model, parent: int, leaf: str) -> TrashEntry:
        """Move a model's file into the trash. On a shared volume `set_aside` comes first, see there.

        Killed at any point, this leaves the file in place or in the trash, whole. Raises FileNotFoundError when the
        file is gone.
        """
        entry = self._new_entry(model)
        path = self._folder / entry.id
        self._move_in(entry, parent, leaf, path)
        self._insist_on_file(entry, path.lstat(), path, parent, leaf)
        return entry

    def set_aside(self, model: Model, parent: int, leaf: str) -> tuple[TrashEntry, Model]:
        """Move a model's file aside, and return what was moved. Then `keep`, `put_back` or `purge_aside` it.

        On a shared volume that may be another version than was looked up, and what is returned is what the server has
        moved. Killed before the second step, or after LookupStale was raised, it is put back by the next sweep. Raises
        FileNotFoundError when the file is gone.
        """
        entry = self._new_entry(model)
        path = self._aside / (entry.id + ASIDE)
        self._move_in(entry, parent, leaf, path)
        if not self._volume.is_shared:
            return entry, model
        status = self._volume.status(path)
        try:
            self._insist_on_file(entry, status, path, parent, leaf)
            moved = model_at(model.name, status)
            if moved.size_bytes != entry.size_bytes:
                entry = self._records.correct(entry, moved.size_bytes)
        except OSError:
            self.put_back(entry, parent, leaf)
            raise
        return entry, moved

    def _insist_on_file(self, entry: TrashEntry, status: os.stat_result, path: Path, parent: int, leaf: str) -> None:
        """Undo a move and raise NotAModel if it has moved something else than a file, such as a folder of models."""
        if what := what_instead(status.st_mode):
            with folder_opened(path.parent) as folder:
                os.rename(path.name, leaf, src_dir_fd=folder, dst_dir_fd=parent)
            self._records.remove(entry.id)
            raise NotAModel(entry.name, what)

    def link_aside(self, model: Model, parent: int, leaf: str) -> TrashEntry | None:
        """Give a model's file a second name aside, so that its own can be replaced in one step.

        Only on local volumes: there the linked file is certainly the one that was looked up. None on a shared volume,
        and where the file system has no hard links or its owner's rights forbid one.
        """
        if self._volume.is_shared:
            return None
        entry = self._new_entry(model)
        with self._locked(entry), folder_opened(self._aside) as aside:
            self._records.write(entry)
            try:
                os.link(leaf, entry.id + ASIDE, src_dir_fd=parent, dst_dir_fd=aside, follow_symlinks=False)
            except OSError as exc:
                self._records.remove(entry.id)
                if exc.errno in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
                    return None
                raise
            sync_folder(aside)
        return entry

    def keep(self, entry: TrashEntry) -> None:
        """Make what was set aside an entry of the trash."""
        (self._aside / (entry.id + ASIDE)).rename(self._folder / entry.id)

    def put_back(self, entry: TrashEntry, parent: int, leaf: str) -> bool:
        """Undo `set_aside` and `link_aside`. False if the name is taken by now: then it is an entry of the trash.

        Raises FileNotFoundError when it is aside no longer, and LookupStale: then a sweep does it later.
        """
        name = entry.id + ASIDE
        with self._locked(entry), folder_opened(self._aside) as aside:
            status = self._volume.status(self._aside / name)  # else a link could be one of another file
            try:
                if stat.S_ISDIR(status.st_mode):
                    os.rename(name, leaf, src_dir_fd=aside, dst_dir_fd=parent)  # it replaces no file
                else:
                    move = partial(rename_without_replacing, name, leaf, source_folder=aside, target_folder=parent)
                    place(move, parent, leaf) if self._volume.is_shared else move()
            except FileExistsError:
                if self._drop_double(entry, parent, leaf):
                    return True
                self.keep(entry)
                return False
            sync_folder(parent)
            self._records.remove(entry.id)
            return True

    def drop_doubles(self, model: Model, parent: int, leaf: str) -> None:
        """Remove second names that killed replacements left aside, before the model is deleted. Hold its lock."""
        if self._volume.is_shared or os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_nlink == 1:
            return
        for path in self._aside.glob(f"*{ASIDE}"):
            if (entry := self._records.read(path.stem)) and entry.name == model.name:
                self._drop_double(entry, parent, leaf)

    def _drop_double(self, entry: TrashEntry, parent: int, leaf: str) -> bool:
        """Remove what is aside if it is a second name of the model's file, as `link_aside` makes one.

        Never on a shared volume: there two different files can look like one.
        """
        path = self._aside / (entry.id + ASIDE)
        if self._volume.is_shared or not os.path.samestat(
            path.lstat(), os.stat(leaf, dir_fd=parent, follow_symlinks=False)
        ):
            return False
        path.unlink()
        self._records.remove(entry.id)
        return True

    def purge_aside(self, entry: TrashEntry, on_purge: OnPurge) -> Purged | None:
        """Delete for good what was set aside; None if a sweep has put it back."""
        return self._purge(entry, self._aside / (entry.id + ASIDE), on_purge)

    # Out of the trash.

    def entries(self) -> list[TrashEntry]:
        """Everything in the trash that can be restored, oldest first."""
        with os.scandir(self._folder) as found:
            names = {each.name for each in found}
        ids = [name for name in names if ENTRY_ID.fullmatch(name) and name + RECORD_SUFFIX in names]
        return sorted(filter(None, map(self._records.read, ids)), key=lambda entry: entry.deleted_at)

    def get(self, entry_id: str) -> TrashEntry:
        """One entry; raises TrashEntryNotFound."""
        entry = self._records.read(entry_id) if ENTRY_ID.fullmatch(entry_id) else None
        if entry is None or not (self._folder / entry_id).exists():
            raise TrashEntryNotFound(entry_id)
        return entry

    def take(self, entry: TrashEntry, parent: int, leaf: str) -> None:
        """Move an entry's file to a name, given by its open folder and last part. Hold that model's lock meanwhile.

        Raises FileExistsError when the name is taken, TrashEntryNotFound when somebody else took or purged the entry.
        Killed at any point, this leaves the file in the trash or at its name, whole.
        """
        try:
            if self._volume.is_shared:
                self._take_claimed(entry, parent, leaf)
            else:
                with folder_opened(self._folder) as trash:
                    rename_without_replacing(entry.id, leaf, source_folder=trash, target_folder=parent)
                    sync_folder(trash)
        except FileNotFoundError:
            raise TrashEntryNotFound(entry.id) from None
        sync_folder(parent)
        self._records.remove(entry.id)

    def _take_claimed(self, entry: TrashEntry, parent: int, leaf: str) -> None:
        claim = self._claims.claim(self._folder / entry.id)
        try:
            claim.status()
            place(lambda: claim.move(parent, leaf), parent, leaf)
        except BaseException:
            claim.give_back()
            raise

    def purge(self, entry: TrashEntry, on_purge: OnPurge) -> Purged | None:
        """Delete an entry for good; None if another process has restored or purged it."""
        return self._purge(entry, self._folder / entry.id, on_purge)

    def freed_by_purging(self, entry: TrashEntry) -> int:
        """What the disk would have back, in bytes."""
        try:
            return freed_by_unlinking((self._folder / entry.id).stat())
        except FileNotFoundError:
            return 0

    # After processes that were killed.

    def recover(self, put_back: Callable[[TrashEntry], None], on_purge: OnPurge) -> list[Purged]:
        """Complete what killed processes left half done, and remove the records of entries that are gone.

        `put_back` must call this class's `put_back` under the model's lock; it may raise ModelInUse and ModelLocked.
        Entries that a living process has locked are skipped. A record is kept until its entry has expired, since a file
        that is not seen may be there all the same.
        """
        purged = []
        set_aside = {path.name for path in self._aside.glob(f"*{ASIDE}")}
        names = {path.name for path in self._folder.iterdir()}
        for name in sorted(names | set_aside):
            # What cannot be completed now, such as what a living process works on, stops nothing else.
            with contextlib.suppress(StoreError, OSError):
                if name in set_aside:
                    if entry := self._records.read(name.removesuffix(ASIDE)):
                        self._recover_aside(entry, put_back)
                elif name.endswith(PURGED) and (gone := self._complete_purge(name, on_purge)):
                    purged.append(gone)
                elif name.endswith(RECORD_SUFFIX):
                    self._forget_record(name.removesuffix(RECORD_SUFFIX), names)
        return purged

    def _recover_aside(self, entry: TrashEntry, put_back: Callable[[TrashEntry], None]) -> None:
        try:
            put_back(entry)
        except (NotAModel, InvalidModelName):  # its name cannot be reached any more
            self.keep(entry)

    def _complete_purge(self, name: str, on_purge: OnPurge) -> Purged | None:
        with self._locks.exclusive(_lock_name(name), seconds=0), folder_opened(self._folder) as trash:
            entry_id = name.removesuffix(PURGED)
            if entry := self._records.read(entry_id):
                return self._remove(entry, trash, on_purge)
            os.unlink(name, dir_fd=trash)  # without a record there is nothing to say of it
            return None

    def _forget_record(self, entry_id: str, names: set[str]) -> None:
        """Remove the record of an entry that has expired and has no file."""
        if entry_id in names or not self._records.has_expired(entry_id, self._retention):
            return
        # A process that holds the lock may be between writing the record and moving the file.
        with self._locks.exclusive(_lock_name(entry_id), seconds=0):
            # The trash twice: what is moved from the one to the other meanwhile is in neither list otherwise.
            files = {name for folder in (self._folder, self._aside, self._folder) for name in files_on_server(folder)}
            if not any(entry_id in name and name != entry_id + RECORD_SUFFIX for name in files):
                self._records.remove(entry_id)

    # The steps.

    def _new_entry(self, model: Model) -> TrashEntry:
        now = datetime.now(UTC)
        entry_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"
        return TrashEntry(entry_id, model.name, model.size_bytes, now, now + self._retention)

    def _move_in(self, entry: TrashEntry, parent: int, leaf: str, path: Path) -> None:
        with self._locked(entry), folder_opened(path.parent) as folder:
            self._records.write(entry)
            try:
                os.rename(leaf, path.name, src_dir_fd=parent, dst_dir_fd=folder)
            except OSError:
                # A network that loses an answer may have made the move; then the record must stay. One without a file
                # is in no list, and goes when it expires.
                if not self._volume.is_shared:
                    self._records.remove(entry.id)
                raise
            sync_folder(parent)
            sync_folder(folder)

    @contextlib.contextmanager
    def _locked(self, entry: TrashEntry) -> Iterator[None]:
        """Hold an entry's lock, which tells sweeps that a living process is at it."""
        try:
            with self._locks.exclusive(_lock_name(entry.id), seconds=LOCK_SECONDS):
                yield
        except (ModelInUse, ModelLocked) as exc:
            if exc.name != _lock_name(entry.id):
                raise
            raise ModelLocked(entry.name) from None

    def _purge(self, entry: TrashEntry, path: Path, on_purge: OnPurge) -> Purged | None:
        with self._locked(entry), folder_opened(self._folder) as trash:
            try:
                path.rename(self._folder / (entry.id + PURGED))
            except FileNotFoundError:
                return None
            return self._remove(entry, trash, on_purge)

    def _remove(self, entry: TrashEntry, trash: int, on_purge: OnPurge) -> Purged | None:
        """The journal first, the bytes second, the record last: killed in between, the next sweep does it again."""
        status = os.stat(entry.id + PURGED, dir_fd=trash, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):  # no model, and not ours to remove
            os.rename(entry.id + PURGED, entry.id, src_dir_fd=trash, dst_dir_fd=trash)
            return None
        on_purge(entry)
        os.unlink(entry.id + PURGED, dir_fd=trash)
        self._records.remove(entry.id)
        version = model_at(entry.name, status)
        return Purged(entry, freed_by_unlinking(status), version.etag, has_other_name=status.st_nlink > 1)


def freed_by_unlinking(status: os.stat_result) -> int:
    """What the disk has back when a file loses this name: nothing while it has another."""
    return status.st_blocks * 512 if status.st_nlink == 1 else 0


def _lock_name(name: str) -> str:
    """The lock of one entry, of any of its names: one that no model can have."""
    return f"/trash/{name.partition('.')[0]}"
