"""The entries of the journal, one JSON line each, and the actions that they can record."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from app.store.records.forms import RecordForm, Size, Time

BYTES: Final = "bytes"
NO_BYTES: Final = "no bytes"


class Action(StrEnum):
    """What was done to a model. Each action states whether it adds, moves or removes the bytes of the model."""

    moves_bytes: bool
    """Whether the action adds, moves or removes the model's bytes. If so, the metrics count the action and the
    bytes."""

    def __new__(cls, name: str, moves: str) -> Self:
        """`moves` is BYTES, or NO_BYTES for an action that leaves the model's file as it is."""
        action = str.__new__(cls, name)
        action._value_ = name
        action.moves_bytes = moves == BYTES
        return action

    UPLOADED = "uploaded", BYTES
    PULLED = "pulled", BYTES
    TRASHED = "trashed", BYTES
    DELETED = "deleted", BYTES
    """Deleted permanently, without the trash."""
    RESTORED = "restored", BYTES
    PURGED = "purged", BYTES
    PROTECTED = "protected", NO_BYTES
    UNPROTECTED = "unprotected", NO_BYTES


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of the journal: one change of one model. A refused change has no line."""

    at: Time
    actor: str
    """The name of the `Actor` that made the change."""
    action: str
    """The name of an `Action`, or of an action that only a newer version of this service knows."""
    name: str
    """The model's name."""
    trash_id: str | None
    """The id of the model's entry in the trash, if the model is or was in the trash."""
    size_bytes: Size
    request_id: str | None
    reason: str | None = None
    """For a change that no caller asked for, why it was made: `expired`, `room`, `replaced` or `recovered`. Otherwise
    None.

    `JournalEntryOut` in the API says what each means.
    """

    address: str | None = None
    """The network address of the request that made the change."""

    def to_line(self) -> bytes:
        """Return the entry as a line of JSON."""
        return json.dumps(asdict(self), default=datetime.isoformat).encode() + b"\n"


ENTRY = RecordForm(JournalEntry, "journal")
