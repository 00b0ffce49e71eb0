"""What answers about the trash, the journal, the audit and the disk look like on the wire."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from app.api.http.schema import Schema, Timestamp
from app.api.models.schemas import BlockerOut, HeaderOut, ProtectionOut
from app.store.volume.checks import CheckName

ReasonOut = Literal["stale_pattern", "superseded", "corrupt"]


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
    action: Literal["uploaded", "pulled", "trashed", "deleted", "restored", "purged", "protected", "unprotected"]
    """What was done."""
    name: str
    """To which model."""
    trash_id: str | None
    """Its entry in the trash, if it was there before or after."""
    size_bytes: NonNegativeInt
    """Its size."""
    request_id: str | None
    """The request that asked for it."""
    reason: str | None
    """Why a service did it by itself: the entry `expired`, made `room` for an incoming model, was `replaced` where no
    trash is kept, or its purge was `recovered` after a process was killed. Null for what a caller asked for."""


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
    """`old` when it is stale or superseded; `corrupt` alone makes nothing old."""
    reasons: list[ReasonOut]
    """Why it may be pruned."""
    stale_pattern: str | None
    """The pattern of `OCR_OLD_PATTERNS` that it matches."""
    superseded_by: str | None
    """The newest version of the same name."""
    corrupt: str | None
    """What is wrong with it: a verification found other bytes than came, or its header says that it is cut off."""
    remarks: list[Literal["not_recognised"]]
    """What is no reason to delete it: AsposeAI was asked since the file came, and does not name it. It names only the
    models that it would load itself, of which there are few."""
    protected_by: ProtectionOut | None
    """Why it must not be deleted, old or not."""
    blockers: list[BlockerOut]
    """Who uses it."""


class VerificationOut(Schema):
    """What a verification found."""

    name: str
    """The model."""
    outcome: Literal["intact", "corrupt", "unrecorded", "changed", "unreadable"]
    """`intact`: the bytes are those on record. `corrupt`: they are others, at the same size and time; or nothing is on
    record, and the header is damaged. `unrecorded`: nothing was on record of this version, and now this is. `changed`:
    it was written meanwhile. `unreadable`: the disk, or its rights, did not let it be read."""
    reason: str | None
    """In words, unless it is intact."""
    sha256: str | None
    """Of the bytes on the disk; null when they could not be read as one version."""
    recorded_sha256: str | None
    """Of the bytes as they came; null when nothing was on record of this version."""
    recorded: bool
    """Whether what was found is on record now; it is not where the disk cannot be written."""
    size_bytes: NonNegativeInt
    """The model's size."""
    header: HeaderOut
    """What its file says of itself."""
    seconds: NonNegativeFloat
    """How long it took."""
    bytes_per_second: NonNegativeInt
    """How fast it was read."""


class PartialOut(Schema):
    """One file that is not a model yet."""

    id: str
    """Of the upload or pull that it belongs to, where it is one to be gone on with."""
    name: str | None
    """The model it is to be; null when nobody wrote that down."""
    size_bytes: NonNegativeInt
    """What lies on the disk."""
    age_seconds: NonNegativeFloat
    """Since the last byte came."""
    active: bool
    """Whether a living process writes it."""
    expires_at: Timestamp | None
    """When it is swept if nothing more comes; null for what goes as soon as nobody writes it."""


class ReclaimableOut(Schema):
    """What could be had back."""

    models_bytes: NonNegativeInt
    """By pruning the old models: those that are neither protected nor in use."""
    corrupt_bytes: NonNegativeInt
    """By pruning the corrupt ones that are not old, likewise."""
    partials_bytes: NonNegativeInt
    """By giving up what nobody writes at the moment."""
    trash_bytes: NonNegativeInt
    """By `DELETE /trash`."""


class AuditOut(Schema):
    """Every model judged."""

    old_count: NonNegativeInt
    """How many are old."""
    current_count: NonNegativeInt
    """How many are not."""
    corrupt_count: NonNegativeInt
    """How many of both are corrupt."""
    unread_count: NonNegativeInt
    """How many headers were not read yet, because there are too many for one question, or they cannot be: ask again."""
    reclaimable: ReclaimableOut
    """What could be had back."""
    models: list[FindingOut]
    """The models, sorted by name."""
    partials: list[PartialOut]
    """What is not a model yet."""


class PrunedOut(Schema):
    """What is to become, or became, of one model of a plan."""

    name: str
    """The model."""
    size_bytes: NonNegativeInt
    """Its size."""
    reasons: list[ReasonOut]
    """Why it may be pruned."""
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


class VolumeCheckOut(Schema):
    """One thing that the model folder's file system was tried for."""

    name: CheckName
    """What was tried. `shared-locks` is tried on network file systems only: whether locks reach other machines."""
    ok: bool
    """Whether it works."""
    required: bool
    """Whether changes of the model folder are refused without it."""
    reason: str | None
    """What is wrong, and what would help; null when it works."""


class StorageOut(Schema):
    """Where the bytes are, and what keeps them."""

    volume_id: str | None
    """The identity of the volume, which was checked; null where none could be written."""
    is_writable: bool
    """Whether the folder could be written when the service started."""
    is_safe: bool
    """Whether changes of the folder are safe on this file system; if not, they answer 503 `store-unsafe`."""
    file_system: str
    """The type of the folder's file system, such as `ext4`, `nfs4` or `fuse.glusterfs`."""
    checks: list[VolumeCheckOut]
    """What the file system was tried for, at the start and every minute. Empty on a folder that cannot be written."""
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
