"""Room for what comes in: what is free, and before anything is refused what the trash would give, oldest first."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from app.errors import StoreFull
from app.store.trash.folder import TrashFolder
from app.store.trash.records import TrashEntry

RESERVE_BYTES = 1 << 20
"""What is left free, so that a disk filled with models still takes the records of deletions."""

Purge = Callable[[Iterable[TrashEntry]], object]
"""Deletes entries for good, and says so."""


class DiskSpace:
    """The free space of one model folder's disk. None of it is set aside for anybody: who writes first has it."""

    def __init__(self, root: Path, trash: TrashFolder, purge: Purge) -> None:
        self._root = root
        self._trash = trash
        self._purge = purge

    def plan(self, size_bytes: int) -> tuple[TrashEntry, ...]:
        """Which entries of the trash would have to go for so many bytes to fit; none as a rule. Changes nothing.

        Raises StoreFull when all of them would not be enough.
        """
        status = os.statvfs(self._root)
        free_bytes = status.f_bavail * status.f_frsize - RESERVE_BYTES
        missing_bytes = size_bytes - free_bytes if size_bytes else 0
        going = []
        for entry in self._trash.entries() if missing_bytes > 0 else ():
            if missing_bytes > 0 and (freed_bytes := self._trash.freed_by_purging(entry)):
                going.append(entry)
                missing_bytes -= freed_bytes
        if missing_bytes > 0:
            free_bytes = max(0, free_bytes)
            reason = f"it takes {size_bytes:,} bytes and {free_bytes:,} are free"
            if going:
                reason += f", and {missing_bytes:,} would still be missing with the trash empty"
            raise StoreFull(reason, size_bytes, free_bytes)
        return tuple(going)

    def make(self, size_bytes: int) -> None:
        """Let so many bytes fit, as a plan made now would have it; raises StoreFull, and nothing is purged then."""
        self._purge(self.plan(size_bytes))
