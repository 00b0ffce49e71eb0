"""The records of the trash: `<id>.json` beside each deleted model's file, with its name and when it expires."""

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.store.records.forms import ModelName, RecordForm, Sha256, Size, Time
from app.store.records.name_records import RECORD_SUFFIX
from app.store.records.reader import RecordReader
from app.store.volume.claims import folder_opened
from app.store.volume.renames import sync_folder

ENTRY_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")

LATEST_SECONDS = datetime(2500, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class TrashEntry:
    """One deleted model. Its file is `trash/<id>`, and this record is `trash/<id>.json`."""

    id: str
    name: ModelName
    """The name that the deleted model had; `unknown-<id>` if the record cannot be read. A restore uses this name by
    default."""
    size_bytes: Size
    deleted_at: Time
    expires_at: Time
    etag: str | None = None
    """The ETag of the version for which `sha256` was recorded; None if no digest was recorded."""
    sha256: Sha256 | None = None
    """The recorded digest of the model, in hexadecimal.

    The entry keeps the digest, because the digest record of the name may be about another version by the time of a
    restore.
    """

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), default=datetime.isoformat)


TRASH = RecordForm(TrashEntry, "trash")


class TrashRecords:
    """The records of one trash folder."""

    def __init__(self, folder: Path, reader: RecordReader) -> None:
        self._folder = folder
        self._reader = reader

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
                with contextlib.suppress(OSError):  # such a record is not listed, and a sweep removes it later
                    path.unlink(missing_ok=True)
                raise

    def correct(self, entry: TrashEntry, size_bytes: int) -> TrashEntry:
        """Replace an entry's record by a record with the real size of the moved file; return the corrected entry."""
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
        if not ENTRY_ID.fullmatch(entry_id):
            return None
        entry = self._reader.read(self._path_of(entry_id), TRASH)
        if entry and entry.id != entry_id:
            self._reader.note(self._path_of(entry_id), TRASH.kind, "it names another entry than its file name")
            return None
        return entry

    def has(self, entry_id: str) -> bool:
        """True if there is anything at the path of an entry's record, even if it cannot be read."""
        return os.path.lexists(self._path_of(entry_id))

    def without_record(self, entry_id: str, status: os.stat_result, retention: timedelta) -> TrashEntry:
        """Return an entry for a file whose record is damaged or lost. `status` is the `os.stat` result of the file.

        The entry expires one `retention` after the file was moved to the trash or the record was last written,
        whichever is later.
        """
        deleted_at = _time(status.st_ctime)
        written_at = [deleted_at]
        with contextlib.suppress(OSError):
            written_at.append(_time(self._path_of(entry_id).lstat().st_mtime))
        return TrashEntry(entry_id, f"unknown-{entry_id}", status.st_size, deleted_at, max(written_at) + retention)

    def has_expired(self, entry_id: str, retention: timedelta) -> bool:
        """True if a record has expired. A damaged record expires one `retention` after its modification time."""
        if entry := self.read(entry_id):
            return entry.expires_at <= datetime.now(UTC)
        with contextlib.suppress(FileNotFoundError):
            return _time(self._path_of(entry_id).lstat().st_mtime) + retention <= datetime.now(UTC)
        return False

    def remove(self, entry_id: str) -> None:
        """Remove an entry's record, and a draft of the record that a killed process may have left.

        If there is a folder at the record's path, the folder stays.
        """
        for path in (self._path_of(entry_id), self._draft_of(entry_id)):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                path.unlink()

    def _path_of(self, entry_id: str) -> Path:
        return self._folder / (entry_id + RECORD_SUFFIX)

    def _draft_of(self, entry_id: str) -> Path:
        return self._folder / f"{entry_id}.new"


def _time(seconds: float) -> datetime:
    """Convert a file's time in seconds since the epoch to UTC.

    A time outside datetime's range becomes the nearest valid time.
    """
    return datetime.fromtimestamp(min(max(seconds, 0.0), LATEST_SECONDS), UTC)
