"""The rename that never overwrites: the one way a file comes to a model's name."""

import ctypes
import errno
import os

RENAME_NOREPLACE = 1  # <linux/fs.h>

_libc = ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(source: str, target: str, *, source_folder: int, target_folder: int) -> None:
    """Move a file to another name on the same file system in one step; raises FileExistsError when that is taken.

    Names are relative to open folders. Killed at any point, the file is under one name or the other. File systems that
    cannot do it in one step (a few over the network) get a link and an unlink, between which both names are there.
    """
    moved = _libc.renameat2(
        source_folder, os.fsencode(source), target_folder, os.fsencode(target), ctypes.c_uint(RENAME_NOREPLACE)
    )
    if moved == 0:
        return
    number = ctypes.get_errno()
    if number not in {errno.EINVAL, errno.ENOSYS}:
        raise OSError(number, os.strerror(number), target)
    os.link(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder, follow_symlinks=False)
    os.unlink(source, dir_fd=source_folder)
