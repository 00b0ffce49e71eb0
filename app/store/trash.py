"""The trash: deleted models, each with its record, until their time is up. Record first, file second."""

import contextlib
import errno
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.errors import ModelInUse, ModelLocked, TrashEntryNotFound
from app.store.inventory import Model
from app.store.locks import ModelLocks
from app.store.renames import rename_without_replacing

LOCK_NAME = "/trash"
"""A lock name that no model can have: held shared while a record may stand without its file."""
PUT_SECONDS = 10.0
ENTRY_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """One deleted model. Its bytes lie in the trash folder under its id, beside them the record, `<id>.json`."""

    id: str
    name: str
    size_bytes: int
    deleted_at: datetime
    expires_at: datetime

    def to_json(self) -> str:
        """The record as text."""
        return json.dumps(asdict(self), default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str) -> "TrashEntry":
        """Read a record; raises ValueError, KeyError or TypeError when it is none."""
        fields = json.loads(text)
        for name in ("deleted_at", "expires_at"):
            fields[name] = datetime.fromisoformat(fields[name])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Purged:
    """An entry that is gone for good."""

    entry: TrashEntry
    freed_bytes: int
    """What the disk has back."""


class Trash:
    """The trash folder of one model folder, and on the same file system as it: in and out are renames."""

    def __init__(self, folder: Path, locks: ModelLocks, retention: timedelta) -> None:
        self._folder = folder
        self._locks = locks
        self._retention = retention

    def put(self, model: Model, parent: int, leaf: str, *, keeping: bool = False) -> TrashEntry:
        """Move a model's file, given by its open folder and last part, into the trash. Hold the model's lock meanwhile.

        `keeping` leaves it at its name as well, to be replaced there in one step, wherever the file system has hard
        links. Killed at any point, this leaves the file in place or in the trash, whole. Raises FileNotFoundError when
        the file is gone: whoever took it won.
        """
        self.clear_doubles_of(model.name, parent, leaf)
        now = datetime.now(UTC)
        entry_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"
        entry = TrashEntry(entry_id, model.name, model.size_bytes, now, now + self._retention)
        with self._locks.lease(LOCK_NAME, seconds=PUT_SECONDS), _opened(self._folder) as trash:
            try:
                self._write_record(entry, trash)
                if not (keeping and _linked(leaf, entry.id, parent, trash)):
                    os.rename(leaf, entry.id, src_dir_fd=parent, dst_dir_fd=trash)
            except OSError:
                self._record_of(entry.id).unlink(missing_ok=True)
                raise
            os.fsync(parent)
            os.fsync(trash)
        return entry

    def entries(self) -> list[TrashEntry]:
        """Everything in the trash that can be restored, oldest first."""
        records = self._folder.glob("*.json")
        return sorted(filter(None, map(self._read, records)), key=lambda entry: entry.deleted_at)

    def get(self, entry_id: str) -> TrashEntry:
        """One entry; raises TrashEntryNotFound."""
        entry = self._read(self._record_of(entry_id)) if ENTRY_ID.fullmatch(entry_id) else None
        if entry is None:
            raise TrashEntryNotFound(entry_id)
        return entry

    def take(self, entry: TrashEntry, parent: int, leaf: str) -> None:
        """Move an entry's file to a name, given by its open folder and last part. Hold that model's lock meanwhile.

        Raises FileExistsError when the name is taken, TrashEntryNotFound when somebody else took or purged the entry.
        Killed at any point, this leaves the file in the trash or at its name, whole.
        """
        with _opened(self._folder) as trash:
            try:
                rename_without_replacing(entry.id, leaf, source_folder=trash, target_folder=parent)
            except FileNotFoundError:
                raise TrashEntryNotFound(entry.id) from None
            os.fsync(parent)
            os.fsync(trash)
        self._record_of(entry.id).unlink(missing_ok=True)

    def purge(self, entry: TrashEntry) -> Purged | None:
        """Delete an entry for good; None when somebody else was faster.

        File first: killed in between, this leaves a record to clear, never bytes that nobody knows of.
        """
        try:
            freed_bytes = freed_by_unlinking((self._folder / entry.id).lstat())
            (self._folder / entry.id).unlink()
        except FileNotFoundError:
            return None
        self._record_of(entry.id).unlink(missing_ok=True)
        return Purged(entry, freed_bytes)

    def freed_by_purging(self, entry: TrashEntry) -> int:
        """What the disk would have back, in bytes."""
        try:
            return freed_by_unlinking((self._folder / entry.id).stat())
        except FileNotFoundError:
            return 0

    def undo(self, entry: TrashEntry, parent: int, leaf: str) -> None:
        """Take back a `put`. Hold the model's lock meanwhile; what lies at the name by now stays, and the entry too."""
        with contextlib.suppress(TrashEntryNotFound):
            try:
                self.take(entry, parent, leaf)
            except FileExistsError:
                if _is_same(self._folder / entry.id, leaf, parent):
                    self.purge(entry)

    def clear_doubles(self, root: Path) -> None:
        """Clear entries whose file has its name in the model folder as well, where a killed replacement left it."""
        for entry in self.entries():
            # Nobody is replacing it right now if its lock is free.
            with contextlib.suppress(ModelInUse, ModelLocked):
                self.clear_double(entry, root, seconds=0)

    def clear_double(self, entry: TrashEntry, root: Path, *, seconds: float) -> None:
        """Clear one entry if it is such a double. Raises ModelInUse and ModelLocked after waiting so long."""
        if _is_same(self._folder / entry.id, root / entry.name):
            with self._locks.exclusive(entry.name, seconds=seconds):
                if _is_same(self._folder / entry.id, root / entry.name):
                    self.purge(entry)

    def clear_doubles_of(self, name: str, parent: int, leaf: str) -> None:
        """Clear the doubles of one model, which is about to lose its name. Hold its lock meanwhile.

        Raises FileNotFoundError when the model is gone.
        """
        if os.stat(leaf, dir_fd=parent, follow_symlinks=False).st_nlink > 1:
            for entry in self.entries():
                if entry.name == name and _is_same(self._folder / entry.id, leaf, parent):
                    self.purge(entry)

    def clear_orphans(self) -> None:
        """Clear records without a file, which a killed process left."""
        # Not while anybody is between writing a record and moving its file; the next sweep will do.
        with contextlib.suppress(ModelInUse, ModelLocked), self._locks.exclusive(LOCK_NAME, seconds=0):
            for record in self._folder.glob("*.json"):
                if not record.with_suffix("").exists():
                    record.unlink(missing_ok=True)

    def _read(self, record: Path) -> TrashEntry | None:
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            entry = TrashEntry.from_json(record.read_text())
            if (self._folder / entry.id).exists():
                return entry
        return None

    def _write_record(self, entry: TrashEntry, trash: int) -> None:
        with self._record_of(entry.id).open("x") as record:
            record.write(entry.to_json())
            record.flush()
            os.fsync(record.fileno())
        os.fsync(trash)

    def _record_of(self, entry_id: str) -> Path:
        return self._folder / f"{entry_id}.json"


def freed_by_unlinking(status: os.stat_result) -> int:
    """What the disk has back when a file loses this name: nothing while it has another."""
    return status.st_blocks * 512 if status.st_nlink == 1 else 0


def _is_same(one: Path, other: Path | str, folder: int | None = None) -> bool:
    """Whether two paths, the other perhaps relative to an open folder, are names of one file."""
    with contextlib.suppress(OSError):
        return os.path.samestat(one.lstat(), os.stat(other, dir_fd=folder, follow_symlinks=False))
    return False


def _linked(source: str, target: str, source_folder: int, target_folder: int) -> bool:
    """Give a file a second name; False where the file system, or its owner's rights, do not let it have one."""
    try:
        os.link(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)
    except OSError as exc:
        if exc.errno in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            return False
        raise
    return True


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
