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
"""POSIX allows both for a lock that another process holds; CIFS answers the second."""
WHOLE_FILE = 1 << 62
"""The byte that stands for a whole file. It is beyond every content, since CIFS refuses to read a locked byte."""


def try_lock(file: int, kind: int, start: int) -> bool:
    """Lock one byte, SHARED or EXCLUSIVE, until this opening of the file is closed. False if it is locked already.

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


def try_to_lock(file: int) -> bool:
    """Lock a whole file until this opening of it is closed. False if it is locked already."""
    return try_lock(file, EXCLUSIVE, WHOLE_FILE)


def is_locked(file: int) -> bool:
    """True if another opening of the file holds the lock on the whole of it; takes no lock."""
    return blocking(file, WHOLE_FILE, 1) is not None


def blocking(file: int, start: int, length: int) -> tuple[int, int] | None:
    """Any lock in the range that would block an exclusive one, as its kind and its position, or None."""
    request = struct.pack(_FLOCK, EXCLUSIVE, os.SEEK_SET, start, length, 0)
    kind, _, at, _, _ = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, request))
    return None if kind == fcntl.F_UNLCK else (kind, at)
