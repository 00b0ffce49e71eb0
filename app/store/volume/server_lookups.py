"""Lookups that bypass a client's cache, for the few decisions that need to know which file has a name now.

A client of a network file system caches which file has a name, and that a name is free. A rename does not refresh the
cache: after a rename, GlusterFS's client still reports the old cached file at the new name. But after a client has
changed a folder, it reads that folder's listing from the server, and the listing has each file's inode number.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.errors import LookupStale

LOOKUP_PREFIX = ".look-"
FRESH_SECONDS = 3.0
"""How long, in seconds, to wait until a stale cache expires. Caches last about a second."""
LOOKUP_PAUSE_SECONDS = 0.05

T = TypeVar("T")


def files_on_server(folder: Path) -> dict[str, int]:
    """Return the files in a folder as the file system's server reports them now: inode numbers by name.

    Creates and removes a file in the folder to bypass the cache. Raises OSError, FileNotFoundError included.
    """
    probe = folder / f"{LOOKUP_PREFIX}{secrets.token_hex(8)}"
    probe.open("x").close()
    probe.unlink()
    with os.scandir(folder) as entries:
        return {entry.name: entry.inode() for entry in entries if not entry.name.startswith(LOOKUP_PREFIX)}


def move_to_free_name(move: Callable[[], T], folder: int, leaf: str) -> T:
    """Call `move`, which moves a file to the name `leaf`, and return its result.

    If `move` fails because the name is taken, but only in this machine's stale cache, retries. Raises FileExistsError
    if the server has a file of this name, and LookupStale if the cache still has the name after FRESH_SECONDS.
    """
    deadline = time.monotonic() + FRESH_SECONDS
    while True:
        try:
            return move()
        except FileExistsError:
            if leaf in files_on_server(Path(f"/proc/self/fd/{folder}")):
                raise
            if time.monotonic() >= deadline:
                raise LookupStale from None
        time.sleep(LOOKUP_PAUSE_SECONDS)


def status_on_server(path: Path) -> os.stat_result:
    """Return the status of a path, once this machine and the server report the same file.

    This function lists the whole folder, so it is only for folders with few files. Raises FileNotFoundError if the
    server has no such name, and LookupStale if this machine still reports another file after FRESH_SECONDS.
    """
    deadline = time.monotonic() + FRESH_SECONDS
    while True:
        number = files_on_server(path.parent).get(path.name)
        if number is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        status = path.lstat()
        if status.st_ino == number:
            return status
        if time.monotonic() >= deadline:
            raise LookupStale
        time.sleep(LOOKUP_PAUSE_SECONDS)
