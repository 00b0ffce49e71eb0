"""The kernel's open-file-description locks, on single bytes of an open file. They end with their holder."""

import errno
import fcntl
import os
import struct

from app.errors import StoreUnavailable

SHARED, EXCLUSIVE = fcntl.F_RDLCK, fcntl.F_WRLCK
_FLOCK = "hhqqi4x"  # struct flock of <fcntl.h> on 64-bit Linux: type, whence, start, length, pid
_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_CONFLICT = {errno.EAGAIN, errno.EACCES}
"""The error numbers for a lock that another process holds. POSIX allows both; CIFS answers EACCES."""
WHOLE_FILE = 1 << 62
"""The byte that is locked to lock a whole file. It is beyond all content, since CIFS refuses to read a locked byte."""


def try_lock_byte(file: int, kind: int, start: int) -> bool:
    """Lock one byte, SHARED or EXCLUSIVE, until the descriptor `file` is closed. False if another lock forbids that.

    Raises StoreUnavailable if the file system has no locks.
    """
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0))
    except OSError as exc:
        if exc.errno in _CONFLICT:
            return False
        if exc.errno in _UNSUPPORTED:
            reason = f"its file system has no working locks ({exc.strerror})"
            raise StoreUnavailable(reason) from exc
        raise
    return True


def unlock_byte(file: int, start: int) -> None:
    """Unlock one byte that was locked through the descriptor `file`."""
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_UNLCK, os.SEEK_SET, start, 1, 0))


def try_lock_file(file: int) -> bool:
    """Lock a whole file until the descriptor `file` is closed.

    False if the file is locked through another descriptor.
    """
    return try_lock_byte(file, EXCLUSIVE, WHOLE_FILE)


def is_locked(file: int) -> bool:
    """True if a whole file is locked through another descriptor. Takes no lock."""
    return find_lock(file, WHOLE_FILE, 1) is not None


def find_lock(file: int, start: int, length: int) -> tuple[int, int] | None:
    """Return the kind and position of any lock in a range that would block an exclusive lock; None if there is none."""
    request = struct.pack(_FLOCK, EXCLUSIVE, os.SEEK_SET, start, length, 0)
    kind, _, at, _, _ = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, request))
    return None if kind == fcntl.F_UNLCK else (kind, at)
