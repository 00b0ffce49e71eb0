"""What is known of a file in staging, and the record that keeps it when its writer releases it."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Kind = Literal["upload", "pull"]


@dataclass(frozen=True, slots=True)
class PartialRecord:
    """`<id>.json`, beside the file `<id>.part`."""

    id: str
    """32 hexadecimal digits, used once."""
    name: str
    """The name of the model that it becomes."""
    kind: Kind
    actor: str
    """Who began it: the name of an `Actor`."""
    expected_bytes: int | None
    """The size of the whole file, if that is known."""
    created_at: datetime
    retention: timedelta
    """How long it is kept after its last byte was written."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What the upload or pull needs to resume it, as JSON."""
    is_publishing: bool = False
    """Set before the file is moved to the model's name. With it, and without the file, the model was published."""

    def expires_at(self, modified_at: datetime) -> datetime:
        """When a sweep deletes it, unless more bytes are written."""
        return modified_at + self.retention

    def to_json(self) -> str:
        """The record as text."""
        fields = asdict(self) | {"created_at": self.created_at.isoformat(), "retention": self.retention.total_seconds()}
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> "PartialRecord":
        """Read a record; raises ValueError, KeyError or TypeError when it is none."""
        fields = json.loads(text)
        fields["created_at"] = datetime.fromisoformat(fields["created_at"])
        fields["retention"] = timedelta(seconds=fields["retention"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Partial:
    """One file in the staging folder as it was at one moment."""

    id: str
    size_bytes: int
    """Bytes on the disk."""
    modified_at: datetime
    """When its last byte was written."""
    is_active: bool
    """True if a living process holds its lock."""
    is_published: bool = False
    """True if it was published, so that only its record is left in staging."""
    record: PartialRecord | None = None
    """None if it is not kept: a plain upload, or what a killed process left of one."""

    @property
    def name(self) -> str | None:
        """The name of the model that it becomes."""
        return self.record.name if self.record else None

    @property
    def kind(self) -> Kind | None:
        """Whether an upload or a pull writes it."""
        return self.record.kind if self.record else None

    @property
    def expected_bytes(self) -> int | None:
        """The size of the whole file, if that is known."""
        return self.record.expected_bytes if self.record else None

    @property
    def created_at(self) -> datetime | None:
        """When it was begun."""
        return self.record.created_at if self.record else None

    @property
    def expires_at(self) -> datetime | None:
        """When a sweep deletes it, unless more bytes are written; None if it is deleted once no process writes it."""
        return self.record.expires_at(self.modified_at) if self.record else None


def modified_at(seconds: float) -> datetime:
    """A file's modification time, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)
