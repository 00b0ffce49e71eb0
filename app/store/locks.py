"""Kernel locks on models, across threads, processes and replicas: one byte of one lock file for each name.

Open-file-description locks (Linux 3.15): they end with their holder whatever kills it, work over NFS, and can be asked
about without being taken. A byte of one file, rather than a file for each model, leaves nothing to clean up and no
lock file to unlink from under a waiter; the byte's position is a hash of the name, and 2^62 of them do not collide.
"""

import errno
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import ModelInUse, ModelLocked, StoreUnavailable

RETRY_SECONDS = 0.01
POSITIONS = 1 << 62
_FLOCK = "hhqqi4x"  # struct flock of <fcntl.h> on 64-bit Linux: type, whence, start, length, pid
_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class ModelLocks:
    """The locks of one model folder."""

    def __init__(self, lock_file: Path) -> None:
        self._path = lock_file

    @contextmanager
    def exclusive(self, name: str, *, seconds: float) -> Iterator[None]:
        """Hold the lock for one change to one model.

        Raises ModelInUse at once when somebody holds a lease, and ModelLocked when another change holds the lock for
        longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        with self._opened() as lock_file:
            while not _try(lock_file, fcntl.F_WRLCK, _byte_of(name)):
                blocking = _blocking(lock_file, _byte_of(name), 1)
                if blocking and blocking[0] == fcntl.F_RDLCK:
                    raise ModelInUse(name, [{"kind": "lease"}])
                if time.monotonic() >= deadline:
                    raise ModelLocked(name)
                time.sleep(RETRY_SECONDS)
            yield

    @contextmanager
    def lease(self, name: str, *, seconds: float = 0.0) -> Iterator[None]:
        """Say for a while that a model is in use: shared among users, and in the way of every change.

        Raises ModelLocked when a change holds the lock for longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        with self._opened() as lock_file:
            while not _try(lock_file, fcntl.F_RDLCK, _byte_of(name)):
                if time.monotonic() >= deadline:
                    raise ModelLocked(name)
                time.sleep(RETRY_SECONDS)
            yield

    def leased_bytes(self) -> frozenset[int]:
        """The positions of all leases held now, by anybody; `is_leased()` says whose. Costs 1 µs, and 2 for each."""
        try:
            with self._opened(os.O_RDONLY) as lock_file:
                return frozenset(_leases(lock_file, 0, POSITIONS))
        except FileNotFoundError:
            return frozenset()

    def is_locked(self, name: str) -> bool:
        """Whether anybody holds the exclusive lock, asked without taking it."""
        with self._opened(os.O_RDONLY) as lock_file:
            blocking = _blocking(lock_file, _byte_of(name), 1)
        return blocking is not None and blocking[0] == fcntl.F_WRLCK

    @contextmanager
    def _opened(self, flags: int = os.O_RDWR) -> Iterator[int]:
        # Closing this descriptor is what gives the lock back.
        descriptor = os.open(self._path, flags | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def try_to_lock(descriptor: int) -> bool:
    """Lock a whole file for as long as this opening of it lives; False when somebody else holds its lock."""
    return _try(descriptor, fcntl.F_WRLCK, 0)


def is_locked(descriptor: int) -> bool:
    """Whether somebody else holds the lock of a whole file."""
    return _blocking(descriptor, 0, 1) is not None


def is_leased(name: str, leased_bytes: frozenset[int]) -> bool:
    """Whether the model's lease is among those held."""
    return bool(leased_bytes) and _byte_of(name) in leased_bytes


def _byte_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 2


def _try(lock_file: int, kind: int, start: int) -> bool:
    try:
        fcntl.fcntl(lock_file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0))
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno in _UNSUPPORTED:
            reason = f"its file system has no working locks ({exc.strerror})"
            raise StoreUnavailable(reason) from exc
        raise
    return True


def _leases(lock_file: int, start: int, end: int) -> Iterator[int]:
    """The kernel names one lock of the range, not the first: look again on both sides of it."""
    spans = [(start, end)]
    while spans:
        start, end = spans.pop()
        blocking = _blocking(lock_file, start, end - start) if start < end else None
        if blocking:
            kind, at = blocking
            if kind == fcntl.F_RDLCK:
                yield at
            spans += [(start, at), (at + 1, end)]


def _blocking(lock_file: int, start: int, length: int) -> tuple[int, int] | None:
    """A lock in the range that would block an exclusive one, as its type and its position, or None."""
    request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    kind, _, at, _, _ = struct.unpack(_FLOCK, fcntl.fcntl(lock_file, fcntl.F_OFD_GETLK, request))
    return None if kind == fcntl.F_UNLCK else (kind, at)
