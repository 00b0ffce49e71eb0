"""A rename that never overwrites a file. The store uses it to give a file the name of a model."""

import ctypes
import errno
import os

RENAME_NOREPLACE = 1  # <linux/fs.h>
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""The errors of a file system that does not support the call."""

_libc = ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(source: str, target: str, *, source_folder: int, target_folder: int) -> None:
    """Move a file to another name on the same file system. Raises FileExistsError if the name is taken.

    Names are relative to the open folders. This is one rename if the file system supports `RENAME_NOREPLACE`. Else, as
    on NFS and most FUSE file systems, it is a link and an unlink, and in between the file has both names.

    The link is made to the file that this machine's cache has at the source's name. So no other machine may move the
    source, or `status_on_server` must just have looked it up.
    """
    moved = _libc.renameat2(
        source_folder, os.fsencode(source), target_folder, os.fsencode(target), ctypes.c_uint(RENAME_NOREPLACE)
    )
    if moved == 0:
        return
    number = ctypes.get_errno()
    if number not in UNSUPPORTED:
        raise OSError(number, os.strerror(number), target)
    os.link(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)
    os.unlink(source, dir_fd=source_folder)


def sync_folder(folder: int) -> None:
    """Sync the names in an open folder to the disk, if the file system can sync folders."""
    try:
        os.fsync(folder)
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise
