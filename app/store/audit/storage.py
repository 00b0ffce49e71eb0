"""Storage use: how many bytes of a model folder are models, trash and partial files."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from app.store.inventory import Inventory
from app.store.volume.volume import Volume


@dataclass(frozen=True, slots=True)
class Storage:
    """The storage use of one model folder and its disk."""

    volume_id: str | None
    """The id of the folder, from `.store/store.json`; None if that file could not be written."""
    is_writable: bool
    file_system: str
    """The file system's type, such as `ext4` or `nfs4`."""
    models_bytes: int
    trash_bytes: int
    partial_bytes: int
    """The size of all files in staging: uploads and pulls that are running, or are kept to be resumed."""
    free_bytes: int
    """How many bytes this service may still write."""
    total_bytes: int
    """The size of the whole file system, which may hold other files too."""


def measure(volume: Volume, inventory: Inventory) -> Storage:
    """Measure the storage use of a folder and its disk.

    Raises StoreUnavailable if the folder is missing or was replaced.
    """
    volume.check()
    usage = shutil.disk_usage(volume.root)
    return Storage(
        volume_id=volume.identity.id,
        is_writable=volume.ask_writable() is None,
        file_system=volume.file_system.kind,
        models_bytes=inventory.total_size_bytes,
        trash_bytes=_size_of(volume.trash_dir),
        partial_bytes=_size_of(volume.staging_dir),
        free_bytes=usage.free,
        total_bytes=usage.total,
    )


def _size_of(folder: Path) -> int:
    """Return the total size of the files in a folder, in bytes; 0 if the path is missing or is not a folder."""
    size_bytes = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                size_bytes += entry.stat(follow_symlinks=False).st_size
    return size_bytes
