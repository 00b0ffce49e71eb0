"""The journal: who changed which model, how and when. Append-only JSON lines, in files that are rotated.

`journal.jsonl` is the present file; `journal.<time>-<random>.jsonl` are older ones, which no process changes.
"""

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path

from app.errors import ModelInUse, ModelLocked, StoreError
from app.events import EventName, OnEvent
from app.store.actor import Actor
from app.store.locks.model_locks import ModelLocks
from app.store.volume.volume import Volume

ROTATE_BYTES = 8 << 20
"""About 40,000 lines. A larger file is renamed, and a new one begun."""
OLDER_BYTES = 24 << 20
"""The size of all older files together; beyond it the oldest is deleted."""
READ_BYTES = 24 << 20
"""How much of the journal `latest` reads: the present file, and the older ones that fit."""
JOURNAL_LOCK = "/journal"
"""The lock of the journal's writers; no model can have that name."""
TURN_SECONDS = 10.0
"""How long a writer waits for its turn on a shared volume."""


class Action(StrEnum):
    """What was done to a model."""

    UPLOADED = "uploaded"
    PULLED = "pulled"
    TRASHED = "trashed"
    DELETED = "deleted"
    """At once, without the trash."""
    RESTORED = "restored"
    PURGED = "purged"
    PROTECTED = "protected"
    UNPROTECTED = "unprotected"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line: something that changed the store, or that it refused."""

    at: datetime
    actor: str
    """The name of the API key, 'anonymous', or 'service' for what it does by itself."""
    action: str
    """An `Action`, or one that a newer version of this service has written."""
    name: str
    """The model's name."""
    trash_id: str | None
    size_bytes: int
    request_id: str | None
    reason: str | None = None
    """Why the service did it by itself: `expired`, `room`, `replaced` or `recovered`; None if a caller asked for it."""

    def to_line(self) -> bytes:
        """The entry as a line."""
        return json.dumps(asdict(self), default=datetime.isoformat).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "JournalEntry":
        """Read a line; raises ValueError, KeyError or TypeError when it is none."""
        fields = json.loads(line)
        return cls(**fields | {"at": datetime.fromisoformat(fields["at"])})


class Journal:
    """The journal of one model folder; any number of processes write it."""

    def __init__(self, volume: Volume, locks: ModelLocks, on_event: OnEvent) -> None:
        self._volume = volume
        self._path = volume.journal_file
        self._locks = locks
        self._on_event = on_event

    def record(
        self,
        actor: Actor,
        action: Action,
        name: str,
        trash_id: str | None,
        size_bytes: int,
        reason: str | None = None,
    ) -> None:
        """Report a change of a model as an event, and append it to the journal.

        `trash_id` is the model's entry in the trash, and `reason` says why the service made the change by itself. The
        change is made already: if the journal cannot be written, that is an event, and nothing is undone.
        """
        fields = {"name": name, "size_bytes": size_bytes, "actor": actor.name, "trash_id": trash_id}
        self._on_event(EventName(f"model.{action}"), fields | ({"reason": reason} if reason else {}))
        now, request_id = datetime.now(UTC), actor.request_id
        try:
            self.write(JournalEntry(now, actor.name, action, name, trash_id, size_bytes, request_id, reason))
        except (OSError, StoreError) as exc:
            self._on_event(EventName.JOURNAL_FAILED, {"error": str(exc), "action": action, "name": name})

    def write(self, entry: JournalEntry) -> None:
        """Append one entry, and have it on disk before this returns. Raises OSError, and ModelLocked after 10 s."""
        with self._one_writer():
            journal = self._opened()
            try:
                # A line that a full disk cut short must not spoil the next one. A line that another process is just
                # writing may look so too; then an empty line separates them, which readers skip.
                line = entry.to_line() if _ends_with_a_line(journal) else b"\n" + entry.to_line()
                if os.write(journal, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                os.fsync(journal)
                is_full = os.fstat(journal).st_size > ROTATE_BYTES
            finally:
                os.close(journal)
        if is_full:
            self._rotate()

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self._path, flags)
        except FileNotFoundError:
            return os.open(self._path, flags | os.O_CREAT, 0o644)

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """Exclude writers on other machines.

        One kernel writes a short line with O_APPEND whole, even with other writers. Two clients of a network file
        system each append at the end that they know of. So they take turns, and open the file anew to learn its end.
        """
        if not self._volume.is_shared:
            yield
            return
        with self._locks.exclusive(JOURNAL_LOCK, seconds=TURN_SECONDS):
            yield

    def latest(self, count: int) -> list[JournalEntry]:
        """Get the last entries, newest first. Reads 24 MiB at most, and one file at least. Raises StoreUnavailable."""
        self._volume.check()
        entries = (_entry_in(line) for line in reversed(self._lines()))
        return list(islice(filter(None, entries), count))

    def _lines(self) -> list[bytes]:
        while True:
            present = _identity(self._path)
            files, read_bytes = [self._path], _size(self._path)
            for older in reversed(self._older()):
                read_bytes += _size(older)
                if read_bytes > READ_BYTES:
                    break
                files.insert(0, older)
            lines = [line for file in files for line in _lines(file)]
            # If it was rotated meanwhile, the lines of the present file may be missing: read again.
            if _identity(self._path) == present:
                return lines

    def _older(self) -> list[Path]:
        """The older files, oldest first."""
        return sorted(self._path.parent.glob(f"{self._path.stem}.*{self._path.suffix}"))

    def _rotate(self) -> None:
        # Another process that rotates now finds the new file small, or missing. If it does not see that, it renames a
        # small file, and nothing is lost: each older file has a name of its own.
        with (
            contextlib.suppress(ModelInUse, ModelLocked, FileNotFoundError),
            self._locks.exclusive(JOURNAL_LOCK, seconds=0),
        ):
            if _size(self._path) <= ROTATE_BYTES:
                return
            stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"
            self._path.rename(self._path.with_suffix(f".{stamp}{self._path.suffix}"))
            kept_bytes = 0
            for older in reversed(self._older()):
                kept_bytes += _size(older)
                if kept_bytes > OLDER_BYTES:
                    older.unlink(missing_ok=True)


def _ends_with_a_line(journal: int) -> bool:
    size_bytes = os.fstat(journal).st_size
    return not size_bytes or os.pread(journal, 1, size_bytes - 1) == b"\n"


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _lines(path: Path) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as journal:
        return journal.readlines()
    return []


def _entry_in(line: bytes) -> JournalEntry | None:
    # A line that a full disk cut short is no entry.
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return JournalEntry.from_line(line)
    return None


def _identity(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino
    return None
