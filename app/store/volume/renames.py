"""Renames files, with and without replacing another file, removes files, and syncs the change to the disk.

A file system may report an error although it made the change, for example if a server's answer is lost. These functions
then look up the source's name, and return without an error if the change was made.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

from app.errors import StoreUnsafe
from app.store.volume.refusals import DENIED_ERRORS, UNKNOWN_OUTCOME_ERRORS

RENAME_NOREPLACE = 1  # <linux/fs.h>
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""The error numbers of a file system that does not support the call."""
NO_LINKS = {*UNSUPPORTED, errno.EPERM, errno.EMLINK}
"""The error numbers if no hard link can be made: the file system has no hard links, or no further link to this file, or
(EPERM) the process lacks the rights."""

_libc = ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(source: str, target: str, *, source_folder: int, target_folder: int) -> None:
    """Move a file to another name on the same file system. Raises FileExistsError if the name is taken.

    Names are relative to the open folders. If the file system supports `RENAME_NOREPLACE`, the move is one rename.
    Otherwise, as on NFS and most FUSE file systems, the move is a link and an unlink, and the file has both names in
    between. Raises StoreUnsafe if the file system supports neither.

    The link is made to the file that this machine's cache has at the source's name. So either no other machine may move
    the source, or the caller must have looked up the source with `status_on_server` just before.
    """
    number = _rename_flagged(source, target, source_folder, target_folder)
    if not number or (number in UNKNOWN_OUTCOME_ERRORS and _is_gone(source, source_folder)):
        return
    refused = _located(OSError(number, os.strerror(number)), target_folder, target)
    # Some file systems answer EPERM to a flag that they do not know.
    if number not in {*UNSUPPORTED, errno.EPERM}:
        raise refused
    try:
        os.link(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in NO_LINKS:
            raise _located(exc, target_folder, target) from None
        if number in DENIED_ERRORS and not (may_change(source_folder) and may_change(target_folder)):
            raise refused from None
        reason = f"it can neither rename a file without replacing another ({refused.strerror}) nor make hard links"
        raise StoreUnsafe(f"{reason} ({exc.strerror})") from exc
    try:
        unlink(source, folder=source_folder)
    except OSError as exc:
        if exc.errno not in UNKNOWN_OUTCOME_ERRORS:  # the source still has its name, so the link can be undone
            with contextlib.suppress(OSError):
                os.unlink(target, dir_fd=target_folder)
        raise


def rename(source: str, target: str, *, source_folder: int, target_folder: int) -> None:
    """Move a file to another name on the same file system, replacing any file with that name. Raises OSError.

    The error states the whole path.
    """
    _changing(
        lambda: os.rename(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder), source, source_folder
    )


def rename_path(source: Path, target: Path) -> None:
    """Move a file to another path on the same file system, replacing any file at that path. Raises OSError."""
    _changing(lambda: source.rename(target), source)


def unlink(name: str, *, folder: int) -> None:
    """Remove a name from an open folder. Raises an OSError that states the whole path."""
    _changing(lambda: os.unlink(name, dir_fd=folder), name, folder)


def sync_folder(folder: int) -> None:
    """Sync the names in an open folder to the disk, if the file system can sync folders."""
    sync(folder)


def sync(descriptor: int) -> None:
    """Sync an open file or folder to the disk, if its file system supports that."""
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise


def _changing(change: Callable[[], object], source: str | Path, folder: int | None = None) -> None:
    try:
        change()
    except FileNotFoundError:
        raise
    except OSError as exc:
        if exc.errno not in UNKNOWN_OUTCOME_ERRORS or not _is_gone(source, folder):
            raise _located(exc, folder, source) from None


def _rename_flagged(source: str, target: str, source_folder: int, target_folder: int) -> int:
    """Call renameat2 with RENAME_NOREPLACE, and return the error number; 0 after a success."""
    arguments = source_folder, os.fsencode(source), target_folder, os.fsencode(target)
    return 0 if _libc.renameat2(*arguments, ctypes.c_uint(RENAME_NOREPLACE)) == 0 else ctypes.get_errno()


def _is_gone(name: str | Path, folder: int | None) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def may_change(folder: int) -> bool:
    """True if the mode of an open folder lets this process change names in it. Ignores the sticky bit (+t)."""
    return os.access(f"/proc/self/fd/{folder}", os.W_OK | os.X_OK, effective_ids=True)


def _located(exc: OSError, folder: int | None, name: str | Path) -> OSError:
    """Return the error with the whole path of the file that it concerns."""
    if folder is None:
        return exc
    with contextlib.suppress(OSError):
        return OSError(exc.errno, exc.strerror, str(Path(f"/proc/self/fd/{folder}").readlink() / name))
    return exc
