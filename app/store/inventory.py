"""The inventory: which models are in the folder, as one scan found them."""

import os
import stat
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from app.errors import StoreUnavailable
from app.store.names import problem_with

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
    """When the file got this name or was last written, by the kernel's clock, in nanoseconds since the epoch."""
    inode: int

    @property
    def modified_at(self) -> datetime:
        """The modification time, to the microsecond. A time outside the years 1 to 9999 becomes the nearest inside."""
        return EPOCH + timedelta(microseconds=min(max(self.modified_ns // 1000, EARLIEST_US), LATEST_US))

    @property
    def etag(self) -> str:
        """The ETag of this version of the file. It changes whenever the file is replaced, grows or is written.

        It consists of size and modification time, which all machines see alike. It leaves out the inode number, since
        several network file systems give each mount its own. The store sets a new modification time on each model that
        it publishes, see `StagedFile.stamp`.
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


def scan(root: Path, before: Inventory | None = None) -> Inventory:
    """Scan the whole folder, and return the inventory. Raises StoreUnavailable if the folder itself cannot be read.

    Links are not followed, hidden entries are skipped, and entries that cannot be listed become warnings. A model that
    has not changed since `before` is the identical object, so that values cached for it stay valid.
    """
    try:
        status = root.stat()
        found = _Found(before.models if before else {}, {}, {})
        _walk(root, "", status.st_dev, found)
    except OSError as exc:
        raise StoreUnavailable(str(exc)) from exc
    return found.inventory((status.st_dev, status.st_ino))


def rescan(root: Path, before: Inventory, names: Iterable[str]) -> Inventory:
    """Return the inventory `before`, brought up to date at the paths in `names`, which are relative to the folder.

    No other path is read: a scan of 10,000 files takes a tenth of a second of an idle processor, and seconds of a busy
    one, since the thread waits for Python's interpreter lock at each file.
    """
    known = list(before.models)
    shown = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    if all(_is_as_it_was(root, name, before, known) for name in shown):
        return before
    found = _Found(before.models, before.models.copy(), {warning.path: warning for warning in before.warnings}, known)
    for name in shown:
        found.remove(name)
        try:
            status = _status_below(root, name, before.root_id[0])
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            found.warn(name, exc.strerror or str(exc))
            continue
        if folder := _note(name, status, before.root_id[0], found):
            _walk(root, folder, before.root_id[0], found)
    return found.inventory(before.root_id)


def _is_as_it_was(root: Path, name: str, before: Inventory, known: list[str]) -> bool:
    """True if one lookup shows that a path has not changed since `before`.

    This is frequent: inotify also reports the changes of this process, which are in the inventory already.
    """
    if before.warnings:
        return False
    try:
        status = _status_below(root, name, before.root_id[0])
    except (FileNotFoundError, NotADirectoryError):
        return name not in before.models and not _below(name + "/", known)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and model_at(name, status) == before.models.get(name)


def _below(folder: str, names: list[str]) -> list[str]:
    """Return the names below a folder from a sorted list. Bisects the list, because 100,000 comparisons take 8 ms."""
    return names[bisect_left(names, folder) : bisect_left(names, folder[:-1] + chr(ord("/") + 1))]


def _status_below(root: Path, name: str, device: int) -> os.stat_result:
    """Get the status of a path. Raises NotADirectoryError if it leads through a link or another file system."""
    path = root
    *folders, leaf = name.split("/")
    for part in folders:
        path /= part
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_dev != device:
            raise NotADirectoryError(path)
    return os.lstat(path / leaf)


@dataclass(slots=True)
class _Found:
    """The models and warnings that a scan has found so far."""

    known: dict[str, Model]
    """The models of the previous inventory."""
    models: dict[str, Model]
    warnings: dict[str, ScanWarning]
    names: list[str] | None = None
    """The sorted names of the previous inventory; None once a model was added, since `models` is then unsorted."""

    def warn(self, name: str, reason: str) -> None:
        shown = os.fsencode(name).decode(errors="backslashreplace")
        self.warnings[shown] = ScanWarning(shown, reason)

    def remove(self, name: str) -> None:
        """Remove the model at a path, or all models below the path if it was a folder, and their warnings."""
        below = name + "/"
        if self.models.pop(name, None) is None:
            for gone in _below(below, sorted(self.models) if self.names is None else self.names):
                self.models.pop(gone, None)
        for gone in [known for known in self.warnings if known == name or known.startswith(below)]:
            del self.warnings[gone]

    def inventory(self, root_id: tuple[int, int]) -> Inventory:
        warnings = tuple(self.warnings[path] for path in sorted(self.warnings))
        # Names alone sort faster than pairs of name and model.
        models = self.models if self.names is not None else {name: self.models[name] for name in sorted(self.models)}
        return Inventory(models, warnings, root_id)


def _walk(root: Path, folder: str, device: int, found: _Found) -> None:
    """Add everything below a folder to `found`. The folder is '' or ends with '/'."""
    folders = [folder]
    while folders:
        prefix = folders.pop()
        try:
            with os.scandir(root / prefix) as entries:
                folders += [below for entry in entries if (below := _examine(entry, prefix, device, found))]
        except OSError as exc:
            if not prefix:
                raise
            if not isinstance(exc, FileNotFoundError):  # a folder that was deleted meanwhile is no warning
                found.warn(prefix, f"the folder cannot be read: {exc.strerror}")


def _examine(entry: os.DirEntry[str], prefix: str, device: int, found: _Found) -> str | None:
    if entry.name.startswith("."):
        return None
    name = prefix + entry.name
    try:
        return _note(name, entry.stat(follow_symlinks=False), device, found)
    except FileNotFoundError:
        return None
    except OSError as exc:
        found.warn(name, exc.strerror or str(exc))
        return None


def _note(name: str, status: os.stat_result, device: int, found: _Found) -> str | None:
    """Add the model or the warning at a path to `found`; if the path is a folder, return it to be scanned next."""
    if reason := problem_with(name):
        found.warn(name, reason)
    elif stat.S_ISREG(status.st_mode):
        model = model_at(name, status)
        found.models[name] = known if (known := found.known.get(name)) == model else model
        found.names = None
    elif what := what_instead(status.st_mode, directory_ok=True):
        found.warn(name, what)
    elif status.st_dev != device:
        found.warn(name, "another file system is mounted here; its files are not managed")
    else:
        return name + "/"
    return None


def what_instead(mode: int, *, directory_ok: bool = False) -> str | None:
    """Say what a file mode stands for, such as 'a symbolic link'. None for a regular file, or for an allowed folder."""
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
