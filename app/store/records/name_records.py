"""Records about models, found by the model's name. Each record is one file, which is replaced in one step."""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from app.store.aftermath import after_change
from app.store.records.forms import RecordForm
from app.store.records.reader import RecordReader
from app.store.volume.claims import Claims, folder_opened
from app.store.volume.renames import rename_path, sync_folder
from app.store.volume.server_lookups import files_on_server

RECORD_SUFFIX = ".json"
"""The suffix of every record's file name: of records of models, of uploads and pulls, and of trash entries."""
KEY = re.compile(r"[0-9a-f]{64}")


class Named(Protocol):
    """A record that states its model's name."""

    @property
    def name(self) -> str:
        """The model's name."""


T = TypeVar("T", bound=Named)


class NameRecords(Generic[T]):
    """The records in one folder.

    Each record is a JSON object with the model's name, in `<SHA-256 of the name>.json`.
    """

    def __init__(self, folder: Path, form: RecordForm[T], reader: RecordReader) -> None:
        self.folder = folder
        self._form = form
        self._reader = reader

    def write(self, name: str, fields: dict[str, Any], *, is_lasting: bool = False) -> None:
        """Write the record of a name, replacing an earlier record.

        With `is_lasting`, sync the record to the disk first.

        The caller must hold a lock that excludes other writers of this record.
        """
        record = self._record_of(name)
        # Each draft has a unique name. If a name were reused, a network client that still caches the earlier draft
        # under that name would write into the present record.
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

    def read(self, name: str) -> T | None:
        """Get the record of a name; None if it is missing or damaged. Raises OSError if the volume does not answer."""
        return self._read(self._record_of(name))

    def has(self, name: str) -> bool:
        """True if there is anything at the path of a name's record, even something that cannot be read."""
        try:
            os.lstat(self._record_of(name))
        except FileNotFoundError:
            return False
        except OSError:  # the folder cannot be entered, so that a record may be there
            return True
        return True

    def is_in(self, folder: int, name: str) -> bool:
        """True if there is anything at the path of a name's record in an open folder. Raises OSError."""
        try:
            os.stat(self._record_of(name).name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def remove(self, name: str) -> bool:
        """Delete the record of a name. Returns False if there is none."""
        try:
            self._record_of(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def remove_if(self, name: str, is_outdated: Callable[[T], bool], claims: Claims) -> None:
        """Delete the record of a name if `is_outdated` returns True for it.

        The record's file is first moved aside by a claim, so that a stale cache cannot show an older record. Raises
        LookupStale, OSError and RecordDamaged.
        """
        claim = claims.claim(self._record_of(name))
        try:
            claim.status()
            is_going = is_outdated(self._form.parse(claim.read(self._form.max_bytes)))
        except BaseException:
            claim.give_back()
            raise
        if is_going:
            claim.remove()
        else:
            claim.give_back()

    def is_on_server(self, name: str) -> bool:
        """True if the file system's server has a record of a name; bypasses this machine's cache. Raises OSError."""
        return self._record_of(name).name in files_on_server(self.folder)

    def all(self) -> Iterator[T]:
        """Yield every record that can be read, in no order. Yields nothing if the folder is missing or unreadable."""
        with contextlib.suppress(OSError):
            yield from self.survey()[0]

    def survey(self) -> tuple[list[T], frozenset[str]]:
        """Return the records that can be read, and the keys (see `key_of`) of the records that cannot be read.

        Raises OSError if the folder cannot be read.
        """
        records, unreadable = list[T](), set[str]()
        for path in self._files():
            record = None
            with contextlib.suppress(OSError):
                record = self._read(path)
            if record is not None:
                records.append(record)
            elif os.path.lexists(path):
                unreadable.add(path.stem)
        return records, frozenset(unreadable)

    def _files(self) -> Iterator[Path]:
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return
        for path in map(self.folder.joinpath, names):
            if path.suffix == RECORD_SUFFIX and KEY.fullmatch(path.stem):
                yield path

    def _read(self, record: Path) -> T | None:
        found = self._reader.read(record, self._form)
        if found is not None and key_of(found.name) != record.stem:
            self._reader.note(record, self._form.kind, "it names another model than its file name")
            return None
        return found

    def _record_of(self, name: str) -> Path:
        return self.folder / f"{key_of(name)}{RECORD_SUFFIX}"


def key_of(name: str) -> str:
    """Return the file name, without its suffix, of the record of a model's name."""
    return hashlib.sha256(name.encode()).hexdigest()
