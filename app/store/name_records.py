"""Small JSON records about models, found by the model's name. Each is one file, which is replaced in one step."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.store.aftermath import after_change
from app.store.volume.claims import Claims, folder_opened
from app.store.volume.renames import rename_path, sync_folder
from app.store.volume.server_lookups import files_on_server

RECORD_SUFFIX = ".json"
"""How the file name of a record ends: of a model, of an upload or pull, or of an entry in the trash."""


class NameRecords:
    """The records in one folder. Each is a file `<SHA-256 of the name>.json`: a JSON object that contains the name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, fields: dict[str, Any], *, is_lasting: bool = False) -> None:
        """Write the record of a name, replacing an earlier one. With `is_lasting`, sync it to the disk first.

        The caller must hold a lock that excludes other writers of this record.
        """
        record = self._record_of(name)
        # Each draft has a unique name. With a reused name, a client that caches the earlier draft would write into the
        # record that this draft has become.
        path = record.with_suffix(f".{secrets.token_hex(8)}.new")
        try:
            with path.open("x") as draft:
                draft.write(json.dumps({"name": name} | fields))
                if is_lasting:
                    draft.flush()
                    os.fsync(draft.fileno())
            rename_path(path, record)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        if is_lasting:
            unsynced = "a power cut may undo it, because its folder could not be synced to the disk"
            with after_change(unsynced), folder_opened(self.folder) as folder:
                sync_folder(folder)

    def read(self, name: str) -> dict[str, Any] | None:
        """Get the record of a name; None if it is missing or incomplete. Raises OSError if it cannot be read."""
        fields = _read(self._record_of(name))
        return fields if fields and fields["name"] == name else None

    def remove(self, name: str) -> bool:
        """Delete the record of a name. Returns False if there is none."""
        try:
            self._record_of(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def remove_if(self, name: str, is_outdated: Callable[[dict[str, Any]], bool], claims: Claims) -> None:
        """Delete the record of a name if `is_outdated` returns True for the fields that the record has.

        The record is claimed first, so that a stale cache cannot show another record. Raises LookupStale, OSError and
        ValueError.
        """
        claim = claims.claim(self._record_of(name))
        try:
            claim.status()
            fields = _fields_in(claim.read_text())
        except BaseException:
            claim.give_back()
            raise
        if fields is None or not is_outdated(fields):
            claim.give_back()
        else:
            claim.remove()

    def is_on_server(self, name: str) -> bool:
        """True if the file system's server has a record of a name; bypasses this machine's cache. Raises OSError."""
        return self._record_of(name).name in files_on_server(self.folder)

    def all(self) -> Iterator[dict[str, Any]]:
        """Yield every record that can be read, in no order. Yields nothing if the folder is missing."""
        for record in self.folder.glob(f"*{RECORD_SUFFIX}"):
            # A record that this user may not read is skipped.
            with contextlib.suppress(OSError):
                if fields := _read(record):
                    yield fields

    def _record_of(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()}{RECORD_SUFFIX}"


def _read(record: Path) -> dict[str, Any] | None:
    # A record that a lost connection or a power cut left incomplete counts as missing.
    with contextlib.suppress(FileNotFoundError, ValueError):
        return _fields_in(record.read_text())
    return None


def _fields_in(text: str) -> dict[str, Any] | None:
    fields = json.loads(text)
    return fields if isinstance(fields, dict) and "name" in fields else None
