"""Which file system a folder lies on, and whether this machine's kernel sees every change of it."""

from dataclasses import dataclass
from pathlib import Path

import psutil

LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "f2fs", "bcachefs", "ramfs"}
"""File systems whose every change comes through this machine's kernel. What it knows of names is never out of date."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system of one folder."""

    kind: str
    """Its type as the kernel calls it, such as `ext4` or `fuse.glusterfs`; `unknown` where no mount was found."""

    @property
    def is_local(self) -> bool:
        """True if no other machine can change it, so that lookups are current and inotify tells every change.

        Any other is treated as shared: its client keeps names and attributes for a while, and another machine's rename
        or unlink is not seen until then. Nothing may be removed or replaced because of what such a lookup said.
        """
        return self.kind in LOCAL

    @property
    def keeps_locks_to_itself(self) -> bool:
        """True for CIFS, whose client does not send every lock: in tests another machine deleted a leased model."""
        return self.kind in {"cifs", "smb3"}


def file_system_of(folder: Path) -> FileSystem:
    """The file system that a folder lies on, by the mount table of this process."""
    best, kind = -1, "unknown"
    for mount in psutil.disk_partitions(all=True):
        # Not `>`: of several mounts on one mount point, the last one hides the others.
        if len(mount.mountpoint) >= best and folder.is_relative_to(mount.mountpoint):
            best, kind = len(mount.mountpoint), mount.fstype
    return FileSystem(kind)
