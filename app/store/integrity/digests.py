"""The SHA-256 on record for a model, and whether its bytes were found to be others since.

Both are small records by name, valid as long as the model is that version.
"""

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.errors import StoreError
from app.store.inventory import Model
from app.store.name_records import NameRecords
from app.store.volume.claims import Claims


class Digests:
    """The records of one model folder."""

    def __init__(self, digests: Path, corrupt: Path, claims: Claims) -> None:
        self._digests = NameRecords(digests)
        self._corrupt = NameRecords(corrupt)
        self._claims = claims

    def record(self, model: Model, sha256: str) -> None:
        """Record the digest of this version, in place of another version's. Hold the model's lock."""
        self._digests.write(model.name, {"etag": model.etag, "sha256": sha256})
        self._corrupt.remove(model.name)

    def of(self, model: Model) -> str | None:
        """The recorded digest of this version, in hexadecimal; None if there is none, or the model has changed."""
        record = _read(self._digests, model)
        return record.get("sha256") if record and _is_of(record, model.etag) else None

    def mark_corrupt(self, model: Model, sha256: str) -> None:
        """Record that this version has other bytes than its digest says. Hold the model's lock."""
        since = datetime.now(UTC).isoformat()
        self._corrupt.write(model.name, {"etag": model.etag, "sha256": sha256, "since": since}, is_lasting=True)

    def mark_intact(self, model: Model) -> None:
        """Remove the record of corruption: the bytes are those of the digest. Hold the model's lock."""
        self._corrupt.remove(model.name)

    def corrupt_since(self, model: Model) -> datetime | None:
        """Since when this version is known to be corrupt; None if it is not."""
        return _since(_read(self._corrupt, model), model)

    def corrupt_among(self, models: dict[str, Model]) -> dict[str, datetime]:
        """The corrupt ones among these models, by name, and since when each is known to be corrupt."""
        found = {}
        for record in self._corrupt.all():
            model = models.get(record["name"])
            if model and (since := _since(record, model)):
                found[model.name] = since
        return found

    def forget(self, name: str, etag: str) -> None:
        """Remove the records of a deleted version. Those of another version of that name stay."""
        for records in (self._digests, self._corrupt):
            with contextlib.suppress(OSError, ValueError, StoreError):
                records.remove_if(name, lambda record: _is_of(record, etag), self._claims)


def _read(records: NameRecords, model: Model) -> dict[str, str] | None:
    # A record that cannot be read counts as missing.
    with contextlib.suppress(OSError):
        return records.read(model.name)
    return None


def _is_of(record: dict[str, Any], etag: str) -> bool:
    """True if a record is of that version. Older records have the inode number before the present form of the etag."""
    noted = record.get("etag")
    return noted == etag or (isinstance(noted, str) and noted.count("-") > 1 and noted.endswith("-" + etag[1:]))


def _since(record: dict[str, str] | None, model: Model) -> datetime | None:
    if record is None or not _is_of(record, model.etag):
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return datetime.fromisoformat(record["since"])
    return None
