"""Reports which paths below a folder have changed, by inotify. Watches each real folder by itself and follows no link.

A scan adds the folders, each before it lists it. So a change that the scan no longer sees is reported.
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
EXHAUSTED = {
    errno.ENOSPC: "the user of this process has no inotify watch left: raise fs.inotify.max_user_watches",
    errno.EMFILE: "no inotify instance or file descriptor is left: raise fs.inotify.max_user_instances, or LimitNOFILE",
}
"""What the kernel's errors mean. Their own texts name a full disk and open files."""


class Changes(NamedTuple):
    """What the kernel has reported."""

    names: set[str]
    """The changed paths, relative to the folder, without hidden ones; bytes that are not UTF-8 are surrogates."""
    is_complete: bool
    """False if the kernel's queue was too short, so that changes are missing."""


class TreeWatch:
    """Watches real folders by inotify. `add` and `read` block and may be called from any thread."""

    def __init__(self) -> None:
        """Raises OSError if the kernel has no inotify instance left for this user."""
        self.failure: str | None = None
        """Why a folder could not be watched; None if all are watched."""
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
                # By its descriptor, since a path may meanwhile lead through a link to another folder.
                watch = self._inotify.add_watch(f"/proc/self/fd/{folder}", MASK)
            except PermissionError:
                return  # its permissions have just changed, which the watch of its parent reports
            except OSError as exc:
                self.failure = reason_of(exc)
                return
            self._prefixes[watch] = prefix

    async def wait(self, seconds: float) -> bool:
        """Wait for a change. Returns True at once if there are unread ones, and False after `seconds`."""
        loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._inotify.fileno(), is_readable.set)
        try:
            with anyio.move_on_after(seconds):
                await is_readable.wait()
        finally:
            loop.remove_reader(self._inotify.fileno())
        return is_readable.is_set()

    def read(self) -> Changes:
        """Return all changes since the last call. Does not wait for one."""
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
        """End the watches of folders that were moved away, and of all below. A scan adds those that are still here."""
        for watch, prefix in list(self._prefixes.items()):
            ends = [end + 1 for end, character in enumerate(prefix) if character == "/"]
            if any(prefix[:end] in moved for end in ends):
                del self._prefixes[watch]
                with contextlib.suppress(OSError):  # the folder is deleted, and its watch with it
                    self._inotify.rm_watch(watch)


def reason_of(exc: OSError) -> str:
    """Say why inotify cannot watch."""
    return EXHAUSTED.get(exc.errno or 0) or str(exc)
