"""Partial files: the state of a file in staging, and the record that keeps the file for a later resumption."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from app.store.records.forms import (
    HeaderText,
    JsonObject,
    ModelName,
    RecordDamaged,
    RecordForm,
    Seconds,
    Sha256,
    Size,
    Time,
    Word,
)

LATEST_SECONDS = datetime(2500, 1, 1, tzinfo=UTC).timestamp()
PartialKind = Literal["upload", "pull", "file"]


@dataclass(frozen=True, slots=True)
class PartialRecord:
    """The record that keeps a partial file: `<id>.json`, beside the file `<id>.part`."""

    id: Word
    """32 hexadecimal digits, never used again."""
    name: ModelName
    """The model's name, under which the file will be published; of a file for a job, which has none, its id."""
    kind: PartialKind
    actor: str
    """The name of the `Actor` that began the upload or pull."""
    expected_bytes: Size | None
    """The size of the whole file in bytes. None if a pull's source does not state the size; an upload always does."""
    created_at: Time
    retention: Seconds
    """How long the file is kept after its last byte was written."""
    extra: JsonObject = field(default_factory=dict)
    """What an upload or a pull needs for a resumption, as fields of a JSON object."""
    is_publishing: bool = False
    """True from just before the file is moved to the model's name.

    If this is True and the file is missing from staging, the model was published."""

    def expires_at(self, modified_at: datetime) -> datetime:
        """Return when a sweep may delete a file that was last written at `modified_at`."""
        return modified_at + self.retention

    def to_json(self) -> str:
        """Return the record as JSON."""
        fields = asdict(self) | {"created_at": self.created_at.isoformat(), "retention": self.retention.total_seconds()}
        return json.dumps(fields)


@dataclass(frozen=True, slots=True)
class _UploadExtra:
    """The form of `extra` in the record of an upload."""

    sha256: Sha256 | None = None
    if_match: list[str] | None = None
    if_none_match: list[str] | None = None
    metadata: HeaderText | None = None
    """The header `Upload-Metadata` of the request that created the upload. Answers repeat this header."""


@dataclass(frozen=True, slots=True)
class _FileExtra:
    """The form of `extra` in the record of a file for a job."""

    sha256: Sha256 | None = None
    metadata: HeaderText | None = None
    """As for an upload."""
    file_name: str | None = None
    """The file's name, as its sender gave it."""


@dataclass(frozen=True, slots=True)
class _PullExtra:
    """The form of `extra` in the record of a pull."""

    job_id: str | None = None
    url: str | None = None
    sha256: str | None = None
    etag: str | None = None


class _PartialForm(RecordForm[PartialRecord]):
    """The form of a partial file's record. The form of `extra` depends on the record's kind."""

    _extras: ClassVar[dict[PartialKind, RecordForm[Any]]] = {
        "upload": RecordForm(_UploadExtra, "partial"),
        "pull": RecordForm(_PullExtra, "partial"),
        "file": RecordForm(_FileExtra, "partial"),
    }

    def parse(self, data: bytes) -> PartialRecord:
        """Read a record from JSON. Raises RecordDamaged."""
        record = super().parse(data)
        self._extras[record.kind].check(record.extra)
        if record.kind != "pull" and not record.expected_bytes:
            raise RecordDamaged("expected_bytes: an upload's size is known, and not 0")
        return record


PARTIAL = _PartialForm(PartialRecord, "partial")


@dataclass(frozen=True, slots=True)
class Partial:
    """A partial file: the state of one file in the staging folder at one moment."""

    id: str
    size_bytes: int
    """How many bytes of the file are on the disk."""
    modified_at: datetime
    """When the last byte of the file was written."""
    is_active: bool
    """True if a living process holds the file's lock."""
    is_published: bool = False
    """True if the file was published, so that only its record is left in staging."""
    record: PartialRecord | None = None
    """The record that keeps the file. None for an upload that cannot be resumed, whether it runs or was killed."""

    @property
    def name(self) -> str | None:
        """The model's name, under which the file will be published; None without a record."""
        return self.record.name if self.record else None

    @property
    def kind(self) -> PartialKind | None:
        """What writes the file: an upload or a pull of a model, or an upload of a file for a job; None if unknown."""
        return self.record.kind if self.record else None

    @property
    def expected_bytes(self) -> int | None:
        """The size of the whole file in bytes, as announced; None if it is unknown."""
        return self.record.expected_bytes if self.record else None

    @property
    def created_at(self) -> datetime | None:
        """When the upload or pull began; None without a record."""
        return self.record.created_at if self.record else None

    @property
    def expires_at(self) -> datetime | None:
        """When a sweep deletes the file, unless more bytes are written; None without a record.

        A file without a record is swept as soon as its writer has ended.
        """
        return self.record.expires_at(self.modified_at) if self.record else None


def modified_at(seconds: float) -> datetime:
    """Convert a file's modification time from seconds since the epoch to a datetime in UTC.

    A time outside datetime's range becomes the nearest time in that range.
    """
    return datetime.fromtimestamp(min(max(seconds, 0.0), LATEST_SECONDS), UTC)
