"""A job's log: an append-only file that says what was done with each unit, and whether the job has ended.

The log decides; the job's record only shows. An appended file is safe to read on every file system: a machine may see
an older state of it, but never another file. A process that appends holds the job's lock and has read the whole log.
"""

import contextlib
import os
from collections import Counter, deque
from datetime import datetime
from pathlib import Path

from app.jobs.progress import Progress, rounded
from app.jobs.records import Failure, JobState
from app.jobs.units.records import ENTRY, MAX_ENTRY_BYTES, PRIVATE_FILE, Entry, EntryKind, ResultPlace
from app.store.records.forms import RecordDamaged
from app.store.records.reader import open_regular

MAX_LOG_BYTES = 256 << 20
"""How much of a log is read at most, in bytes. A million entries have less."""
RATE_RESULTS = 20
"""Over how many of the last results the rate is averaged."""


class JobLog:
    """The log of one job, as far as this process has read it. Not safe for several threads at once."""

    def __init__(self, path: Path, units: int) -> None:
        """`units` is how many units the job has; entries about others are ignored."""
        self._path = path
        self._units = units
        self._forget()

    def _forget(self) -> None:
        self.size = 0
        """How many bytes of complete lines were read."""
        self.results: list[ResultPlace] = []
        """The results, in the order in which they were appended."""
        self.done: set[int] = set()
        """The units that have a result."""
        self.attempts = Counter[int]()
        """By unit, how many times a service has begun to work on it and has not given it back."""
        self.failures: dict[int, Failure] = {}
        """By unit, why it failed."""
        self.end: JobState | None = None
        self.ended_at: datetime | None = None
        self.has_begun = False
        self._times = deque[datetime](maxlen=RATE_RESULTS + 1)

    @property
    def is_complete(self) -> bool:
        """True if every unit has its result."""
        return len(self.done) >= self._units

    def refresh(self) -> None:
        """Read what was appended since the last call. Raises OSError; RecordDamaged if the log is no regular file."""
        try:
            descriptor = open_regular(self._path)
        except FileNotFoundError:
            if self.size:
                self._forget()
            return
        try:
            size = os.fstat(descriptor).st_size
            if size < self.size:  # another program has replaced or shortened the log
                self._forget()
            if size > MAX_LOG_BYTES:
                raise RecordDamaged(f"it has more than {MAX_LOG_BYTES:,} bytes")
            data = os.pread(descriptor, size - self.size, self.size) if size > self.size else b""
        finally:
            os.close(descriptor)
        complete = data[: data.rfind(b"\n") + 1]
        self.size += len(complete)
        for line in complete.splitlines():
            if len(line) <= MAX_ENTRY_BYTES:
                with contextlib.suppress(RecordDamaged):  # a line of a killed process, or of another program
                    self._apply(ENTRY.parse(line))

    def append(self, *entries: Entry, is_lasting: bool) -> None:
        """Append entries. The caller holds the job's lock and has called `refresh` since it got the lock.

        An incomplete last line, which a killed process has left, is removed first. With `is_lasting` the entries are
        on the disk when this method returns. Raises OSError and RecordDamaged.
        """
        data = "".join(f"{entry.to_json()}\n" for entry in entries).encode()
        append_at(self._path, self.size, data, is_lasting=is_lasting)
        self.size += len(data)
        for entry in entries:
            self._apply(entry)

    def progress(self) -> Progress:
        """Return how many units are done, and the rate of the last results of all services together."""
        rate = None
        if len(self._times) > 1:
            seconds = (self._times[-1] - self._times[0]).total_seconds()
            rate = (len(self._times) - 1) / seconds if seconds > 0 else None
        left = self._units - len(self.done)
        return Progress(len(self.done), self._units, "items", rounded(rate), rounded(left / rate) if rate else None)

    def _apply(self, entry: Entry) -> None:
        if self.end is not None:
            return
        if entry.event == EntryKind.END and entry.state:
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
            self.results.append(ResultPlace(unit, entry.offset, entry.length))
            self._times.append(entry.at)
            del self.attempts[unit]
            if entry.failure:
                self.failures[unit] = entry.failure


def append_at(path: Path, size: int | None, data: bytes, *, is_lasting: bool) -> int:
    """Append bytes to a file of which only this process writes now, and return where they begin.

    With `size`, bytes beyond that size are removed first. Follows no link. Raises OSError and RecordDamaged.
    """
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    try:
        if size is None:
            size = os.fstat(descriptor).st_size
        else:
            os.ftruncate(descriptor, size)
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], size + written)
        if is_lasting:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return size
