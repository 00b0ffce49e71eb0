"""The journal: who did what to which model, when, and what came of it. Append-only JSON lines, rotated."""

import contextlib
import errno
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from app.errors import ModelInUse, ModelLocked
from app.store.locks import ModelLocks

ROTATE_BYTES = 8 << 20
"""About 40,000 lines; one older file is kept beside the present one."""
LOCK_NAME = "/journal"
"""A lock name that no model can have."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for a change, and by which request."""

    actor: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line: something that changed the store, or that it refused."""

    at: datetime
    actor: str
    """The name of the API key, 'anonymous', or 'service' for what it does by itself."""
    action: str
    """`uploaded`, `pulled`, `trashed`, `deleted`, `restored`, `purged`, `protected` or `unprotected`."""
    name: str
    """The model's name."""
    trash_id: str | None
    size_bytes: int
    request_id: str | None

    def to_line(self) -> bytes:
        """The event as a line."""
        return json.dumps(asdict(self), default=datetime.isoformat).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Event":
        """Read a line; raises ValueError, KeyError or TypeError when it is none."""
        fields = json.loads(line)
        return cls(**fields | {"at": datetime.fromisoformat(fields["at"])})


Note = Callable[[Origin, str, str, str | None, int], None]
"""Writes a line of the journal: who, what, to which model, its entry in the trash, its size."""


class Journal:
    """The journal of one model folder; any number of processes write it."""

    def __init__(self, path: Path, locks: ModelLocks) -> None:
        self._path = path
        self._locks = locks

    def write(self, event: Event) -> None:
        """Append one event, and have it on disk before this returns; OSError is let through."""
        journal = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            # What a full disk cut short is not to take the next line with it. Another's line that is just being written
            # may look so too; then an empty line lies between, which is none.
            line = event.to_line() if _ends_with_a_line(journal) else b"\n" + event.to_line()
            # One write of one short line with O_APPEND is whole, whoever else writes.
            if os.write(journal, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            os.fsync(journal)
            is_full = os.fstat(journal).st_size > ROTATE_BYTES
        finally:
            os.close(journal)
        if is_full:
            self._rotate()

    def latest(self, count: int) -> list[Event]:
        """The last events, newest first, from both files; reads 16 MiB at most."""
        events = (_event(line) for line in reversed(self._lines()))
        return list(islice(filter(None, events), count))

    def _lines(self) -> list[bytes]:
        while True:
            present = _identity(self._path)
            lines = [*_lines(self._older), *_lines(self._path)]
            # If it was rotated in between, what was the present file is in neither.
            if _identity(self._path) == present:
                return lines

    @property
    def _older(self) -> Path:
        return self._path.with_suffix(".1.jsonl")

    def _rotate(self) -> None:
        # Whoever comes second finds the new file small, or not there yet.
        with (
            contextlib.suppress(ModelInUse, ModelLocked, FileNotFoundError),
            self._locks.exclusive(LOCK_NAME, seconds=0),
        ):
            if self._path.stat().st_size > ROTATE_BYTES:
                self._path.rename(self._older)


def _ends_with_a_line(journal: int) -> bool:
    size_bytes = os.fstat(journal).st_size
    return not size_bytes or os.pread(journal, 1, size_bytes - 1) == b"\n"


def _lines(path: Path) -> list[bytes]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as journal:
        return journal.readlines()
    return []


def _event(line: bytes) -> Event | None:
    # A line that a full disk cut short is no event.
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return Event.from_line(line)
    return None


def _identity(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino
    return None
