"""The files of the trash: deleted models, each with its record, until they expire.

`put` writes the record before it moves the file; `take` and `purge` remove the record after they move or delete the
file.

The path of a file is its state, and each change of state is a rename that the file system's server decides. So of any
number of machines exactly one makes the change, even if their caches are stale. The states:

- `trash/<id>`: a deleted model, which can be restored or purged.
- `aside/<id>.model`: a model that is being replaced or, on a shared volume, deleted, while its version is checked.
  If its process is killed, a sweep puts the file back at its name, or makes it `trash/<id>` if that name is taken.
- `aside/trash~...`: an entry that is being restored; see `app.store.volume.claims`.
- `trash/<id>.purged`: an entry that is being purged. If its process is killed, the next sweep completes it.

No file is ever deleted because of a lookup alone: a client of a network file system still sees a name for a while after
another machine has renamed the file.
"""

import contextlib
import errno
import os
import secrets
import stat
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from app.errors import NotAModel, TrashEntryNotFound
from app.store.aftermath import after_change
from app.store.expiry import FolderClock
from app.store.integrity.digests import Digests
from app.store.inventory import Model, model_at, what_instead
from app.store.locks.model_locks import ModelLocks
from app.store.trash.entry_lock import entry_locked
from app.store.trash.purging import RECORD_LEFT, OnPurge, Purged, Purger, freed_by_unlinking
from app.store.trash.records import ENTRY_ID, TrashEntry, TrashRecords
from app.store.volume.claims import Claims, folder_opened
from app.store.volume.renames import NO_LINKS, rename, rename_path, rename_without_replacing, sync_folder
from app.store.volume.server_lookups import move_to_free_name
from app.store.volume.volume import Volume

ASIDE = ".model"
UNSYNCED = "a power cut may undo the change, because its folder could not be synced to the disk"


class TrashFolder:
    """The trash folder of one model folder. Both are on one file system, so models move in and out by renames."""

    def __init__(
        self,
        volume: Volume,
        locks: ModelLocks,
        claims: Claims,
        digests: Digests,
        retention: timedelta,
        clock: FolderClock,
    ) -> None:
        """`clock` keeps new entries from expiring early if the system's clock was set back."""
        self._clock = clock
        self._volume = volume
        self._folder = volume.trash_dir
        self._aside = volume.aside_dir
        self._locks = locks
        self._claims = claims
        self._digests = digests
        self.retention = retention
        """How long a new entry is kept."""
        self._records = TrashRecords(self._folder, volume.records)
        self.purger = Purger(self._folder, locks, self._records)

    # Into the trash. Callers hold the model's lock, and give its file by the open folder and the name's last part.

    def put(self, model: Model, parent: int, leaf: str) -> TrashEntry:
        """Move a model's file into the trash. On a shared volume use `set_aside` instead.

        If the process is killed, the complete file is either at its name or in the trash. Raises FileNotFoundError if
        the file is gone.
        """
        entry = self._new_entry(model)
        path = self._folder / entry.id
        self._move_in(entry, parent, leaf, path)
        with contextlib.suppress(FileNotFoundError):  # another process has already restored or purged the entry
            status = None
            with after_change("it was not checked that the deleted entry is a file"):
                status = path.lstat()
            if status:
                self._require_file(entry, status, path, parent, leaf)
        return entry

    def set_aside(self, model: Model, parent: int, leaf: str) -> tuple[TrashEntry, Model]:
        """Move a model's file to `aside/`; return an entry for it, and the version that was moved.

        The caller checks the version, because on a shared volume the server may have moved another version than the
        caller looked up. Then the caller calls `keep`, `put_back` or `purge_aside`. If the process is killed before
        that call, or LookupStale is raised, the next sweep puts the file back. Raises FileNotFoundError if the file is
        gone.
        """
        entry = self._new_entry(model)
        path = self._aside / (entry.id + ASIDE)
        self._move_in(entry, parent, leaf, path)
        if not self._volume.is_shared:
            return entry, model
        status = self._volume.status(path)
        try:
            self._require_file(entry, status, path, parent, leaf)
            moved = model_at(model.name, status)
            if moved.size_bytes != entry.size_bytes:
                entry = self._records.correct(entry, moved.size_bytes)
        except OSError:
            self.put_back(entry, parent, leaf)
            raise
        return entry, moved

    def _require_file(self, entry: TrashEntry, status: os.stat_result, path: Path, parent: int, leaf: str) -> None:
        """If a move has moved something other than a file, such as a folder, undo the move and raise NotAModel."""
        if what := what_instead(status.st_mode):
            with folder_opened(path.parent) as folder:
                os.rename(path.name, leaf, src_dir_fd=folder, dst_dir_fd=parent)
            self._records.remove(entry.id)
            raise NotAModel(entry.name, what)

    def link_aside(self, model: Model, parent: int, leaf: str) -> TrashEntry | None:
        """Give a model's file a second name in `aside/`, so that its first name can be replaced in one step.

        The second name is a hard link. Returns None if no link can be made: the file system has no hard links, the
        owner's rights forbid the link, or the volume is shared, where the link could be to another file than was looked
        up.
        """
        if self._volume.is_shared:
            return None
        entry = self._new_entry(model)
        with entry_locked(self._locks, entry), folder_opened(self._aside) as aside:
            self._records.write(entry)
            try:
                os.link(leaf, entry.id + ASIDE, src_dir_fd=parent, dst_dir_fd=aside, follow_symlinks=False)
            except OSError as exc:
                with contextlib.suppress(OSError):
                    self._records.remove(entry.id)
                if exc.errno in {*NO_LINKS, errno.EACCES}:
                    return None
                raise
            with after_change(UNSYNCED):
                sync_folder(aside)
        return entry

    def keep(self, entry: TrashEntry) -> None:
        """Move a file from `aside/`, where `set_aside` or `link_aside` has put it, into the trash."""
        rename_path(self._aside / (entry.id + ASIDE), self._folder / entry.id)

    def put_back(self, entry: TrashEntry, parent: int, leaf: str) -> bool:
        """Undo `set_aside` or `link_aside`. If the name is taken, move the file into the trash and return False.

        Raises FileNotFoundError if another process has moved the file. After LookupStale a sweep puts the file back
        later.
        """
        name = entry.id + ASIDE
        with entry_locked(self._locks, entry), folder_opened(self._aside) as aside:
            status = self._volume.status(self._aside / name)  # otherwise a stale cache could link another file
            try:
                if stat.S_ISDIR(status.st_mode):
                    os.rename(name, leaf, src_dir_fd=aside, dst_dir_fd=parent)  # a folder cannot replace a file
                else:
                    move = partial(rename_without_replacing, name, leaf, source_folder=aside, target_folder=parent)
                    move_to_free_name(move, parent, leaf) if self._volume.is_shared else move()
            except FileExistsError:
                if self._remove_extra_link(entry, parent, leaf):
                    return True
                self.keep(entry)
                return False
            with after_change(UNSYNCED):
                sync_folder(parent)
            with after_change(RECORD_LEFT):
                self._records.remove(entry.id)
            return True

    def remove_extra_links(self, model: Model, parent: int, leaf: str) -> None:
        """Remove the second names in `aside/` that killed replacements of a model have left. Hold the model's lock."""
        if self._volume.is_shared or os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_nlink == 1:
            return
        for path in self._aside.glob(f"*{ASIDE}"):
            if (entry := self._records.read(path.stem)) and entry.name == model.name:
                self._remove_extra_link(entry, parent, leaf)

    def _remove_extra_link(self, entry: TrashEntry, parent: int, leaf: str) -> bool:
        """Remove the entry's file in `aside/` if it is only a second name of the model's file.

        Returns True if it was removed. Removes nothing on a shared volume, where two different files can look like one.
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
        """Delete an entry's file that was moved to `aside/`. Returns None if a sweep has put the file back."""
        return self.purger.purge(entry, self._aside / (entry.id + ASIDE), on_purge)

    # Out of the trash.

    def entries(self) -> list[TrashEntry]:
        """List the entries that can be restored, oldest first."""
        if not self._volume.check_folder(self._folder):
            return []
        with os.scandir(self._folder) as found:
            ids = [each.name for each in found if ENTRY_ID.fullmatch(each.name) and each.is_file(follow_symlinks=False)]
        return sorted(filter(None, map(self._entry, ids)), key=lambda entry: entry.deleted_at)

    def get(self, entry_id: str) -> TrashEntry:
        """Get an entry by its id. Raises TrashEntryNotFound."""
        if self._volume.check_folder(self._folder) and ENTRY_ID.fullmatch(entry_id):
            entry = self._entry(entry_id)
            with contextlib.suppress(FileNotFoundError):
                if entry and stat.S_ISREG((self._folder / entry_id).lstat().st_mode):
                    return entry
        raise TrashEntryNotFound(entry_id)

    def _entry(self, entry_id: str) -> TrashEntry | None:
        """Return the entry of a file in the trash.

        If the file's record is damaged or lost, the entry's name is `unknown-<id>`.
        """
        if entry := self._records.read(entry_id):
            return entry
        # On a shared volume, a record may seem to be missing because another machine has just removed the entry.
        if self._volume.is_shared and not self._records.has(entry_id):
            return None
        with contextlib.suppress(FileNotFoundError):
            return self._records.without_record(entry_id, (self._folder / entry_id).lstat(), self.retention)
        return None

    def model_in(self, entry: TrashEntry, name: str) -> Model:
        """Return the model that restoring an entry to `name` would create. Raises TrashEntryNotFound."""
        try:
            return model_at(name, (self._folder / entry.id).lstat())
        except FileNotFoundError:
            raise TrashEntryNotFound(entry.id) from None

    def take(self, entry: TrashEntry, parent: int, leaf: str) -> None:
        """Move an entry's file out of the trash to a model's name, given by the open folder and the last part.

        The caller must hold the lock of that model. Raises FileExistsError if the name is taken, and TrashEntryNotFound
        if another process has restored or purged the entry. If the process is killed, the complete file is either in
        the trash or at the name.
        """
        try:
            if self._volume.is_shared:
                self._take_claimed(entry, parent, leaf)
            else:
                with folder_opened(self._folder) as trash:
                    rename_without_replacing(entry.id, leaf, source_folder=trash, target_folder=parent)
                    with after_change(UNSYNCED):
                        sync_folder(trash)
        except FileNotFoundError:
            raise TrashEntryNotFound(entry.id) from None
        with after_change(UNSYNCED):
            sync_folder(parent)
        with after_change(RECORD_LEFT):
            self._records.remove(entry.id)

    def _take_claimed(self, entry: TrashEntry, parent: int, leaf: str) -> None:
        claim = self._claims.claim(self._folder / entry.id)
        try:
            claim.status()
            move_to_free_name(lambda: claim.move(parent, leaf), parent, leaf)
        except BaseException:
            claim.give_back()
            raise

    def purge(self, entry: TrashEntry, on_purge: OnPurge) -> Purged | None:
        """Delete an entry permanently. Returns None if another process has restored or purged the entry."""
        return self.purger.purge(entry, self._folder / entry.id, on_purge)

    def freed_by_purging(self, entry: TrashEntry) -> int:
        """Return how many bytes the disk would regain by a purge of the entry."""
        try:
            return freed_by_unlinking((self._folder / entry.id).stat())
        except FileNotFoundError:
            return 0

    # The steps of these methods.

    def _new_entry(self, model: Model) -> TrashEntry:
        # Read first, so that it is later than `now` only if the system's clock was set back.
        kept_time, now = self._clock.now(), datetime.now(UTC)
        entry_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"
        sha256 = self._digests.of(model)
        etag = model.etag if sha256 else None
        expires_at = max(now, kept_time) + self.retention
        return TrashEntry(entry_id, model.name, model.size_bytes, now, expires_at, etag, sha256)

    def _move_in(self, entry: TrashEntry, parent: int, leaf: str, path: Path) -> None:
        with entry_locked(self._locks, entry), folder_opened(path.parent) as folder:
            self._records.write(entry)
            try:
                rename(leaf, path.name, source_folder=parent, target_folder=folder)
            except OSError:
                # On a shared volume the server may have moved the file although its answer was lost, so the record must
                # stay. A record without a file is not listed, and is deleted when it expires.
                if not self._volume.is_shared:
                    with contextlib.suppress(OSError):
                        self._records.remove(entry.id)
                raise
            with after_change(UNSYNCED):
                sync_folder(parent)
                sync_folder(folder)
