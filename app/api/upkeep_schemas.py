"""What answers about the trash, the journal, the audit and the disk look like on the wire."""

from typing import Literal

from pydantic import NonNegativeInt

from app.api.schemas import ProtectionOut, Schema, Timestamp


class TrashEntryOut(Schema):
    """One deleted model."""

    id: str
    """What restores or purges it."""
    name: str
    """The name it had."""
    size_bytes: NonNegativeInt
    """Its size, still taken on the disk."""
    deleted_at: Timestamp
    """When it was deleted."""
    expires_at: Timestamp
    """When it goes for good."""


class TrashList(Schema):
    """Everything that can be restored."""

    count: NonNegativeInt
    """How many entries there are."""
    total_size_bytes: NonNegativeInt
    """What they take on the disk together."""
    entries: list[TrashEntryOut]
    """The entries, oldest first."""


class PurgeOut(Schema):
    """What a purge deleted for good."""

    count: NonNegativeInt
    """How many entries went. Those that another caller purged meanwhile are not among them."""
    freed_bytes: NonNegativeInt
    """What they took on the disk together."""
    entries: list[TrashEntryOut]
    """The entries that went, oldest first."""


class EventOut(Schema):
    """One line of the journal."""

    at: Timestamp
    """When."""
    actor: str
    """Who: the name of an API key, `anonymous` where none is needed, or `service` for what a service did by itself."""
    action: Literal["uploaded", "trashed", "deleted", "restored", "purged", "protected", "unprotected"]
    """What was done."""
    name: str
    """To which model."""
    trash_id: str | None
    """Its entry in the trash, if it was there before or after."""
    size_bytes: NonNegativeInt
    """Its size."""
    request_id: str | None
    """The request that asked for it."""


class JournalOut(Schema):
    """What happened to the models of this folder."""

    events: list[EventOut]
    """The last events, newest first."""


class FindingOut(Schema):
    """What the audit says of one model."""

    name: str
    """The model."""
    path: str
    """Its absolute path on the machine of this service."""
    size_bytes: NonNegativeInt
    """Its size."""
    status: Literal["current", "old"]
    """`old` when there is any reason."""
    reasons: list[Literal["stale_pattern", "superseded"]]
    """Why it is old."""
    stale_pattern: str | None
    """The pattern of `OCR_OLD_PATTERNS` that it matches."""
    superseded_by: str | None
    """The newest version of the same name."""
    protected_by: ProtectionOut | None
    """Why it must not be deleted, old or not."""


class AuditOut(Schema):
    """Every model judged."""

    old_count: NonNegativeInt
    """How many are old."""
    current_count: NonNegativeInt
    """How many are not."""
    reclaimable_bytes: NonNegativeInt
    """What deleting the old ones that are not protected would free."""
    models: list[FindingOut]
    """The models, sorted by name."""


class PrunedOut(Schema):
    """What is to become, or became, of one model of a plan."""

    name: str
    """The model."""
    size_bytes: NonNegativeInt
    """Its size."""
    reasons: list[Literal["stale_pattern", "superseded"]]
    """Why it is old."""
    outcome: Literal["planned", "trashed", "deleted", "stayed"]
    """What became of it."""
    problem: str | None
    """What kept it: the end of a problem's `type`, such as `model-in-use`."""
    detail: str | None
    """The same for people."""
    trash_id: str | None
    """Its entry in the trash."""
    freed_bytes: NonNegativeInt
    """What the disk has back of it."""


class PruneOut(Schema):
    """A plan, or what became of it."""

    plan_id: str
    """What executes this very plan."""
    dry_run: bool
    """Whether nothing was done."""
    complete: bool
    """Whether every model went as planned."""
    count: NonNegativeInt
    """How many models it is about."""
    total_size_bytes: NonNegativeInt
    """What they take together."""
    freed_bytes: NonNegativeInt
    """What the disk has back."""
    models: list[PrunedOut]
    """Each of them, sorted by name."""


class StorageOut(Schema):
    """Where the bytes are."""

    volume_id: str | None
    """The identity of the volume, which was checked; null where none could be written."""
    is_writable: bool
    """Whether the folder could be written when the service started."""
    models_bytes: NonNegativeInt
    """What the models take."""
    trash_bytes: NonNegativeInt
    """What the trash takes; `DELETE /trash` gives it back."""
    partial_bytes: NonNegativeInt
    """What uploads and pulls take that are not finished."""
    free_bytes: NonNegativeInt
    """What is free on the disk for this service."""
    total_bytes: NonNegativeInt
    """The whole disk, with what others have on it."""
