"""Records of each model's SHA-256, and of the corrupt models, whose bytes did not match the recorded SHA-256.

Each record names one version of a model, and is valid for this version only.
"""

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from app.errors import StoreError
from app.store.integrity.versions import Version, is_version
from app.store.inventory import Model
from app.store.records.forms import ModelName, RecordDamaged, RecordForm, Sha256, Time, Word
from app.store.records.name_records import NameRecords
from app.store.records.reader import RecordReader
from app.store.volume.claims import Claims


@dataclass(frozen=True, slots=True)
class DigestRecord:
    """The digest of one version of a model."""

    name: ModelName
    etag: Word
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class CorruptRecord:
    """The mark of a corrupt version: its bytes do not have the recorded digest."""

    name: ModelName
    etag: Word
    sha256: Sha256
    """The digest of the bytes that were found."""
    since: Time


T = TypeVar("T", DigestRecord, CorruptRecord)
DIGEST = RecordForm(DigestRecord, "digest")
CORRUPT = RecordForm(CorruptRecord, "corrupt")


class Digests:
    """The digest records and corruption records of one model folder.

    A caller that changes a model's records must hold the model's lock, or both a lease on the model and `DIGESTS_LOCK`.
    """

    def __init__(self, digests: Path, corrupt: Path, claims: Claims, reader: RecordReader) -> None:
        self._digests = NameRecords(digests, DIGEST, reader)
        self._corrupt = NameRecords(corrupt, CORRUPT, reader)
        self._claims = claims

    def record(self, model: Model, sha256: str) -> None:
        """Record the digest of this version of a model, in place of any earlier record of the model."""
        self._digests.write(model.name, {"etag": model.etag, "sha256": sha256})
        self._corrupt.remove(model.name)

    def of(self, model: Model) -> str | None:
        """Return the recorded digest of this version of a model, in hexadecimal; None if this version has none."""
        record = _read(self._digests, model)
        return record.sha256 if record and is_version(record.etag, model.etag) else None

    def of_another_version(self, model: Model) -> tuple[Version, str] | None:
        """Return the version and the digest on record for the model's name, if that is another version; else None."""
        record = _read(self._digests, model)
        version = Version.of(record.etag) if record else None
        if record is None or version is None or is_version(record.etag, model.etag):
            return None
        return version, record.sha256

    def has_exact_record(self, model: Model) -> bool:
        """True if the record has the exact ETag of this version. False if a copy of the file has rounded its time."""
        record = _read(self._digests, model)
        return record is not None and record.etag == model.etag

    def copy(self, name: str, model: Model) -> None:
        """Copy the records of this version from the model's former name `name` to its present name.

        Records of this version under the present name are not replaced.
        """
        before = model._replace(name=name)
        if self.of(model) is None and (sha256 := self.of(before)):
            self.record(model, sha256)
        found = _read(self._corrupt, before)
        if found and self.corrupt_since(model) is None and self.corrupt_since(before):
            self._write_corrupt(model.name, found.etag, found.sha256, found.since)

    def mark_corrupt(self, model: Model, sha256: str) -> None:
        """Record that this version is corrupt.

        `sha256` is the digest of its bytes, which differs from the recorded digest.
        """
        self._write_corrupt(model.name, model.etag, sha256, datetime.now(UTC))

    def _write_corrupt(self, name: str, etag: str, sha256: str, since: datetime) -> None:
        fields = {"etag": etag, "sha256": sha256, "since": since.isoformat()}
        self._corrupt.write(name, fields, is_lasting=True)

    def mark_intact(self, model: Model) -> None:
        """Remove the record that this model is corrupt."""
        self._corrupt.remove(model.name)

    def corrupt_since(self, model: Model) -> datetime | None:
        """Return when this version was found to be corrupt; None if it was not."""
        return _since(_read(self._corrupt, model), model)

    def corrupt_among(self, models: dict[str, Model]) -> dict[str, datetime]:
        """Return the corrupt models among these: by name, when the model was found to be corrupt."""
        found = {}
        for record in self._corrupt.all():
            model = models.get(record.name)
            if model and (since := _since(record, model)):
                found[model.name] = since
        return found

    def forget(self, name: str, etag: str) -> None:
        """Remove the records of a deleted version. Records of another version of the model stay."""
        with contextlib.suppress(OSError, RecordDamaged, StoreError):
            self._digests.remove_if(name, lambda record: is_version(record.etag, etag), self._claims)
        with contextlib.suppress(OSError, RecordDamaged, StoreError):
            self._corrupt.remove_if(name, lambda record: is_version(record.etag, etag), self._claims)


def _read(records: NameRecords[T], model: Model) -> T | None:
    # A record that cannot be read counts as missing.
    with contextlib.suppress(OSError):
        return records.read(model.name)
    return None


def _since(record: "CorruptRecord | None", model: Model) -> datetime | None:
    return record.since if record and is_version(record.etag, model.etag) else None
