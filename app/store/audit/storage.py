"""Where the bytes of a model folder are."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from app.store.inventory import Inventory
from app.store.volume.volume import Volume


@dataclass(frozen=True, slots=True)
class Storage:
    """Every byte accounted for, as the disk counts them."""

    volume_id: str | None
    """The identity in `.store/store.json`; None where none could be written."""
    is_writable: bool
    file_system: str
    """The file system's type, such as `ext4` or `nfs4`."""
    models_bytes: int
    trash_bytes: int
    partial_bytes: int
    """What lies in staging: uploads and pulls that are coming in, or are kept to be gone on with."""
    free_bytes: int
    """What this service may still write."""
    total_bytes: int
    """The whole file system, with what others have on it."""


def measure(volume: Volume, inventory: Inventory) -> Storage:
    """Add it up; raises StoreUnavailable when the folder is missing or another."""
    volume.check()
    usage = shutil.disk_usage(volume.root)
    return Storage(
        volume_id=volume.identity,
        is_writable=volume.is_writable,
        file_system=volume.file_system.kind,
        models_bytes=inventory.total_size_bytes,
        trash_bytes=_size_of(volume.trash_dir),
        partial_bytes=_size_of(volume.staging_dir),
        free_bytes=usage.free,
        total_bytes=usage.total,
    )


def _size_of(folder: Path) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except FileNotFoundError:
        return 0
