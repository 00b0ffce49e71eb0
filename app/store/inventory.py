"""The inventory: which models are in the folder, as one scan found them."""

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

STORE_DIR = ".store"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
LATEST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


class Model(NamedTuple):
    """One model file as a scan saw it. A named tuple, since creating a frozen dataclass takes five times as long."""

    name: str
    size_bytes: int
    modified_ns: int
    """The modification time, in nanoseconds since the epoch."""
    changed_ns: int
    """When the file got its name or was last written (ctime), by the kernel's clock, in nanoseconds since the epoch."""
    inode: int

    @property
    def modified_at(self) -> datetime:
        """The modification time, to the microsecond.

        A time outside the years 1 to 9999 becomes the nearest time inside.
        """
        return EPOCH + timedelta(microseconds=min(max(self.modified_ns // 1000, EARLIEST_US), LATEST_US))

    @property
    def etag(self) -> str:
        """The ETag of this version of the file. It changes whenever the file is replaced, grows or is written.

        The ETag consists of size and modification time, which all machines see alike. It leaves out the inode number,
        because several network file systems give each mount its own inode numbers. The store sets a new modification
        time on each model that it publishes, see `StagedFile.stamp`.
        """
        return f'"{self.size_bytes:x}-{self.modified_ns:x}"'


@dataclass(frozen=True, slots=True)
class ScanWarning:
    """An entry of the folder that the scan could not list, and why."""

    path: str
    """The entry's path below the model folder; bytes that are not UTF-8 are shown as \\x escapes."""
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """The result of one scan, in memory: its properties do not read the disk."""

    models: dict[str, Model]
    """The models by name, sorted by name."""
    warnings: tuple[ScanWarning, ...]
    root_id: tuple[int, int]
    """Device and inode of the folder that was scanned."""

    @property
    def total_size_bytes(self) -> int:
        """The sum of the sizes of all models."""
        return sum(model.size_bytes for model in self.models.values())


def model_at(name: str, status: os.stat_result) -> Model:
    """Make a `Model` from a file's name and status."""
    return Model(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def what_instead(mode: int, *, directory_ok: bool = False) -> str | None:
    """Return what a file mode stands for, such as 'a symbolic link'.

    None for a regular file, and with `directory_ok` for a folder.
    """
    if stat.S_ISREG(mode) or (directory_ok and stat.S_ISDIR(mode)):
        return None
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")
