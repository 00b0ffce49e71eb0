"""Which file system a folder lies on, and whether this machine's kernel sees every change of it."""

from dataclasses import dataclass
from pathlib import Path

import psutil

LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "f2fs", "bcachefs", "ramfs"}
"""File systems whose every change comes through this machine's kernel, so that its lookups are never stale."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The file system of one folder."""

    kind: str
    """The kernel's name of its type, such as `ext4` or `fuse.glusterfs`; `unknown` if no mount was found."""

    @property
    def is_local(self) -> bool:
        """True if no other machine can change it, so that lookups are current and inotify tells every change.

        Any other is treated as shared: its client caches names and attributes for a while, and until then does not see
        another machine's rename or unlink. Nothing may be deleted or replaced because of such a lookup.
        """
        return self.kind in LOCAL

    @property
    def keeps_locks_to_itself(self) -> bool:
        """True for CIFS, whose client does not send every lock: in tests another machine deleted a leased model."""
        return self.kind in {"cifs", "smb3"}


def file_system_of(folder: Path) -> FileSystem:
    """The file system of a folder, by the mount table of this process."""
    best, kind = -1, "unknown"
    for mount in psutil.disk_partitions(all=True):
        # Not `>`: of several mounts on one mount point, the last one hides the others.
        if len(mount.mountpoint) >= best and folder.is_relative_to(mount.mountpoint):
            best, kind = len(mount.mountpoint), mount.fstype
    return FileSystem(kind)
