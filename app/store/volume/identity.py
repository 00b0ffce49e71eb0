"""The identity of a model folder: a random id in `.store/store.json`, which proves that the right volume is mounted."""

import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.errors import StoreUnavailable
from app.store.records.forms import RecordDamaged, RecordForm, Word
from app.store.records.reader import RecordReader, read_regular
from app.store.volume.renames import rename_without_replacing, sync_folder


@dataclass(frozen=True, slots=True)
class _Identity:
    """The form of `.store/store.json`."""

    id: Word


IDENTITY = RecordForm(_Identity, "identity")


class FolderIdentity:
    """The identity file of one model folder, and the id that the file had when the service started."""

    def __init__(self, path: Path, records: RecordReader) -> None:
        self.path = path
        self.id: str | None = None
        """The id that the service found or created at its start; None if no file could be written then."""
        self._records = records
        self._seen: tuple[int, int, int] | None = None
        """The device, inode and modification time of the identity file when it was last read with this `id`."""

    def create(self, identity: str) -> None:
        """Create the identity file in one step. If several services start at once, one of them creates the file."""
        if os.path.lexists(self.path):
            return
        draft = self.path.with_suffix(f".{secrets.token_hex(8)}")
        with contextlib.ExitStack() as opened:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, folder)
            with draft.open("x") as file:
                opened.callback(draft.unlink, missing_ok=True)
                file.write(json.dumps({"id": identity, "created_at": datetime.now(UTC).isoformat()}))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                rename_without_replacing(draft.name, self.path.name, source_folder=folder, target_folder=folder)
                sync_folder(folder)

    def is_as_seen(self) -> bool:
        """True if the identity file has not changed since it was read.

        Opens no file, because opening files is slow on NFS.
        """
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(self.path)
            return self._seen == (status.st_dev, status.st_ino, status.st_mtime_ns)
        return False

    def read(self) -> str | None:
        """Read the identity file; None if it is missing. Raises StoreUnavailable if it is damaged."""
        try:
            status = os.lstat(self.path)
            identity = IDENTITY.parse(read_regular(self.path, IDENTITY.max_bytes)).id
        except FileNotFoundError:
            return None
        except RecordDamaged as exc:
            self._records.note(self.path, IDENTITY.kind, str(exc))
            raise StoreUnavailable(
                f"{self.path} is damaged ({exc}); if this is the right folder, remove that file: a running "
                "service creates it again"
            ) from None
        if self.id in {None, identity}:
            self._seen = status.st_dev, status.st_ino, status.st_mtime_ns
        return identity
