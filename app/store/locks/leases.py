"""Leases, and the records of their holders. The kernel does not say who holds a lock, so each holder writes a record.

A record counts only while its writer lives and holds the kernel's lock on the record. The record of a killed holder is
ignored at once, and deleted by a later sweep.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from app.store.locks.ofd import is_locked, try_lock_file
from app.store.records.forms import RecordDamaged, RecordForm, Size
from app.store.records.reader import RecordReader, open_regular

NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM}
"""Error numbers that mean that there is no folder of records which this process can read."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """One holder of a lease, as its record describes it."""

    kind: str
    """What the holder uses the model for: `engine`, `command`, `verify`, `protection`; `unknown` without a record."""
    holder: str | None = None
    """The name of the holder, for people to read."""
    pid: int | None = None
    host: str | None = None
    """The machine or container in which the holder's process runs."""
    since: str | None = None
    """When the lease was taken, in RFC 3339."""


@dataclass(frozen=True, slots=True)
class _LeaseRecord:
    """The form of a lease's record."""

    name: str
    kind: str
    holder: str | None = None
    pid: Size | None = None
    host: str | None = None
    since: str | None = None


LEASE = RecordForm(_LeaseRecord, "lease")
FILE_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}\.json")


UNKNOWN = Blocker("unknown")
"""The holder of a lease that has no record."""


class Lease:
    """One lease, held until `release()`, the end of a `with` block, or the end of the process."""

    def __init__(self, name: str, held: contextlib.ExitStack, descriptors: list[int]) -> None:
        self.name = name
        """The name of the leased model."""
        self.is_lost = False
        """True if the file system has lost the lock of this lease, and the lock could not be taken again."""
        self._held = held
        self._descriptors = descriptors
        self._on_release: Callable[[Lease], None] = lambda _: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lease, from any thread. A second call has no effect."""
        self._on_release(self)
        self._held.close()

    def on_release(self, call: Callable[["Lease"], None]) -> None:
        """Set a function that is called with this lease before its lock is released."""
        self._on_release = call

    def add_lock(self, lock_file: int) -> None:
        """Add a newly opened and locked lock file to the lease, in place of a descriptor whose lock was lost."""
        self._held.callback(os.close, lock_file)
        self._descriptors.append(lock_file)

    def give_to_children(self) -> None:
        """Pass the lease to the programs that this process starts, or that replace this process (`exec`).

        The lease ends when the last of these programs has ended.
        """
        for descriptor in self._descriptors:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - has no name


class LeaseRecord:
    """The record of one lease, which stays locked while its writer lives."""

    def __init__(self, file: io.FileIO, path: Path) -> None:
        self.descriptor = file.fileno()
        self._file = file
        self._path = path

    def remove(self) -> None:
        """Remove the record, and release its lock."""
        with self._file, contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


class LeaseRecords:
    """The lease records of one model folder: one file for each lease. The first record creates the folder `leases`."""

    def __init__(self, folder: Path, reader: RecordReader) -> None:
        self._folder = folder
        self._reader = reader

    def write(self, name: str, kind: str, holder: str | None, pid: int | None) -> LeaseRecord | None:
        """Write the record of a lease on the model `name`, before the lease is taken.

        Returns None on a read-only disk.
        """
        since = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        blocker = Blocker(kind, holder, os.getpid() if pid is None else pid, socket.gethostname(), since)
        text = json.dumps({"name": name} | asdict(blocker))
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            while not (record := self._begin(name)):
                pass  # a sweep deleted the record between its creation and its lock
            os.write(record.descriptor, text.encode())
            return record
        return None

    def of(self, name: str) -> list[Blocker]:
        """List the living holders of a model's leases that have a record, the oldest lease first."""
        found = filter(None, map(self._read_if_alive, self._files(f"{_key_of(name)}-")))
        blockers = [Blocker(each.kind, each.holder, each.pid, each.host, each.since) for each in found]
        return sorted(blockers, key=lambda blocker: blocker.since or "")

    def has_older_than(self, time_ns: int, name: str) -> bool:
        """True if a living holder of a model's lease wrote its record at or before `time_ns`.

        `time_ns` is in nanoseconds since the epoch.
        """
        for path in self._files(f"{_key_of(name)}-"):
            with contextlib.suppress(RecordDamaged, OSError), open(open_regular(path), "rb") as file:  # noqa: PTH123
                if os.fstat(file.fileno()).st_mtime_ns <= time_ns and is_locked(file.fileno()):
                    return True
        return False

    def sweep(self) -> None:
        """Delete the records of dead holders. Anything that is not a regular file stays and is reported as damaged."""
        for path in self._files():
            try:
                with open(open_regular(path, os.O_RDWR), "r+b") as record:  # noqa: PTH123 - of a descriptor
                    if try_lock_file(record.fileno()):
                        path.unlink(missing_ok=True)
            except FileNotFoundError:
                pass
            except (RecordDamaged, OSError) as exc:
                self._reader.note(path, LEASE.kind, str(exc))

    def _files(self, prefix: str = "") -> list[Path]:
        """Return the records whose names begin with `prefix`; none if the folder is missing or cannot be read."""
        # Not `Path.glob`, which compiles an expression for each prefix, so for each name of a model, and keeps it.
        try:
            with os.scandir(self._folder) as entries:
                names = [entry.name for entry in entries]
        except OSError as exc:
            if exc.errno not in NO_FOLDER:
                raise
            return []
        return [self._folder / name for name in names if name.startswith(prefix) and FILE_NAME.fullmatch(name)]

    def _read_if_alive(self, path: Path) -> _LeaseRecord | None:
        """Read the record of a living holder.

        A damaged record shows that there is a holder, but not who the holder is.
        """
        key = path.name.partition("-")[0]
        try:
            with open(open_regular(path), "rb") as file:  # noqa: PTH123 - of a descriptor
                if not is_locked(file.fileno()):
                    return None
                record = LEASE.parse(file.read(LEASE.max_bytes))
        except (RecordDamaged, OSError):  # the record is being written, or another program made it
            return None
        return record if _key_of(record.name) == key else None

    def _begin(self, name: str) -> LeaseRecord | None:
        path = self._folder / f"{_key_of(name)}-{secrets.token_hex(8)}.json"
        file = io.FileIO(path, "x+")
        if try_lock_file(file.fileno()) and os.fstat(file.fileno()).st_nlink:
            return LeaseRecord(file, path)
        file.close()
        return None


def _key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
