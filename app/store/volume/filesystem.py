"""Finds the file system of a folder, and says whether other machines can change it."""

from dataclasses import dataclass
from pathlib import Path

import psutil

LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "f2fs", "bcachefs", "ramfs"}
"""File systems that only this machine's kernel changes, so that the kernel's lookups are never stale."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system of one folder."""

    kind: str
    """The kernel's name of the type of file system, such as `ext4`; `unknown` if no mount was found."""

    @property
    def is_local(self) -> bool:
        """True if no other machine can change the file system: then lookups are current, and inotify sees all changes.

        Any file system that is not in LOCAL is treated as shared: its client caches names and attributes, and for a
        while does not see another machine's rename or unlink. So on it no file may be deleted or replaced because of a
        cached lookup.
        """
        return self.kind in LOCAL

    @property
    def keeps_locks_to_itself(self) -> bool:
        """True for CIFS, whose client does not send every lock to the server.

        In tests on CIFS another machine deleted a leased model.
        """
        return self.kind in {"cifs", "smb3"}


def file_system_of(folder: Path) -> FileSystem:
    """Find the file system of a folder in the mount table of this process."""
    best, kind = -1, "unknown"
    for mount in psutil.disk_partitions(all=True):
        # Not `>`: of several mounts on one mount point, the last one hides the others.
        if len(mount.mountpoint) >= best and folder.is_relative_to(mount.mountpoint):
            best, kind = len(mount.mountpoint), mount.fstype
    return FileSystem(kind)
