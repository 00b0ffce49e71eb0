"""Unfinished files that are kept when their writer lets go of them: the record beside each, and what can be told."""

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
    """The model it is to be."""
    kind: Kind
    actor: str
    """Who began it."""
    expected_bytes: int | None
    """How large it is going to be, if that is known."""
    created_at: datetime
    retention: timedelta
    """How long it is kept after the last byte came."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Whatever the one who began it needs to go on, as JSON has it."""
    is_publishing: bool = False
    """Set before the file is moved to the model's name. With it, and without the file, the model was published."""

    def expires_at(self, modified_at: datetime) -> datetime:
        """When it is swept if nothing more comes."""
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
    """What lies on the disk."""
    modified_at: datetime
    """When the last byte came."""
    is_active: bool
    """Whether a living process writes it."""
    is_published: bool = False
    """Whether it is a model by now, and nothing is staged any more."""
    record: PartialRecord | None = None
    """None for what is not kept: a plain upload, or what a killed process left of one."""

    @property
    def name(self) -> str | None:
        """The model it is for."""
        return self.record.name if self.record else None

    @property
    def kind(self) -> Kind | None:
        """Who brings it: an upload or a pull."""
        return self.record.kind if self.record else None

    @property
    def expected_bytes(self) -> int | None:
        """How large it is going to be."""
        return self.record.expected_bytes if self.record else None

    @property
    def created_at(self) -> datetime | None:
        """When it was begun."""
        return self.record.created_at if self.record else None

    @property
    def expires_at(self) -> datetime | None:
        """When it is swept if nothing more comes; None for what goes as soon as nobody writes it."""
        return self.record.expires_at(self.modified_at) if self.record else None


def modified_at(seconds: float) -> datetime:
    """A file's time."""
    return datetime.fromtimestamp(seconds, UTC)
