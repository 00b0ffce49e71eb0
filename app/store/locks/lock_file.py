"""The lock file of a model folder, whose bytes are locked. Handles its removal or replacement while locks are held.

A lock belongs to a file and not to its name. So a new file of the same name does not have the locks of the leases that
processes hold on the former file. This module keeps the former file open while leases on the former file are held. For
each of these leases it takes a shared lock on the new file, so that processes that start later respect the lease too.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import StoreUnavailable
from app.store.locks.ofd import SHARED, find_lock, try_lock_byte, unlock_byte
from app.store.records.forms import RecordDamaged
from app.store.records.reader import open_regular

ATTEMPTS = 10
"""How many times the lock file is created if another program removes it again before it is opened."""
POSITIONS = 1 << 62
"""How many bytes of the file can be locked: one byte for each hash of a model's name."""


class LockFile:
    """The lock file of one model folder. The methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changing = threading.RLock()
        self._leased: int | None = None
        """A descriptor of the present file, kept open while leases on it are held."""
        self._former: list[int] = []
        """Descriptors of removed or replaced lock files, kept open while leases on them are held."""
        self._carrier: int | None = None
        """A descriptor of the present file, which holds a shared lock for each lease on a former file."""
        self._carried: set[int] = set()

    @contextmanager
    def opened(self, flags: int) -> Iterator[int]:
        """Open the lock file, after creating it if it is missing.

        Yields a descriptor; closing the descriptor releases its locks. Raises FileNotFoundError if the file is missing
        and cannot be created, as on a read-only disk. Raises StoreUnavailable if something other than a regular file is
        at its path.
        """
        descriptor = self.open(flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, flags: int) -> int:
        """Open the lock file as `opened` does, and return the descriptor, which the caller must close."""
        try:
            for _ in range(ATTEMPTS):
                try:
                    return open_regular(self.path, flags)
                except FileNotFoundError:
                    self._make()
            return open_regular(self.path, flags)
        except RecordDamaged as exc:
            raise StoreUnavailable(
                f"{self.path} cannot be used as the lock file: {exc}. Remove it; a service then creates it again"
            ) from exc

    def could_be_made(self) -> bool:
        """True if this process may create the lock file: the volume is writable and has its `.store/`."""
        folder = self.path.parent
        return os.access(folder if folder.exists() else folder.parent, os.W_OK)

    def is_present(self, descriptor: int) -> bool:
        """True if an opened lock file still has its name. Only then do locks on the file exclude other processes."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self.path))
        except FileNotFoundError:
            return False

    def lock_on_former(self, position: int) -> int | None:
        """Return the kind of lock that is held at `position` of a former lock file; None if no lock is held there."""
        with self._changing:
            self._notice_replacement()
            for former in self._former:
                if found := find_lock(former, position, 1):
                    return found[0]
        return None

    def leased_positions(self) -> frozenset[int]:
        """Return the positions of all leases on the present file and on former files."""
        with self._changing:
            self._notice_replacement()
            found = frozenset[int]()
            with suppress(FileNotFoundError), self.opened(os.O_RDONLY) as present:
                found = frozenset(_leases(present, 0, POSITIONS))
                if found and self._leased is None:
                    self._leased = os.dup(present)
            if not found and self._leased is not None:
                os.close(self._leased)
                self._leased = None
            return found.union(*map(_leased_on, self._former))

    def carry_leases(self) -> None:
        """For each lease on a former file, hold a shared lock on the present file as long as the lease is held."""
        with self._changing:
            self._notice_replacement()
            if not self._former and self._carrier is None:
                return
            held = [_leased_on(former) for former in self._former]
            for former, leases in zip(self._former[:], held, strict=True):
                if not leases:
                    self._former.remove(former)
                    os.close(former)
            wanted = frozenset[int]().union(*held)
            if self._carrier is not None and not (wanted and self.is_present(self._carrier)):
                os.close(self._carrier)
                self._carrier, self._carried = None, set()
            if wanted and self._carrier is None:
                self._carrier = self.open(os.O_RDONLY)
            if self._carrier is not None:
                self._carry(self._carrier, wanted)

    def _carry(self, carrier: int, wanted: frozenset[int]) -> None:
        for position in self._carried - wanted:
            unlock_byte(carrier, position)
        taken = {position for position in wanted - self._carried if try_lock_byte(carrier, SHARED, position)}
        self._carried = (self._carried & wanted) | taken

    def _notice_replacement(self) -> None:
        if self._leased is not None and not self.is_present(self._leased):
            self._former.append(self._leased)
            self._leased = None

    def _make(self) -> None:
        """Create the lock file. If several processes do so at once, all get the same file.

        Raises FileNotFoundError if it cannot be created, and RecordDamaged if its folder is something else.
        """
        try:
            with suppress(FileExistsError):
                self.path.parent.mkdir()
            # A link in place of the folder is not followed: it could lead to another program's files.
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                os.close(os.open(self.path.name, flags, 0o666, dir_fd=folder))
            finally:
                os.close(folder)
        except OSError as exc:
            if os.path.lexists(self.path):
                return
            # Another program may have put something in place of the folder since the lock file was looked for.
            if exc.errno in {errno.ENOTDIR, errno.ELOOP}:
                raise RecordDamaged(f"it cannot be created: {exc.strerror}") from exc
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path)) from exc


def _leased_on(former: int) -> frozenset[int]:
    try:
        return frozenset(_leases(former, 0, POSITIONS))
    except OSError:  # the file server no longer knows the file
        return frozenset()


def _leases(lock_file: int, start: int, end: int) -> Iterator[int]:
    """Yield the positions of all leases in a range.

    The kernel reports one arbitrary lock of a range, so the ranges before and after that lock are searched again.
    """
    spans = [(start, end)]
    while spans:
        start, end = spans.pop()
        found = find_lock(lock_file, start, end - start) if start < end else None
        if found:
            kind, at = found
            if kind == SHARED:
                yield at
            spans += [(start, at), (at + 1, end)]
