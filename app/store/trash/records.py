"""The records of the trash: `<id>.json` beside each deleted model's file, with its name and when it expires."""

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.store.name_records import RECORD_SUFFIX
from app.store.volume.claims import folder_opened
from app.store.volume.renames import sync_folder

ENTRY_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """One deleted model. Its file is `trash/<id>`, and this record is `trash/<id>.json`."""

    id: str
    name: str
    size_bytes: int
    deleted_at: datetime
    expires_at: datetime
    etag: str | None = None
    """The version for which `sha256` was recorded; None if no digest was."""
    sha256: str | None = None
    """The recorded digest of the model, in hexadecimal.

    The record of the name may be another version's when the entry is restored."""

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str) -> "TrashEntry":
        """Read a record from JSON. Raises ValueError, KeyError or TypeError if the text is not a record."""
        fields = json.loads(text)
        for name in ("deleted_at", "expires_at"):
            fields[name] = datetime.fromisoformat(fields[name])
        return cls(**fields)


class TrashRecords:
    """The records of one trash folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, entry: TrashEntry) -> None:
        """Write a new record, and sync it to the disk. If that fails, no record is left."""
        path = self._path_of(entry.id)
        with path.open("x") as record:
            try:
                record.write(entry.to_json())
                record.flush()
                os.fsync(record.fileno())
                with folder_opened(self._folder) as folder:
                    sync_folder(folder)
            except OSError:
                with contextlib.suppress(OSError):  # a record without a file is not listed, and is swept later
                    path.unlink(missing_ok=True)
                raise

    def correct(self, entry: TrashEntry, size_bytes: int) -> TrashEntry:
        """Replace an entry's record by one with the size of the file that was moved; return the corrected entry."""
        corrected = replace(entry, size_bytes=size_bytes)
        draft = self._draft_of(entry.id)
        with draft.open("w") as record:
            record.write(corrected.to_json())
            record.flush()
            os.fsync(record.fileno())
        draft.replace(self._path_of(entry.id))
        return corrected

    def read(self, entry_id: str) -> TrashEntry | None:
        """Read the record of an entry; None if the record is missing or damaged."""
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            entry = TrashEntry.from_json(self._path_of(entry_id).read_text())
            return entry if entry.id == entry_id and ENTRY_ID.fullmatch(entry_id) else None
        return None

    def has_expired(self, entry_id: str, retention: timedelta) -> bool:
        """True if a record has expired. A damaged record expires one `retention` after its modification time."""
        if entry := self.read(entry_id):
            return entry.expires_at <= datetime.now(UTC)
        with contextlib.suppress(FileNotFoundError):
            written_at = datetime.fromtimestamp(self._path_of(entry_id).stat().st_mtime, UTC)
            return written_at + retention <= datetime.now(UTC)
        return False

    def remove(self, entry_id: str) -> None:
        """Remove an entry's record, and the draft of it that a killed process may have left."""
        self._path_of(entry_id).unlink(missing_ok=True)
        self._draft_of(entry_id).unlink(missing_ok=True)

    def _path_of(self, entry_id: str) -> Path:
        return self._folder / (entry_id + RECORD_SUFFIX)

    def _draft_of(self, entry_id: str) -> Path:
        return self._folder / f"{entry_id}.new"
