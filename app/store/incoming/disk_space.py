"""Disk space for incoming models: the free space, and the space that purging trash entries would free."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from app.errors import StoreFull
from app.store.trash.folder import TrashFolder
from app.store.trash.records import TrashEntry

RESERVE_BYTES = 1 << 20
"""Bytes that incoming models leave free, so that deletions can still write their records on a full disk."""

Purge = Callable[[Iterable[TrashEntry]], object]
"""A function that purges entries of the trash and writes the journal."""


class DiskSpace:
    """Finds and frees space on the disk of one model folder.

    Space is not reserved for a model: if two models do not fit together, the later one is refused.
    """

    def __init__(self, root: Path, trash: TrashFolder, purge: Purge) -> None:
        self._root = root
        self._trash = trash
        self._purge = purge

    def plan(self, size_bytes: int) -> tuple[TrashEntry, ...]:
        """Return the trash entries to purge, oldest first, so that `size_bytes` fit; usually none. Changes nothing.

        Raises StoreFull if purging all entries would not be enough.
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
            reason = f"it takes {size_bytes:,} bytes and {free_bytes:,} are free beside the reserve for deletions"
            if going:
                reason += f", and {missing_bytes:,} would still be missing with the trash empty"
            raise StoreFull(reason, size_bytes, free_bytes)
        return tuple(going)

    def free(self, size_bytes: int) -> None:
        """Purge trash entries so that `size_bytes` fit: those that `plan` returns for this size.

        If purging all entries would not be enough, raises StoreFull and purges nothing. Call this only for bytes that
        have been received: a request that only announces a large model must not purge deleted models. Takes
        microseconds if the bytes fit.
        """
        self._purge(self.plan(size_bytes))
