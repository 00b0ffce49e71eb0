"""The rename that never overwrites: the one way a file comes to a model's name."""

import ctypes
import errno
import os

RENAME_NOREPLACE = 1  # <linux/fs.h>
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
"""What a file system answers that cannot do it at all."""

_libc = ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(source: str, target: str, *, source_folder: int, target_folder: int) -> None:
    """Move a file to another name on the same file system; raises FileExistsError when that name is taken.

    Names are relative to open folders. One rename where the file system can do that (`RENAME_NOREPLACE`); a link and an
    unlink where it cannot, as on NFS and most FUSE file systems, between which both names are there.

    A client links the file that it remembers at the source's name. So the source is one that no other machine moves, or
    one that was looked up by `status_on_server` since.
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
    """Have the names in an open folder on the disk, wherever the file system can synchronise folders."""
    try:
        os.fsync(folder)
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise
