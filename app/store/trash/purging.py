"""Deletes entries of the trash permanently. If the process is killed in between, the next sweep completes the purge."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.store.aftermath import after_change, note_failure
from app.store.inventory import model_at
from app.store.locks.model_locks import ModelLocks
from app.store.trash.entry_lock import entry_lock_name, entry_locked
from app.store.trash.records import TrashEntry, TrashRecords
from app.store.volume.claims import folder_opened
from app.store.volume.renames import rename, unlink

PURGED = ".purged"
RECORD_LEFT = "the record of the trash entry could not be removed, and a later sweep removes it"


@dataclass(frozen=True, slots=True)
class Purged:
    """The result of the purge of one entry."""

    entry: TrashEntry
    freed_bytes: int
    """How many bytes the disk regained."""
    etag: str
    """The ETag of the version that was deleted."""
    has_other_name: bool
    """True if the file still exists under another name."""


OnPurge = Callable[[TrashEntry], None]
"""A function that receives each entry just before its bytes are deleted, so that the journal has the purge even after a
crash."""


class Purger:
    """Purges the entries of one trash folder, in three steps: rename to `<id>.purged`, delete, remove the record."""

    def __init__(self, folder: Path, locks: ModelLocks, records: TrashRecords) -> None:
        self._folder = folder
        self._locks = locks
        self._records = records
        self._told: set[str] = set()
        """The ids of entries whose purge is in the journal although their bytes could not be deleted yet."""

    def purge(self, entry: TrashEntry, path: Path, on_purge: OnPurge) -> Purged | None:
        """Delete the file of an entry, which is at `path` now. Returns None if the file is gone from `path`."""
        with entry_locked(self._locks, entry), folder_opened(self._folder) as trash:
            try:
                with folder_opened(path.parent) as source:
                    rename(path.name, entry.id + PURGED, source_folder=source, target_folder=trash)
            except FileNotFoundError:
                return None
            return self._remove(entry, trash, on_purge)

    def complete(self, name: str, on_purge: OnPurge) -> Purged | None:
        """Complete the purge that a killed process has begun. `name` is the name of the file `<id>.purged`.

        If the file has no record, deletes the file but writes nothing to the journal, and returns None. Raises
        ModelInUse and ModelLocked while a living process works on the entry.
        """
        with self._locks.exclusive(entry_lock_name(name), seconds=0), folder_opened(self._folder) as trash:
            entry_id = name.removesuffix(PURGED)
            if entry := self._records.read(entry_id):
                return self._remove(entry, trash, on_purge)
            unlink(name, folder=trash)  # without a record there is nothing for the journal
            return None

    def _remove(self, entry: TrashEntry, trash: int, on_purge: OnPurge) -> Purged | None:
        """Call `on_purge`, delete the file, remove the record. If the process is killed, a sweep repeats the steps."""
        status = os.stat(entry.id + PURGED, dir_fd=trash, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):  # the store must delete regular files only
            os.rename(entry.id + PURGED, entry.id, src_dir_fd=trash, dst_dir_fd=trash)
            return None
        if entry.id not in self._told:  # a sweep tries again what this process could not delete
            on_purge(entry)
            self._told.add(entry.id)
        version, freed_bytes = model_at(entry.name, status), freed_by_unlinking(status)
        try:
            unlink(entry.id + PURGED, folder=trash)
        except OSError as exc:
            note_failure(f"its bytes are still on the disk, and a sweep deletes them later: {exc.strerror}")
            freed_bytes = 0
        else:
            self._told.discard(entry.id)
            with after_change(RECORD_LEFT):
                self._records.remove(entry.id)
        return Purged(entry, freed_bytes, version.etag, has_other_name=status.st_nlink > 1)


def freed_by_unlinking(status: os.stat_result) -> int:
    """Return how many bytes the disk regains by unlinking a file: 0 if the file has another name."""
    return status.st_blocks * 512 if status.st_nlink == 1 else 0
