"""The journal: who changed which model, how and when. Append-only JSON lines, in files that are rotated.

`journal.jsonl` is the present file; `journal.<time>-<random>.jsonl` are older files, which no process changes.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Final, Self

from app.errors import ModelInUse, ModelLocked, StoreError
from app.events import EventName, OnEvent
from app.store.actor import Actor
from app.store.aftermath import note_failure, unreported_failures
from app.store.locks.model_locks import ModelLocks
from app.store.records.forms import RecordDamaged, RecordForm, Size, Time
from app.store.records.reader import open_regular
from app.store.volume.refusals import refusal_of
from app.store.volume.renames import sync
from app.store.volume.volume import Volume, in_the_way

ROTATE_BYTES = 8 << 20
"""Beyond this size in bytes, about 40,000 lines, the present file is renamed and a new file begun."""
OLDER_BYTES = 24 << 20
"""The most bytes that all older files together may have. Beyond this size the oldest files are deleted."""
LATEST_BYTES = 24 << 20
"""How many bytes of the journal `latest` reads: the present file, and the older files that fit."""
MOST_LINES = 200_000
"""How many lines of one file are read at most. All entries within LATEST_BYTES are fewer lines than this."""
OLDER_NAME = re.compile(r"journal\.[0-9TZ]+-[0-9a-f]+\.jsonl")
SEARCHED_BYTES = 1 << 20
"""How many bytes at the end of the file are searched for a line whose sync failed: about 4,000 lines."""
JOURNAL_LOCK = "/journal"
"""The name of the journal's lock; no model can have this name."""
TURN_SECONDS = 10.0
"""How long a writer on a shared volume waits for the journal's lock, in seconds."""

MOST_WAITING = 10_000
"""How many entries wait in memory while the journal cannot be written. Beyond this number the oldest entries are
lost."""

BYTES: Final = "bytes"
NO_BYTES: Final = "no bytes"


class Action(StrEnum):
    """What was done to a model. Each action states whether it adds, moves or removes the bytes of the model."""

    moves_bytes: bool
    """Whether the metrics count the action, with the model's size."""

    def __new__(cls, name: str, moves: str) -> Self:
        """`moves` is BYTES, or NO_BYTES for an action that leaves the model's file as it is."""
        action = str.__new__(cls, name)
        action._value_ = name
        action.moves_bytes = moves == BYTES
        return action

    UPLOADED = "uploaded", BYTES
    PULLED = "pulled", BYTES
    TRASHED = "trashed", BYTES
    DELETED = "deleted", BYTES
    """Deleted permanently, without the trash."""
    RESTORED = "restored", BYTES
    PURGED = "purged", BYTES
    PROTECTED = "protected", NO_BYTES
    UNPROTECTED = "unprotected", NO_BYTES


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of the journal: one change of one model. A refused change has no line."""

    at: Time
    actor: str
    """The name of the `Actor` that made the change."""
    action: str
    """The name of an `Action`, or of an action that only a newer version of this service knows."""
    name: str
    """The model's name."""
    trash_id: str | None
    """The id of the model's entry in the trash, if it has or had one."""
    size_bytes: Size
    request_id: str | None
    reason: str | None = None
    """Why the change was made if no caller asked for it, else None: `expired`, `room`, `replaced` or `recovered`.

    `EventOut` in the API says what each means.
    """

    address: str | None = None
    """The network address of the request that made the change."""

    def to_line(self) -> bytes:
        """Return the entry as a line of JSON."""
        return json.dumps(asdict(self), default=datetime.isoformat).encode() + b"\n"


ENTRY = RecordForm(JournalEntry, "journal")


class Journal:
    """The journal of one model folder. Any number of processes may write to it."""

    def __init__(self, volume: Volume, locks: ModelLocks, on_event: OnEvent) -> None:
        self._volume = volume
        self._path = volume.journal_file
        self._locks = locks
        self._on_event = on_event
        self._waiting: deque[JournalEntry] = deque(maxlen=MOST_WAITING)
        self.problem: str | None = None
        """Why the journal could not be written when that was tried last; None if it could."""

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

        `trash_id` is the model's entry in the trash, and `reason` says why the change was made if no caller asked for
        it. If the journal cannot be written, a second event reports that; nothing is raised, and the change stays. The
        entry then waits in memory for `retry`. If anything else failed after the change, an event reports that failure
        too.
        """
        about = {"reason": reason, "request_id": actor.request_id, "address": actor.address}
        fields = {"name": name, "size_bytes": size_bytes, "actor": actor.name, "trash_id": trash_id}
        self._on_event(EventName(f"model.{action}"), fields | {key: value for key, value in about.items() if value})
        now, request_id = datetime.now(UTC), actor.request_id
        entry = JournalEntry(now, actor.name, action, name, trash_id, size_bytes, request_id, reason, actor.address)
        try:
            self.write(entry)
        except (OSError, StoreError) as exc:
            self._waiting.append(entry)
            self.problem = f"the last change could not be written to it: {_reason(exc)}"
            note_failure(f"the journal may not have it yet: {_reason(exc)}")
            self._on_event(EventName.JOURNAL_FAILED, {"error": _reason(exc), "action": action, "name": name})
        if failures := unreported_failures():
            self._on_event(EventName.CHANGE_INCOMPLETE, {"name": name, "action": action, "failures": failures})

    @property
    def waiting(self) -> int:
        """How many entries wait in memory until the journal can be written."""
        return len(self._waiting)

    def retry(self) -> None:
        """Write the entries that could not be written, and find out whether the journal can be written now.

        Call this every few seconds, and before the process ends; from one thread at a time. Sets `problem`.
        """
        written = 0
        try:
            while self._waiting:
                self.write(self._waiting[0], again=True)
                self._waiting.popleft()
                written += 1
            with contextlib.suppress(FileNotFoundError):
                os.close(self._opened(create=False))
            self.problem = None
        except (OSError, StoreError) as exc:
            self.problem = _reason(exc)
        if written:
            self._on_event(EventName.JOURNAL_CAUGHT_UP, {"entries": written})

    def write(self, entry: JournalEntry, *, again: bool = False) -> None:
        """Append one entry and sync it to the disk. Raises OSError, and ModelLocked after 10 s on a shared volume.

        If the sync fails, the line may be in the file or lost: a client of a network file system may report a failed
        write only then. Call this `again`, which appends the line only if the end of the file lacks it.
        """
        with self._one_writer():
            journal = self._opened()
            try:
                # If a full disk has cut the last line short, begin a new line, so that this entry can be read. A line
                # that another process is writing now looks the same: then an empty line results, which readers skip.
                line = entry.to_line() if _ends_with_a_line(journal) else b"\n" + entry.to_line()
                is_there = again and entry.to_line() in _end_of(journal)
                if not is_there and os.write(journal, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                sync(journal)
                is_full = os.fstat(journal).st_size > ROTATE_BYTES
            finally:
                os.close(journal)
        if is_full:
            with contextlib.suppress(OSError, StoreError):  # the next entry tries again
                self._rotate()

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
        """Hold the journal's lock while one entry is written, on a shared volume. No lock is needed on a local disk.

        A single kernel appends a short line with O_APPEND as a whole, even with several writers. But each client of a
        network file system appends at the file's end as the client knows it. So clients take turns, and each opens the
        file again to learn its present end.
        """
        if not self._volume.is_shared:
            yield
            return
        with self._locks.exclusive(JOURNAL_LOCK, seconds=TURN_SECONDS):
            yield

    def latest(self, count: int) -> list[JournalEntry]:
        """Get the last `count` entries, newest first. Raises StoreUnavailable.

        Reads the present file, and as many older files as fit into 24 MiB with it.
        """
        self._volume.check()
        return list(islice(self._entries(), count))

    def _entries(self) -> Iterator[JournalEntry]:
        """Yield the entries, newest first. A line that is no entry is skipped, and its file is reported."""
        for path, lines in self._latest_lines():
            unread = 0
            for line in lines:
                try:
                    yield ENTRY.parse(line)
                except RecordDamaged:
                    unread += 1
            if unread:
                self._volume.records.note(path, ENTRY.kind, f"{unread:,} of its lines are not entries of the journal")

    def _latest_lines(self) -> list[tuple[Path, list[bytes]]]:
        """Return the files, newest first, each with its lines, newest first."""
        while True:
            present = _identity(self._path)
            files, left_bytes = list[tuple[Path, list[bytes]]](), LATEST_BYTES
            for path in (self._path, *reversed(self._older())):
                size_bytes = _size(path)
                if files and size_bytes > left_bytes:
                    break
                files.append((path, self._lines_in(path, left_bytes)))
                left_bytes -= size_bytes
            # If the journal was rotated meanwhile, lines of the present file may be missing: read again.
            if _identity(self._path) == present:
                return files

    def _lines_in(self, path: Path, last_bytes: int) -> list[bytes]:
        """Return the lines in the last bytes of a file, newest first."""
        try:
            with open(open_regular(path), "rb") as journal:  # noqa: PTH123 - of a descriptor
                start = max(0, os.fstat(journal.fileno()).st_size - last_bytes)
                journal.seek(start)
                lines = journal.read(last_bytes).rsplit(b"\n", MOST_LINES)
        except FileNotFoundError:
            return []
        except RecordDamaged as exc:
            self._volume.records.note(path, ENTRY.kind, str(exc))
            return []
        if start or len(lines) > MOST_LINES:
            del lines[0]  # drop the first line, which may be cut, or the remainder that was not split
        return [line for line in reversed(lines) if line.strip()]

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
            if _size(self._path) <= ROTATE_BYTES:
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


def _reason(exc: OSError | StoreError) -> str:
    return str(refusal_of(exc)) if isinstance(exc, OSError) else str(exc)


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def _identity(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_ino
    return None
