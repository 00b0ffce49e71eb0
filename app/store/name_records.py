"""A small JSON record for each of some models, by name: one file for each, replaced in one step."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.store.volume.claims import Claims
from app.store.volume.server_lookups import files_on_server


class NameRecords:
    """The records of one folder: `<SHA-256 of the name>.json`, each an object with the name in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, fields: dict[str, Any], *, is_lasting: bool = False) -> None:
        """Write a name's record in place of any other; a lasting one is on the disk before this returns.

        Hold a lock meanwhile that only one writer of this record can hold.
        """
        record = self._record_of(name)
        # A name of its own: a client that remembers an older draft would write into the record it has become.
        path = record.with_suffix(f".{secrets.token_hex(8)}.new")
        with path.open("x") as draft:
            draft.write(json.dumps({"name": name} | fields))
            if is_lasting:
                draft.flush()
                os.fsync(draft.fileno())
        path.replace(record)

    def read(self, name: str) -> dict[str, Any] | None:
        """A name's record, or None; OSError when there is one that cannot be read."""
        fields = _read(self._record_of(name))
        return fields if fields and fields["name"] == name else None

    def remove(self, name: str) -> bool:
        """Remove a name's record; False when there is none."""
        try:
            self._record_of(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def remove_if(self, name: str, is_outdated: Callable[[dict[str, Any]], bool], claims: Claims) -> None:
        """Remove a name's record if it is outdated, as it is on the file system's server, and not as it is remembered.

        Raises LookupStale, OSError and ValueError.
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
        """Whether there is a record of a name, whatever this machine remembers. For shared volumes; raises OSError."""
        return self._record_of(name).name in files_on_server(self.folder)

    def all(self) -> Iterator[dict[str, Any]]:
        """Every record that can be read, in no order; none where there is no folder."""
        for record in self.folder.glob("*.json"):
            # Another user of the folder may have left one that is nobody else's: the others count all the same.
            with contextlib.suppress(OSError):
                if fields := _read(record):
                    yield fields

    def _record_of(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()}.json"


def _read(record: Path) -> dict[str, Any] | None:
    # A record that a lost connection or a power cut left in pieces is none.
    with contextlib.suppress(FileNotFoundError, ValueError):
        return _fields_in(record.read_text())
    return None


def _fields_in(text: str) -> dict[str, Any] | None:
    fields = json.loads(text)
    return fields if isinstance(fields, dict) and "name" in fields else None
