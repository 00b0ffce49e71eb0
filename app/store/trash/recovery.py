"""Completes or undoes the changes that killed processes left unfinished in the trash and in `.store/aside/`."""

import contextlib
import stat
from collections.abc import Callable

from app.errors import InvalidModelName, NotAModel, StoreError
from app.store.locks.model_locks import ModelLocks
from app.store.records.name_records import RECORD_SUFFIX
from app.store.trash.entry_lock import entry_lock_name
from app.store.trash.folder import ASIDE, TrashFolder
from app.store.trash.purging import PURGED, OnPurge, Purged
from app.store.trash.records import ENTRY_ID, TrashEntry, TrashRecords
from app.store.volume.server_lookups import files_on_server
from app.store.volume.volume import Volume


class TrashRecovery:
    """The recovery of one trash folder, which each sweep runs."""

    def __init__(self, volume: Volume, locks: ModelLocks, files: TrashFolder) -> None:
        self._volume = volume
        self._folder = volume.trash_dir
        self._aside = volume.aside_dir
        self._locks = locks
        self._files = files
        self._records = TrashRecords(self._folder, volume.records)

    def run(self, put_back: Callable[[TrashEntry], None], on_purge: OnPurge) -> list[Purged]:
        """Complete or undo the steps that killed processes left unfinished, and remove records without files.

        Returns the entries that were purged. `put_back` must call `TrashFolder.put_back` under the model's lock; it may
        raise ModelInUse and ModelLocked. Entries that a living process has locked are skipped. A record without a file
        is kept until its entry has expired, because a stale cache may hide the file.
        """
        purged = []
        set_aside = {
            path.name for path in self._aside.glob(f"*{ASIDE}") if ENTRY_ID.fullmatch(path.name.removesuffix(ASIDE))
        }
        names = {path.name for path in self._folder.iterdir()}
        for name in sorted(names | set_aside):
            # A step that fails, for example while a living process works on the entry, does not stop the others.
            with contextlib.suppress(StoreError, OSError):
                if name in set_aside:
                    entry_id = name.removesuffix(ASIDE)
                    if entry := self._records.read(entry_id):
                        self._recover_aside(entry, put_back)
                    elif self._records.has(entry_id) or not self._volume.is_shared:
                        self._keep_without_record(entry_id)
                elif not ENTRY_ID.match(name):
                    continue  # the store puts no such file here
                elif name.endswith(PURGED) and (gone := self._files.purger.complete(name, on_purge)):
                    purged.append(gone)
                elif name.endswith(RECORD_SUFFIX):
                    self._forget_record(name.removesuffix(RECORD_SUFFIX), names)
        return purged

    def _recover_aside(self, entry: TrashEntry, put_back: Callable[[TrashEntry], None]) -> None:
        try:
            put_back(entry)
        except (NotAModel, InvalidModelName):  # the model's name is not possible now: move the file to the trash
            self._files.keep(entry)

    def _keep_without_record(self, entry_id: str) -> None:
        """Move a file without a record, which a killed process left in `.store/aside/`, to the trash.

        Its name is unknown.
        """
        path = self._aside / (entry_id + ASIDE)
        with self._locks.exclusive(entry_lock_name(entry_id), seconds=0):
            if self._records.read(entry_id) is None and stat.S_ISREG(path.lstat().st_mode):
                path.rename(self._folder / entry_id)

    def _forget_record(self, entry_id: str, names: set[str]) -> None:
        """Remove an entry's record if the entry has expired and has no file among `names`."""
        if entry_id in names or not self._records.has_expired(entry_id, self._files.retention):
            return
        # A process that holds the lock may be between writing the record and moving the file.
        with self._locks.exclusive(entry_lock_name(entry_id), seconds=0):
            # The trash is listed twice: a file that moves between the first two listings would be in neither.
            files = {name for folder in (self._folder, self._aside, self._folder) for name in files_on_server(folder)}
            if not any(entry_id in name and name != entry_id + RECORD_SUFFIX for name in files):
                self._records.remove(entry_id)
