"""Scans the whole model folder, or only changed paths. Follows no link, even if folders are moved during the scan."""

import contextlib
import errno
import math
import os
import stat
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Self

from app.errors import StoreUnavailable
from app.store.inventory import Inventory, Model, ScanWarning, model_at, what_instead
from app.store.names import problem_with

MAX_WALKED = 1000
"""How many entries of changed folders `rescan` reads at most. A full scan reads more without delaying other changes."""

REST_AFTER = 200
"""How many entries a scan reads between two sleeps, if the scan sleeps at all. To read these entries takes about a
millisecond."""

OnFolder = Callable[[str, int], object]
"""A function that receives, before a folder is read, the folder's path ('' or ending with '/') and its descriptor."""
Status = os.stat_result | OSError | None
"""What a lookup found at a path. None if nothing is there, or if the path leads through a link or to another file
system."""


class TooMany(Exception):
    """A folder has more entries than the caller allows to read."""


def scan(
    root: Path, before: Inventory | None = None, on_folder: OnFolder = lambda *_: None, rest: float = 0.0
) -> Inventory:
    """Scan the whole folder, and return the inventory. Raises StoreUnavailable if the folder itself cannot be read.

    Links are not followed, hidden entries are skipped, and entries that cannot be listed become warnings. A model that
    has not changed since `before` is the identical object, so that values cached for it stay valid. Between its steps
    the scan sleeps `rest` times as long as it computes, so that requests need not wait for Python's interpreter lock.
    """
    try:
        with _open_tree(root, on_folder) as tree:
            found = _Found(before.models if before else {})
            tree.walk("", found, rest=rest)
            return found.inventory(tree.root_id)
    except OSError as exc:
        raise StoreUnavailable(str(exc)) from exc


def rescan(
    root: Path,
    before: Inventory,
    names: Iterable[str],
    on_folder: OnFolder = lambda *_: None,
    max_walked: float = MAX_WALKED,
) -> tuple[Inventory, bool]:
    """Return the inventory `before`, brought up to date at the paths in `names`, which are relative to the folder.

    If folders among these paths have more than `max_walked` entries in all, they are unchanged in the inventory, the
    second result is False, and a full scan is needed. A full scan is avoided otherwise, because a scan of 10,000 files
    takes a tenth of a second on an idle processor and seconds on a busy one, where the thread waits for Python's
    interpreter lock at each file. Raises StoreUnavailable.
    """
    try:
        with _open_tree(root, on_folder) as tree:
            if tree.root_id != before.root_id:
                return before, False
            statuses = tree.look_up(name for name in names if not _is_hidden(name))
            known = _Known(before)
            if all(known.has(name, status) for name, status in statuses.items()):
                return before, True
            found = _Found(before.models, before.models.copy(), {it.path: it for it in before.warnings})
            is_complete = _update(found, known, tree, statuses, max_walked)
            return found.inventory(tree.root_id), is_complete
    except OSError as exc:
        raise StoreUnavailable(str(exc)) from exc


def _update(found: "_Found", known: "_Known", tree: "_Tree", statuses: dict[str, Status], max_walked: float) -> bool:
    """Apply the lookups of paths (`statuses`) to `found`.

    Returns False if some folders have too many entries and so were left unchanged.
    """
    is_complete, walked = True, ""
    for name in sorted(statuses):
        if walked and name.startswith(walked):
            continue  # this path was read with its folder
        status = statuses[name]
        if isinstance(status, os.stat_result) and stat.S_ISDIR(status.st_mode):
            below = _Found(found.known)
            try:
                if folder := below.note(name, status, tree.device):
                    tree.walk(folder, below, max_entries=max_walked)
            except TooMany:
                is_complete = False
                continue
            walked = name + "/"
            max_walked -= len(below.models) + len(below.warnings)
            found.remove(name, known)
            found.add(below)
            continue
        if name not in found.models or not isinstance(status, os.stat_result) or not stat.S_ISREG(status.st_mode):
            found.remove(name, known)
        if isinstance(status, os.stat_result):
            found.note(name, status, tree.device)
        elif status:
            found.warn(name, status.strerror or str(status))
    return is_complete


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _shown(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def _below(folder: str, names: list[str]) -> list[str]:
    """Return those names of a sorted list that are below a folder.

    The function bisects the list, because to compare 100,000 names takes 8 ms.
    """
    return names[bisect_left(names, folder) : bisect_left(names, folder[:-1] + chr(ord("/") + 1))]


@contextmanager
def _open_tree(root: Path, on_folder: OnFolder) -> Iterator["_Tree"]:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _Tree(descriptor, on_folder)
    finally:
        os.close(descriptor)


class _Tree:
    """The open model folder. All paths are relative to the model folder; paths of folders are '' or end with '/'."""

    def __init__(self, root: int, on_folder: OnFolder) -> None:
        status = os.fstat(root)
        self.device = status.st_dev
        self.root_id = status.st_dev, status.st_ino
        self._root = root
        self._path = _path_of(root).rstrip("/")
        self._on_folder = on_folder

    @contextmanager
    def opened(self, prefix: str) -> Iterator[int]:
        """Open a folder. Raises NotADirectoryError if the path leads through a link or to another file system.

        The whole path is opened with one call and then compared with the path that the kernel reports for the
        descriptor. Opening each part of the path separately would make the cost of a deep tree quadratic.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            folder = os.open(prefix.removesuffix("/") or ".", flags, dir_fd=self._root)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), prefix) from exc
            raise
        try:
            if prefix and (_path_of(folder) != f"{self._path}/{prefix[:-1]}" or os.fstat(folder).st_dev != self.device):
                raise NotADirectoryError(errno.ENOTDIR, "it is reached through a link or a mount", prefix)
            yield folder
        finally:
            os.close(folder)

    def walk(self, prefix: str, found: "_Found", *, max_entries: float = math.inf, rest: float = 0.0) -> None:
        """Add everything below a folder to `found`. Raises TooMany, and OSError if the root itself cannot be read."""
        folders, count, began = [prefix], 0, time.thread_time()
        while folders:
            prefix = folders.pop()
            try:
                with self.opened(prefix) as folder:
                    self._on_folder(prefix, folder)
                    with os.scandir(folder) as entries:
                        for entry in entries:
                            if below := self._examine(entry, prefix, found):
                                folders.append(below)
                            count += 1
                            if count > max_entries:
                                raise TooMany
                            if rest and count % REST_AFTER == 0:
                                time.sleep((time.thread_time() - began) * rest)
                                began = time.thread_time()
            except OSError as exc:
                if not prefix:
                    raise
                # A folder that was deleted or replaced during the scan needs no warning.
                if not isinstance(exc, FileNotFoundError | NotADirectoryError):
                    found.warn(prefix, f"the folder cannot be read: {exc.strerror}")

    def look_up(self, names: Iterable[str]) -> dict[str, Status]:
        """Return the lookup of each path, by path. Opens each folder only once.

        If a folder cannot be read, the result has the folder instead of the paths in it.
        """
        statuses: dict[str, Status] = {}
        split = sorted((prefix + slash, leaf) for prefix, slash, leaf in (name.rpartition("/") for name in names))
        for prefix, group in groupby(split, key=lambda pair: pair[0]):
            leaves = [leaf for _, leaf in group]
            try:
                with self.opened(prefix) as folder:
                    for leaf in leaves:
                        statuses[prefix + leaf] = _status_in(folder, leaf)
            except (FileNotFoundError, NotADirectoryError):
                statuses |= {prefix + leaf: None for leaf in leaves}
            except OSError:
                if not prefix:
                    raise
                # The folder cannot be read, so one warning replaces all known models below the folder.
                with contextlib.suppress(OSError):
                    statuses[prefix[:-1]] = os.stat(prefix[:-1], dir_fd=self._root, follow_symlinks=False)
        return statuses

    def _examine(self, entry: os.DirEntry[str], prefix: str, found: "_Found") -> str | None:
        if entry.name.startswith("."):
            return None
        name = prefix + entry.name
        try:
            return found.note(name, entry.stat(follow_symlinks=False), self.device)
        except FileNotFoundError:
            return None
        except OSError as exc:
            found.warn(name, exc.strerror or str(exc))
            return None


def _path_of(descriptor: int) -> str:
    """Return the present path of an open folder, as the kernel reports it in /proc."""
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a Path costs more than the call


def _status_in(folder: int, leaf: str) -> Status:
    try:
        return os.stat(leaf, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as exc:
        return exc


class _Known:
    """The models and warnings of the previous inventory, sorted for lookups by folder."""

    def __init__(self, before: Inventory) -> None:
        self.models = before.models
        self.names = list(before.models)
        self.warnings = [warning.path for warning in before.warnings]

    def has(self, name: str, status: Status) -> bool:
        """True if `status`, the lookup of a path, shows that the path has not changed since the previous inventory.

        Unchanged paths are frequent: inotify also reports this process's own changes, which are in the inventory
        already.
        """
        if isinstance(status, os.stat_result):
            return stat.S_ISREG(status.st_mode) and model_at(name, status) == self.models.get(name)
        if status:
            return False
        return name not in self.models and not self.below(name) and not self.warnings_at(name)

    def below(self, name: str) -> list[str]:
        """Return the names of the previous models below a folder."""
        return _below(name + "/", self.names)

    def warnings_at(self, name: str) -> list[str]:
        """Return the paths of the previous warnings at a path and below that path."""
        shown = _shown(name)
        at = bisect_left(self.warnings, shown)
        return [*(path for path in self.warnings[at : at + 1] if path == shown), *_below(shown + "/", self.warnings)]


@dataclass(slots=True)
class _Found:
    """The models and warnings that a scan has found so far."""

    known: dict[str, Model]
    """The models of the previous inventory."""
    models: dict[str, Model] = field(default_factory=dict)
    warnings: dict[str, ScanWarning] = field(default_factory=dict)
    is_sorted: bool = True
    """False after a new name was added to `models`, so that `models` must be sorted."""

    def note(self, name: str, status: os.stat_result, device: int) -> str | None:
        """Add the model or the warning at a path. If a folder is there, return its path, to be scanned next."""
        if reason := problem_with(name):
            self.warn(name, reason)
        elif stat.S_ISREG(status.st_mode):
            model = model_at(name, status)
            self.is_sorted = self.is_sorted and name in self.models
            self.models[name] = known if (known := self.known.get(name)) == model else model
        elif what := what_instead(status.st_mode, directory_ok=True):
            self.warn(name, what)
        elif status.st_dev != device:
            self.warn(name, "another file system is mounted here; its files are not managed")
        else:
            return name + "/"
        return None

    def warn(self, name: str, reason: str) -> None:
        """Add a warning for a path."""
        shown = _shown(name)
        self.warnings[shown] = ScanWarning(shown, reason)

    def remove(self, name: str, known: _Known) -> None:
        """Remove the model at a path, or all models below the path if it was a folder, and their warnings."""
        if self.models.pop(name, None) is None:
            for gone in known.below(name):
                self.models.pop(gone, None)
        for path in known.warnings_at(name):
            self.warnings.pop(path, None)

    def add(self, others: Self) -> None:
        """Add the models and warnings that another object of this class has found below one folder."""
        self.is_sorted = self.is_sorted and not others.models
        self.models |= others.models
        self.warnings |= others.warnings

    def inventory(self, root_id: tuple[int, int]) -> Inventory:
        """Return the inventory of the found models and warnings."""
        warnings = tuple(self.warnings[path] for path in sorted(self.warnings))
        # Sorting names is faster than sorting pairs of name and model.
        models = self.models if self.is_sorted else {name: self.models[name] for name in sorted(self.models)}
        return Inventory(models, warnings, root_id)
