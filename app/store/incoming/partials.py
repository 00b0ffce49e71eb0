"""Partial files: the state of a file in staging, and the record that keeps the file for a later resumption."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

PartialKind = Literal["upload", "pull"]


@dataclass(frozen=True, slots=True)
class PartialRecord:
    """The record that keeps a partial file: `<id>.json`, beside the file `<id>.part`."""

    id: str
    """32 hexadecimal digits, never used again."""
    name: str
    """The model's name, under which the file will be published."""
    kind: PartialKind
    actor: str
    """The name of the `Actor` that began the upload or pull."""
    expected_bytes: int | None
    """The size of the whole file; None if it is unknown."""
    created_at: datetime
    retention: timedelta
    """How long the file is kept after its last byte was written."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What the upload or pull needs to resume, as fields of a JSON object."""
    is_publishing: bool = False
    """Set just before the file is moved to the model's name.

    If it is set and the file is missing, the model was published."""

    def expires_at(self, modified_at: datetime) -> datetime:
        """Return when a sweep deletes the file, unless more bytes are written."""
        return modified_at + self.retention

    def to_json(self) -> str:
        """Return the record as JSON."""
        fields = asdict(self) | {"created_at": self.created_at.isoformat(), "retention": self.retention.total_seconds()}
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> "PartialRecord":
        """Read a record from JSON. Raises ValueError, KeyError or TypeError if the text is not a record."""
        fields = json.loads(text)
        fields["created_at"] = datetime.fromisoformat(fields["created_at"])
        fields["retention"] = timedelta(seconds=fields["retention"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Partial:
    """A partial file: the state of one file in the staging folder at one moment."""

    id: str
    size_bytes: int
    """How many bytes are on the disk."""
    modified_at: datetime
    """When the last byte was written."""
    is_active: bool
    """True if a living process holds the file's lock."""
    is_published: bool = False
    """True if the file was published, so that only its record is left in staging."""
    record: PartialRecord | None = None
    """The record that keeps the file. None for an upload that cannot be resumed, running or killed."""

    @property
    def name(self) -> str | None:
        """The model's name, under which the file will be published; None without a record."""
        return self.record.name if self.record else None

    @property
    def kind(self) -> PartialKind | None:
        """Whether an upload or a pull writes the file; None without a record."""
        return self.record.kind if self.record else None

    @property
    def expected_bytes(self) -> int | None:
        """The size of the whole file; None if it is unknown."""
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
    """Convert a file's modification time from seconds since the epoch to a datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
