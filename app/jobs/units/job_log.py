"""A job's log: an append-only file that says what was done with each unit, and whether the job has ended.

The log decides; the job's record only shows. Nothing is removed from it, and the file's server puts each entry at its
end. So every machine reads the same entries in the same order, although it may see an older state for a second. Of two
results of a unit the first one in the log counts, and nothing counts after the job's end. A process that appends holds
the job's lock, and reads the log again to see whether its entry counts.
"""

import contextlib
import os
import sys
import time
from collections import Counter, deque
from datetime import datetime
from pathlib import Path

from app.errors import StoreUnavailable
from app.jobs.progress import Progress, rounded
from app.jobs.records import UNFINISHED, Failure, JobState
from app.jobs.units.records import ENTRY, MAX_ENTRY_BYTES, MAX_UNITS, PRIVATE_FILE, Entry, EntryKind, ResultPlace
from app.store.records.forms import RecordDamaged
from app.store.records.reader import open_regular
from app.store.volume.server_lookups import FRESH_SECONDS, LOOKUP_PAUSE_SECONDS

MAX_LOG_BYTES = 256 << 20
"""How much of a log is read at most, in bytes. A million entries have less."""
RATE_RESULTS = 20
"""Over how many of the last results the rate is averaged."""


class JobLog:
    """The log of one job, as far as this process has read it. Not safe for several threads at once."""

    def __init__(self, path: Path, units: int, *, is_shared: bool = False) -> None:
        """`units` is how many units the job has; entries about others are ignored.

        `is_shared`: whether other machines may append, so that this one may see an older state of the file.
        """
        self._path = path
        self._units = units
        self._is_shared = is_shared
        self._awaited: bytes | None = None
        """The entry that this process has appended last; None once it was read."""
        self._forget()

    def _forget(self) -> None:
        self.size = 0
        """How many bytes of complete lines were read."""
        self.results: list[ResultPlace] = []
        """The results, in the order in which they were appended."""
        self.done: set[int] = set()
        """The units that have a result."""
        self.ends: dict[str | None, int] = {}
        """Where the last result ends in each file of results, in bytes, by the file's writer."""
        self._missing: list[int] | None = None
        self.attempts = Counter[int]()
        """By unit, how many times a service has begun to work on it and has not given it back."""
        self.failures: dict[int, Failure] = {}
        """By unit, why it failed."""
        self.end: JobState | None = None
        self.ended_at: datetime | None = None
        self.has_begun = False
        self._times = deque[datetime](maxlen=RATE_RESULTS + 1)
        self._inode: int | None = None
        self._shorter_since: float | None = None
        """Since when the file has had less than was read from it, by the monotonic clock."""

    @property
    def is_complete(self) -> bool:
        """True if every unit has its result."""
        return len(self.done) >= self._units

    @property
    def missing(self) -> list[int]:
        """The units without a result, in order."""
        if self._missing is None:
            self._missing = [number for number in range(min(self._units, MAX_UNITS)) if number not in self.done]
        return self._missing

    def refresh(self, *, asks_server: bool = False) -> None:
        """Read what was appended since the last call. Raises OSError; RecordDamaged if the log is no regular file.

        With `asks_server`, this machine asks the file's server first, and believes no size that it remembers. The
        caller holds the job's lock.
        """
        try:
            if asks_server:
                self._ask_server()
            descriptor = open_regular(self._path)
        except FileNotFoundError:
            if self.size:
                self._forget()
            return
        try:
            status = os.fstat(descriptor)
            if self._is_another(status):
                self._forget()
            self._inode = status.st_ino
            if status.st_size > MAX_LOG_BYTES:
                raise RecordDamaged(f"it has more than {MAX_LOG_BYTES:,} bytes", self._path)
            unread = status.st_size - self.size
            data = os.pread(descriptor, unread, self.size) if unread > 0 else b""
        finally:
            os.close(descriptor)
        complete = data[: data.rfind(b"\n") + 1]
        self.size += len(complete)
        read_at = time.monotonic()
        for line in complete.splitlines():
            if line == self._awaited:
                self._awaited = None
            if line and len(line) <= MAX_ENTRY_BYTES:
                with contextlib.suppress(RecordDamaged):  # a line of a killed process, or of another program
                    self._apply(ENTRY.parse(line), read_at)

    def _is_another(self, status: os.stat_result) -> bool:
        """Return True if another program has replaced or shortened the log, so that it must be read again."""
        if self._inode not in {None, status.st_ino}:
            return True
        if status.st_size >= self.size:
            self._shorter_since = None
            return False
        if self._shorter_since is None:
            self._shorter_since = time.monotonic()
        # On a shared volume this may be an older size, which this machine believes for a moment.
        return not self._is_shared or time.monotonic() >= self._shorter_since + FRESH_SECONDS

    def _ask_server(self) -> None:
        """Make this machine forget what it remembers of the file.

        A client of a network file system, such as GlusterFS, may know an older size and older bytes for a second,
        although it opens the file again. The answer to a change of the file's times has the present size, and the
        client drops the bytes that it remembers when it writes.
        """
        descriptor = open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
        try:
            os.utime(descriptor)
            os.write(descriptor, b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def append(self, *entries: Entry, is_lasting: bool) -> None:
        """Append entries, and read the log to its end. The caller holds the job's lock.

        With `is_lasting` the entries are on the disk when this method returns. Raises OSError and RecordDamaged;
        StoreUnavailable if this machine does not see its own entries in time.
        """
        lines = [entry.to_json().encode() for entry in entries]
        # A killed process may have left an incomplete line: the line feed before the entries ends it.
        data = b"\n" + b"".join(line + b"\n" for line in lines)
        append(self._path, data, is_lasting=is_lasting or self._is_shared)
        self._awaited = lines[-1]
        deadline = time.monotonic() + FRESH_SECONDS
        while True:
            self.refresh()
            if self._awaited is None:
                return
            if time.monotonic() >= deadline:
                raise StoreUnavailable("this machine does not see yet what it has written to the log of a job")
            time.sleep(LOOKUP_PAUSE_SECONDS)

    def progress(self) -> Progress:
        """Return how many units are done, and the rate of the last results of all services together."""
        rate = None
        if len(self._times) > 1:
            seconds = (self._times[-1] - self._times[0]).total_seconds()
            rate = (len(self._times) - 1) / seconds if seconds > 0 else None
        left = self._units - len(self.done)
        return Progress(len(self.done), self._units, "items", rounded(rate), rounded(left / rate) if rate else None)

    def _apply(self, entry: Entry, read_at: float) -> None:
        if self.end is not None:
            return
        if entry.event == EntryKind.END and entry.state and entry.state not in UNFINISHED:
            self.end, self.ended_at = entry.state, entry.at
        unit = entry.unit
        if unit is None or unit >= self._units or unit in self.done:
            return
        if entry.event == EntryKind.BEGUN:
            self.attempts[unit] += 1
            if not self._times:
                self._times.append(entry.at)
            self.has_begun = True
        elif entry.event == EntryKind.GIVEN_BACK:
            self.attempts[unit] -= 1
        elif entry.event == EntryKind.RESULT and entry.offset is not None and entry.length is not None:
            self.done.add(unit)
            self._missing = None
            writer = sys.intern(entry.writer) if entry.writer else None
            self.results.append(ResultPlace(unit, entry.offset, entry.length, writer, read_at))
            self.ends[writer] = max(self.ends.get(writer, 0), self.results[-1].end)
            self._times.append(entry.at)
            del self.attempts[unit]
            if entry.failure:
                self.failures[unit] = entry.failure


def append(path: Path, data: bytes, *, is_lasting: bool) -> int:
    """Append bytes to a file, wherever its server has its end, and return where they begin as this machine sees it.

    That place is right if no other machine writes to the file. Follows no link. Raises OSError and RecordDamaged.
    """
    descriptor = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
    try:
        offset = os.fstat(descriptor).st_size
        while data:
            data = data[os.write(descriptor, data) :]
        if is_lasting:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return offset
