"""The files of the journal: lines are appended to the present file, which is rotated when it is full.

`journal.jsonl` is the present file; `journal.<time>-<random>.jsonl` are older files, which no process changes.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from app.errors import ModelInUse, ModelLocked, StoreError
from app.store.journal.entries import ENTRY
from app.store.locks.model_locks import ModelLocks
from app.store.records.forms import RecordDamaged
from app.store.records.reader import open_regular
from app.store.volume.renames import sync
from app.store.volume.volume import Volume, in_the_way

ROTATE_BYTES = 8 << 20
"""If the present file is larger than this, in bytes, it is renamed and a new file is begun: after about 40,000
lines."""
OLDER_BYTES = 24 << 20
"""The most bytes that all older files together may have. Beyond this size the oldest files are deleted."""
LATEST_BYTES = 24 << 20
"""How many bytes a reader of the latest entries reads: the present file, and as many older files as fit."""
MOST_LINES = 200_000
"""How many lines of one file are read at most. LATEST_BYTES of valid entries have fewer lines."""
OLDER_NAME = re.compile(r"journal\.[0-9TZ]+-[0-9a-f]+\.jsonl")
READ_BYTES = 1 << 16
"""How many bytes a reader of the latest entries reads at once, from the end of a file: about 250 lines."""
LONGEST_LINE_BYTES = 2 << 20
"""How many bytes of a line without an end are kept while its beginning is looked for. An entry has some 300."""
SEARCHED_BYTES = 1 << 20
"""How many bytes at the end of the file are searched for a line whose sync failed: about 4,000 lines."""
JOURNAL_LOCK = "/journal"
"""The name of the journal's lock; no model can have this name."""
TURN_SECONDS = 10.0
"""How long, in seconds, a writer on a shared volume waits for the journal's lock."""


class JournalFiles:
    """The files of one journal. Any number of processes may append to them."""

    def __init__(
        self,
        volume: Volume,
        locks: ModelLocks,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        sync: Callable[[int], None] = sync,
    ) -> None:
        """Beyond `rotate_bytes` the present file is rotated. `sync` writes an open file to the disk."""
        self._volume = volume
        self._path = volume.journal_file
        self._locks = locks
        self._rotate_bytes = rotate_bytes
        self._sync = sync
        self._turn = threading.Lock()
        """Held by the thread of this process that writes on a shared volume."""

    def append(self, line: bytes, *, again: bool = False) -> None:
        """Append one line and sync it to the disk. Raises OSError, and ModelLocked after 10 s on a shared volume.

        After a failed sync the line may be in the file or lost, since a client of a network file system may report a
        failed write only at the sync. So repeat a failed call with `again`, which appends the line only if it is not
        near the end of the file.
        """
        with self._one_writer():
            journal = self._opened()
            try:
                # If a full disk has cut the last line short, begin a new line, so that this entry can be read. A line
                # that another process is writing now looks the same: then an empty line results, which readers skip.
                text = line if _ends_with_a_line(journal) else b"\n" + line
                is_there = again and line in _end_of(journal)
                if not is_there and os.write(journal, text) < len(text):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                self._sync(journal)
                is_full = os.fstat(journal).st_size > self._rotate_bytes
            finally:
                os.close(journal)
        if is_full:
            with contextlib.suppress(OSError, StoreError):  # the next entry tries again
                self._rotate()

    def check_writable(self) -> None:
        """Raise OSError or StoreUnavailable if the present file cannot be opened for writing; it may be missing."""
        with contextlib.suppress(FileNotFoundError):
            os.close(self._opened(create=False))

    def _opened(self, *, create: bool = True) -> int:
        # Follow no link and wait for no named pipe: either could be in the journal's place.
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return _regular(os.open(self._path, flags), self._path)
        except FileNotFoundError:
            if not create:
                raise
        except PermissionError:
            # The journal belongs to another user: an earlier release or a service with another umask made it. This user
            # may write the folder, and so may rename that file.
            if os.access(self._path, os.W_OK, effective_ids=True):
                raise
            self._path.rename(self._older_name())
        # As with all files of `.store/`, every user who may write the folder may write this file, if the umask allows
        # that.
        return os.open(self._path, flags | os.O_CREAT, 0o666)

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """On a shared volume, hold the journal's lock while one entry is written. A local disk needs no lock.

        A single kernel appends a short line with O_APPEND as a whole, even with several writers. But a client of a
        network file system appends where it believes the file's end to be. So clients take turns, and each client opens
        the file again to learn the present end.

        The threads of one process take turns before they ask for the lock: asking costs a call to the server every
        10 ms, and with many threads that ask, one of them may wait for its turn for too long.
        """
        if not self._volume.is_shared:
            yield
            return
        deadline = time.monotonic() + TURN_SECONDS
        if not self._turn.acquire(timeout=TURN_SECONDS):
            raise ModelLocked(JOURNAL_LOCK)
        try:
            with self._locks.exclusive(JOURNAL_LOCK, seconds=max(0.0, deadline - time.monotonic())):
                yield
        finally:
            self._turn.release()

    def missing(self, lines: list[bytes]) -> list[bytes]:
        """Return those lines that are neither near the end of the present file nor of the newest older file.

        Opens the files again, so that a client of a network file system asks its server. Raises OSError.
        """
        ends = b""
        for path in (*self._older()[-1:], self._path):
            with contextlib.suppress(FileNotFoundError, RecordDamaged):
                journal = open_regular(path)
                try:
                    ends += _end_of(journal)
                finally:
                    os.close(journal)
        return [line for line in lines if line not in ends]

    def latest_lines(self) -> Iterator[tuple[Path, Iterator[bytes]]]:
        """Yield the paths of the latest files, newest first, each with its lines, newest first.

        A file is read from its end, as far as its lines are asked for, before the next file is asked for.
        """
        with contextlib.ExitStack() as opened:
            present, older = self._snapshot(opened)
            left_bytes = LATEST_BYTES
            for path in (self._path, *reversed(older)):
                with contextlib.suppress(FileNotFoundError):  # deleted by a rotation meanwhile
                    journal = present if path is self._path else self._open(path, opened)
                    if journal is None:
                        continue
                    size_bytes = os.fstat(journal).st_size
                    if path is not self._path and size_bytes > left_bytes:
                        break
                    yield path, islice(_lines_backwards(journal, max(0, size_bytes - left_bytes)), MOST_LINES)
                    left_bytes -= size_bytes

    def _snapshot(self, opened: contextlib.ExitStack) -> tuple[int | None, list[Path]]:
        """Open the present file, and list the older files that belong to it: again if it was rotated meanwhile."""
        while True:
            present, identity = None, _identity(self._path)
            with contextlib.suppress(FileNotFoundError):
                present = self._open(self._path, opened)
            older = self._older()
            if _identity(self._path) == identity:
                return present, older

    def _open(self, path: Path, opened: contextlib.ExitStack) -> int | None:
        """Open a file to read it; None if something else is at its path. Raises FileNotFoundError."""
        try:
            journal = open_regular(path)
        except RecordDamaged as exc:
            self._volume.records.note(path, ENTRY.kind, str(exc))
            return None
        opened.callback(os.close, journal)
        return journal

    def _older(self) -> list[Path]:
        """List the files that were rotated out of the journal, oldest first."""
        found = self._path.parent.glob(f"{self._path.stem}.*{self._path.suffix}")
        return sorted(path for path in found if OLDER_NAME.fullmatch(path.name))

    def _older_name(self) -> Path:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"
        return self._path.with_suffix(f".{stamp}{self._path.suffix}")

    def _rotate(self) -> None:
        # If two processes rotate at once, the second finds the new file small or missing, and returns. If a stale cache
        # hides that, it renames a small file, and nothing is lost: each older file has a unique name.
        with (
            contextlib.suppress(ModelInUse, ModelLocked, FileNotFoundError),
            self._locks.exclusive(JOURNAL_LOCK, seconds=0),
        ):
            if _size(self._path) <= self._rotate_bytes:
                return
            self._path.rename(self._older_name())
            kept_bytes = 0
            for older in reversed(self._older()):
                kept_bytes += _size(older)
                if kept_bytes > OLDER_BYTES:
                    older.unlink(missing_ok=True)


def _regular(journal: int, path: Path) -> int:
    if stat.S_ISREG(os.fstat(journal).st_mode):
        return journal
    os.close(journal)
    raise in_the_way(path, "not a regular file")


def _ends_with_a_line(journal: int) -> bool:
    size_bytes = os.fstat(journal).st_size
    return not size_bytes or os.pread(journal, 1, size_bytes - 1) == b"\n"


def _end_of(journal: int) -> bytes:
    return os.pread(journal, SEARCHED_BYTES, max(0, os.fstat(journal).st_size - SEARCHED_BYTES))


def _lines_backwards(journal: int, start: int) -> Iterator[bytes]:
    """Yield the lines of an open file that begin behind `start`, newest first, without empty lines.

    Of a line that is longer than any entry, only a part is kept, which is no entry either.
    """
    at, first = os.fstat(journal).st_size, b""
    while at > start:
        count = min(READ_BYTES, at - start)
        at -= count
        first, *lines = (os.pread(journal, count, at) + first[:LONGEST_LINE_BYTES]).split(b"\n")
        yield from (line for line in reversed(lines) if line.strip())
    if start == 0 and first.strip():  # otherwise the first line may be cut
        yield first


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def _identity(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_ino
    return None
