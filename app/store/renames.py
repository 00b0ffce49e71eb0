"""The rename that never overwrites: the one way a file comes to a model's name."""

import contextlib
import ctypes
import errno
import os
import secrets

RENAME_NOREPLACE = 1  # <linux/fs.h>
CLAIM_MARK = "~"
"""Stands between a file's name and a few random digits while that file is claimed."""
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}

_libc = ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(source: str, target: str, *, source_folder: int, target_folder: int) -> None:
    """Move a file to another name on the same file system; raises FileExistsError when that name is taken.

    Names are relative to open folders. One rename where the file system can do that (`RENAME_NOREPLACE`). Elsewhere, as
    on NFS and most FUSE file systems, three steps of which the file system's server decides each: the file is claimed
    by a rename to a name that nobody else knows, linked to the target, and the claim removed. The claim comes first
    because a client links the file that it *remembers* at a name, which may have been moved away since by another
    machine; a rename moves what the server has there now, or fails with FileNotFoundError.

    Killed at any point, the file is whole under the source's name, a claim (see `claimed_name`), or the target.
    """
    moved = _libc.renameat2(
        source_folder, os.fsencode(source), target_folder, os.fsencode(target), ctypes.c_uint(RENAME_NOREPLACE)
    )
    if moved == 0:
        return
    number = ctypes.get_errno()
    if number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number), target)
    claim = claim_file(source, source_folder)
    try:
        os.link(claim, target, src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)
    except BaseException:
        os.rename(claim, source, src_dir_fd=source_folder, dst_dir_fd=source_folder)
        raise
    with contextlib.suppress(FileNotFoundError):  # it has its name; a sweep took the claim for a dead process's
        os.unlink(claim, dir_fd=source_folder)


def claim_file(name: str, folder: int) -> str:
    """Rename a file to a name that nobody else knows, and return that name; raises FileNotFoundError.

    Of any number of claims of one file, on any number of machines, exactly one succeeds. What is read at the new name
    is read from the server, since no client has ever looked it up.
    """
    stem, dot, suffix = name.partition(".")
    claim = f"{stem}{CLAIM_MARK}{secrets.token_hex(8)}{dot}{suffix}"
    os.rename(name, claim, src_dir_fd=folder, dst_dir_fd=folder)
    return claim


def claimed_name(name: str) -> str | None:
    """The name that a claim was made of, or None for a name that is no claim."""
    stem, dot, suffix = name.partition(".")
    before, mark, _ = stem.partition(CLAIM_MARK)
    return f"{before}{dot}{suffix}" if mark else None
