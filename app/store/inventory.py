"""What models lie in the folder: one scan, and the frozen facts it found."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from app.errors import StoreUnavailable
from app.store.names import problem_with

STORE_DIR = ".store"


@dataclass(frozen=True, slots=True)
class Model:
    """One model file as a scan saw it."""

    name: str
    size_bytes: int
    modified_ns: int
    """Nanoseconds since the epoch."""
    changed_ns: int
    """When it came to this name or was last written, by the kernel's own clock."""
    inode: int

    @property
    def modified_at(self) -> datetime:
        """The modification time, to the microsecond."""
        return datetime.fromtimestamp(self.modified_ns // 1000 / 1e6, UTC)

    @property
    def etag(self) -> str:
        """Changes whenever the file is replaced, grows or is written."""
        return f'"{self.inode:x}-{self.size_bytes:x}-{self.modified_ns:x}"'


@dataclass(frozen=True, slots=True)
class ScanWarning:
    """Something in the folder that the scan could not list, and why."""

    path: str
    """Relative to the model folder; bytes that are not UTF-8 are shown as \\x escapes."""
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """The result of one scan. Nothing in it touches the disk again."""

    models: dict[str, Model]
    """By name, sorted by name."""
    warnings: tuple[ScanWarning, ...]
    root_id: tuple[int, int]
    """Device and inode of the folder that was scanned."""
    scanned_at: datetime = field(compare=False)

    @property
    def total_size_bytes(self) -> int:
        """What the models take together."""
        return sum(model.size_bytes for model in self.models.values())


def model_at(name: str, status: os.stat_result) -> Model:
    """The facts of one model file."""
    return Model(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def scan(root: Path) -> Inventory:
    """Scan the folder once. Links are not followed, hidden entries skipped; what cannot be read becomes a warning.

    Raises StoreUnavailable when the folder itself cannot be read.
    """
    scanned_at = datetime.now(UTC)
    warnings: list[ScanWarning] = []
    try:
        root_status = root.stat()
        models = {model.name: model for model in _walk(root, root_status.st_dev, warnings)}
    except OSError as exc:
        raise StoreUnavailable(str(exc)) from exc
    return Inventory(
        dict(sorted(models.items())),
        tuple(sorted(warnings, key=lambda w: w.path)),
        (root_status.st_dev, root_status.st_ino),
        scanned_at,
    )


def _walk(root: Path, device: int, warnings: list[ScanWarning]) -> Iterator[Model]:
    folders = [""]
    while folders:
        prefix = folders.pop()
        try:
            with os.scandir(root / prefix) as entries:
                for entry in entries:
                    yield from _look_at(entry, prefix + entry.name, device, folders, warnings)
        except OSError as exc:
            if not prefix:
                raise
            if not isinstance(exc, FileNotFoundError):  # deleted since; no news
                warnings.append(_warning(prefix, f"the folder cannot be read: {exc.strerror}"))


def _look_at(
    entry: os.DirEntry[str], name: str, device: int, folders: list[str], warnings: list[ScanWarning]
) -> Iterator[Model]:
    if entry.name.startswith("."):
        return
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as exc:
        warnings.append(_warning(name, exc.strerror or str(exc)))
        return
    if reason := problem_with(name) or what_instead(status.st_mode, directory_ok=True):
        warnings.append(_warning(name, reason))
    elif stat.S_ISREG(status.st_mode):
        yield model_at(name, status)
    elif status.st_dev != device:
        warnings.append(_warning(name, "another file system is mounted here; its files are not managed"))
    else:
        folders.append(name + "/")


def what_instead(mode: int, *, directory_ok: bool = False) -> str | None:
    """What lies there instead of a model file, or None for a regular file."""
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


def _warning(name: str, reason: str) -> ScanWarning:
    return ScanWarning(os.fsencode(name).decode(errors="backslashreplace"), reason)
