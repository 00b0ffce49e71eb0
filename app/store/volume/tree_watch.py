"""Reports which paths below a folder have changed, by inotify.

Each real folder has its own watch; links are not followed. A scan adds a watch of each folder before it lists the
folder. So a change that comes too late for the scan is reported.
"""

import asyncio
import contextlib
import errno
from threading import Lock
from typing import NamedTuple

import anyio
from inotify_simple import INotify, flags

MASK = (
    flags.CREATE
    | flags.DELETE
    | flags.MODIFY
    | flags.CLOSE_WRITE
    | flags.ATTRIB
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.ONLYDIR
    | flags.EXCL_UNLINK
)
WATCH_LIMITS = {
    errno.ENOSPC: "the user of this process has no inotify watch left: raise fs.inotify.max_user_watches",
    errno.EMFILE: "no inotify instance or file descriptor is left: raise fs.inotify.max_user_instances, or LimitNOFILE",
}
"""What inotify's error numbers mean. The kernel's own texts speak misleadingly of a full disk and of open files."""


class Changes(NamedTuple):
    """The changes that the kernel has reported."""

    names: set[str]
    """The changed paths, relative to the watched root, without hidden paths. Bytes that are not UTF-8 are
    surrogates."""
    is_complete: bool
    """False if the kernel's queue overflowed, so that changes are missing."""


class TreeWatch:
    """Watches real folders by inotify. `add` and `read` block and may be called from any thread."""

    def __init__(self) -> None:
        """Raises OSError if the kernel has no inotify instance left for this user."""
        self.failure: str | None = None
        """Why a folder could not be watched; None if all folders are watched."""
        self._lock = Lock()
        self._is_closing = False
        self._prefixes: dict[int, str] = {}
        """The path of each watched folder by the number of its watch: '' or a path that ends with '/'."""
        self._inotify = INotify(nonblocking=True)

    def add(self, prefix: str, folder: int) -> None:
        """Watch an open folder. `prefix` is its path below the root: '' or a path that ends with '/'."""
        with self._lock:
            if self.failure or self._is_closing:
                return
            try:
                # Watch by descriptor, because the path may lead through a link to another folder by now.
                watch = self._inotify.add_watch(f"/proc/self/fd/{folder}", MASK)
            except PermissionError:
                return  # the folder's permissions have just changed; the watch of its parent reports that
            except OSError as exc:
                self.failure = reason_of(exc)
                return
            self._prefixes[watch] = prefix

    async def wait(self, seconds: float) -> bool:
        """Wait for a change.

        Returns True at once if there are unread changes, and False after `seconds` without a change.
        """
        loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._inotify.fileno(), is_readable.set)
        try:
            with anyio.move_on_after(seconds):
                await is_readable.wait()
        finally:
            loop.remove_reader(self._inotify.fileno())
        return is_readable.is_set()

    def read(self) -> Changes:
        """Return all changes since the last call. Does not wait for a change."""
        with self._lock:
            changes = self._read() if not self._is_closing else Changes(set(), is_complete=False)
        if self._is_closing:
            self.close()
        return changes

    def close(self) -> None:
        """End all watches. Does not wait for a thread in `add` or `read`."""
        self._is_closing = True
        if self._lock.acquire(blocking=False):
            try:
                self._inotify.close()
            finally:
                self._lock.release()

    def _read(self) -> Changes:
        names, moved, is_complete = set[str](), set[str](), True
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                is_complete = False
            elif event.mask & flags.IGNORED:
                self._prefixes.pop(event.wd, None)
            elif event.name and not event.name.startswith(".") and event.wd in self._prefixes:
                name = self._prefixes[event.wd] + event.name
                names.add(name)
                if event.mask & flags.ISDIR and event.mask & flags.MOVED_FROM:
                    moved.add(name + "/")
        if moved:
            self._forget(moved)
        return Changes(names, is_complete)

    def _forget(self, moved: set[str]) -> None:
        """End the watches of moved folders and of all folders below them.

        A scan watches those folders again that are still in the tree.
        """
        for watch, prefix in list(self._prefixes.items()):
            ends = [end + 1 for end, character in enumerate(prefix) if character == "/"]
            if any(prefix[:end] in moved for end in ends):
                del self._prefixes[watch]
                with contextlib.suppress(OSError):  # the folder was deleted, which ended its watch
                    self._inotify.rm_watch(watch)


def reason_of(exc: OSError) -> str:
    """Return why inotify cannot watch a folder, as text for an OSError of inotify."""
    return WATCH_LIMITS.get(exc.errno or 0) or str(exc)
