"""The trash: deleted models, each with its record, until their time is up. Record first, file second."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.errors import ModelInUse, ModelLocked
from app.store.inventory import Model
from app.store.locks import ModelLocks

LOCK_NAME = "/trash"
"""A lock name that no model can have: held shared while a record may stand without its file."""
PUT_SECONDS = 10.0


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


class Trash:
    """The trash folder of one model folder, and on the same file system as it: in and out are renames."""

    def __init__(self, folder: Path, locks: ModelLocks, retention: timedelta) -> None:
        self._folder = folder
        self._locks = locks
        self._retention = retention

    def put(self, model: Model, parent: int, leaf: str) -> TrashEntry:
        """Move a model's file, given by its open folder and last part, into the trash. Hold the model's lock meanwhile.

        Killed at any point, this leaves the file either in place or in the trash, whole. Raises FileNotFoundError when
        the file is gone: whoever took it won.
        """
        now = datetime.now(UTC)
        entry_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"
        entry = TrashEntry(entry_id, model.name, model.size_bytes, now, now + self._retention)
        with self._locks.lease(LOCK_NAME, seconds=PUT_SECONDS), _opened(self._folder) as trash:
            try:
                self._write_record(entry, trash)
                os.rename(leaf, entry.id, src_dir_fd=parent, dst_dir_fd=trash)
            except OSError:
                self._record_of(entry.id).unlink(missing_ok=True)
                raise
            os.fsync(parent)
            os.fsync(trash)
        return entry

    def entries(self) -> list[TrashEntry]:
        """Everything in the trash that can be restored, oldest first."""
        return sorted(self._read(), key=lambda entry: entry.deleted_at)

    def sweep(self) -> list[TrashEntry]:
        """Purge what has expired, and clear records without a file, which a killed process left; say what went."""
        now = datetime.now(UTC)
        purged = [entry for entry in self.entries() if entry.expires_at <= now and self._purge(entry)]
        self._clear_orphans()
        return purged

    def _purge(self, entry: TrashEntry) -> bool:
        """File first: killed in between, this leaves a record to clear, never bytes that nobody knows of."""
        try:
            (self._folder / entry.id).unlink()
        except FileNotFoundError:
            return False  # another process purged it
        self._record_of(entry.id).unlink(missing_ok=True)
        return True

    def _clear_orphans(self) -> None:
        # Not while anybody is between writing a record and moving its file; the next sweep will do.
        with contextlib.suppress(ModelInUse, ModelLocked), self._locks.exclusive(LOCK_NAME, seconds=0):
            for record in self._folder.glob("*.json"):
                if not record.with_suffix("").exists():
                    record.unlink(missing_ok=True)

    def _read(self) -> Iterator[TrashEntry]:
        for record in self._folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                entry = TrashEntry.from_json(record.read_text())
                if (self._folder / entry.id).exists():
                    yield entry

    def _write_record(self, entry: TrashEntry, trash: int) -> None:
        with self._record_of(entry.id).open("x") as record:
            record.write(entry.to_json())
            record.flush()
            os.fsync(record.fileno())
        os.fsync(trash)

    def _record_of(self, entry_id: str) -> Path:
        return self._folder / f"{entry_id}.json"


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
