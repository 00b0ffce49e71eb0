"""Reads records from files that other programs may have written, and remembers which records are damaged.

A record is read only if it is a regular file. A link is not followed, and a named pipe does not block. A record that
cannot be read is left in its place, and all other work continues.
"""

import errno
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.events import EventName, OnEvent
from app.store.records.forms import RecordDamaged, RecordForm, RecordNotReadable

T = TypeVar("T")
Signature = tuple[int, int, int, int]

MOST_DAMAGED = 1000
"""How many damaged records are remembered. Further damaged records are neither remembered nor reported."""
FIRST_READ_BYTES = 1 << 14
"""The size of the first read of a record, in bytes. Nearly every record is shorter, so one call reads it."""
CHUNK_BYTES = 1 << 20
"""How many bytes of a large file are read at once."""
PASSING_ERRORS = {
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ETIMEDOUT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EINTR,
}
"""Error numbers that say nothing about one record: the file server does not answer, or this process lacks descriptors
or memory."""


STALE_PAUSES = (0.0, 0.02, 0.1, 0.3)
"""The pauses, in seconds, before the attempts to read a record that another machine replaces while it is read."""


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """A record that cannot be read. Its file is left where it is."""

    kind: str
    path: str
    """The record's path below the model folder; bytes that are not UTF-8 are shown as \\x escapes."""
    reason: str


class RecordReader:
    """Reads the records of one model folder, from any thread."""

    def __init__(self, root: Path, on_event: OnEvent = lambda *_: None) -> None:
        self._root = root
        self._on_event = on_event
        self._damaged: dict[Path, tuple[DamagedRecord, Signature]] = {}
        self._changing = threading.Lock()

    def read(self, path: Path, form: RecordForm[T]) -> T | None:
        """Read a record; None if the record is missing or damaged.

        Raises OSError if its file system does not answer.
        """
        try:
            return form.parse(read_regular(path, form.max_bytes))
        except FileNotFoundError:
            return None
        except RecordDamaged as exc:
            self.note(path, form.kind, str(exc))
            return None

    def note(self, path: Path, kind: str, reason: str, *, may_be_missing: bool = False) -> None:
        """Remember a damaged record, and report it as an event unless the same damage was reported before.

        A missing record is damage only with `may_be_missing`, and only as long as its folder is there.
        """
        signature = _signature(path) or (_signature_of_missing(path) if may_be_missing else None)
        if signature is None:
            return
        shown = os.fsencode(path.relative_to(self._root)).decode(errors="backslashreplace")
        found = DamagedRecord(kind, shown, reason), signature
        with self._changing:
            before = self._damaged.get(path)
            if before is None and len(self._damaged) >= MOST_DAMAGED:
                return
            self._damaged[path] = found
        if before and before[0] == found[0]:
            return
        self._on_event(EventName.RECORD_DAMAGED, {"kind": kind, "path": shown, "reason": reason})

    def damaged(self, *kinds: str) -> list[DamagedRecord]:
        """List the damaged records that have not changed since they were found to be damaged, ordered by path.

        `kinds` are the kinds of records to list; without `kinds`, all kinds are listed.
        """
        with self._changing:
            known = dict(self._damaged)
        changed = [
            path
            for path, (_, signature) in known.items()
            if signature != (_signature(path) or _signature_of_missing(path))
        ]
        with self._changing:
            for path in changed:
                if self._damaged.get(path) == known[path]:
                    del self._damaged[path]
        found = [record for path, (record, _) in known.items() if path not in changed]
        return sorted((each for each in found if not kinds or each.kind in kinds), key=lambda each: each.path)

    def counts(self) -> dict[str, int]:
        """Return the number of damaged records by kind. A kind without damaged records is left out."""
        return dict(Counter(each.kind for each in self.damaged()))


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Open a regular file without following a link or blocking on a named pipe. Returns a descriptor.

    `mode` are the permissions of a file that the flags create.

    Raises FileNotFoundError if the file is missing, RecordDamaged if it is not a regular file or cannot be opened, and
    OSError if its file system does not answer.
    """
    with _telling_damage(path):
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise RecordDamaged("it is not a regular file", path)


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes`. Raises what `open_regular` raises.

    A client of a network file system answers ESTALE if another machine has just replaced the file: then its name leads
    to the new file a moment later.
    """
    for pause_seconds in STALE_PAUSES:
        if pause_seconds:
            time.sleep(pause_seconds)
        try:
            return _read_once(path, max_bytes)
        except OSError as exc:
            if exc.errno != errno.ESTALE:
                raise
            stale = exc
    raise stale


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a regular file of any size. Raises what `open_regular` raises, also for each read."""
    descriptor = open_regular(path)
    try:
        with _telling_damage(path):
            while chunk := os.read(descriptor, CHUNK_BYTES):
                yield chunk
    finally:
        os.close(descriptor)


def _read_once(path: Path, max_bytes: int) -> bytes:
    descriptor = open_regular(path)
    try:
        with _telling_damage(path):
            data = os.read(descriptor, FIRST_READ_BYTES)
            while len(data) >= FIRST_READ_BYTES and (more := os.read(descriptor, max_bytes)):
                data += more
                if len(data) > max_bytes:
                    raise RecordDamaged(f"it has more than {max_bytes:,} bytes", path)
    finally:
        os.close(descriptor)
    return data


@contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    """Raise RecordDamaged or RecordNotReadable in place of an OSError that will not pass."""
    try:
        yield
    except OSError as exc:
        if (damage := _damage(exc, path)) is exc:
            raise
        raise damage from exc


def _damage(exc: OSError, path: Path) -> Exception:
    if isinstance(exc, FileNotFoundError) or exc.errno in PASSING_ERRORS:
        return exc
    if exc.errno == errno.ELOOP:
        return RecordDamaged("it is a symbolic link", path)
    if exc.errno == errno.ENXIO:  # a socket
        return RecordDamaged("it is not a regular file", path)
    return RecordNotReadable(f"it cannot be read: {exc.strerror}", path)


def _signature(path: Path) -> Signature | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode


def _signature_of_missing(path: Path) -> Signature | None:
    """Return what tells the folder of a missing record from any other folder; None if the folder is missing too."""
    folder = _signature(path.parent)
    return folder and (folder[0], 0, 0, folder[3])
