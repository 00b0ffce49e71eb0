"""Schemas of the trash, the journal, the audit, prunes and the storage."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from app.api.http.schema import DamagedRecordOut, InlineEnum, Schema, Timestamp
from app.api.models.schemas import BlockerOut, ProtectionOut
from app.store import Action, CheckName, Hint, PruneResult, Reason, Status

ACTIONS = ", ".join(f"`{action}`" for action in Action)


class TrashEntryOut(Schema):
    """One deleted model."""

    id: str
    """The entry's id, for restoring or purging it."""
    name: str
    """The name that the model had. If the entry's record is damaged, `unknown-` and the entry's id; a restore with `as`
    gives it another name."""
    size_bytes: NonNegativeInt
    """The model's size, which still takes disk space."""
    deleted_at: Timestamp
    """When the model was deleted."""
    expires_at: Timestamp
    """When the entry is purged."""


class TrashListOut(Schema):
    """The deleted models that can be restored."""

    count: NonNegativeInt
    """How many entries the trash has."""
    total_size_bytes: NonNegativeInt
    """The total size of the entries' models."""
    entries: list[TrashEntryOut]
    """The entries, oldest first."""
    warnings: list[DamagedRecordOut]
    """The entries' records that cannot be read."""


class PurgeOut(Schema):
    """The entries that a purge deleted permanently."""

    count: NonNegativeInt
    """How many entries this request purged. Entries that another caller purged meanwhile do not count."""
    freed_bytes: NonNegativeInt
    """The disk space freed."""
    entries: list[TrashEntryOut]
    """The purged entries, oldest first."""


class JournalEntryOut(Schema):
    """One entry of the journal: a change to a model."""

    at: Timestamp
    """When the change was made."""
    actor: str
    """Who made the change: the name of an API key, `anonymous` where no key is needed, `cli:` and a user, or `service`
    for a change that a service made without a request."""
    action: str = Field(
        examples=[action.value for action in Action],
        description=f"What was done: {ACTIONS}. Newer services on the folder may write other actions.",
    )
    name: str
    """The model's name."""
    trash_id: str | None
    """The id of the model's trash entry, if the action created, restored or purged one."""
    size_bytes: NonNegativeInt
    """The model's size."""
    request_id: str | None
    """The id of the request that made the change. Null if no request did."""
    address: str | None
    """The network address that the request came from: the caller's or a proxy's. Null without a request, and for a pull
    or an upload to `/uploads`, which a later request or another service may complete."""
    reason: str | None
    """Why the model was trashed, deleted or purged although no caller asked for that. Else null.

    - `expired`: its time in the trash was over.
    - `room`: an incoming model needed the space.
    - `replaced`: an upload or a pull replaced it, and the service keeps no trash.
    - `recovered`: a process was killed during the change. A sweep completed the purge that the process had begun, or
      moved the model to the trash because its name was taken.
    """


class JournalOut(Schema):
    """The journal of changes to the models of this folder."""

    events: list[JournalEntryOut]
    """The last events, newest first."""
    warnings: list[DamagedRecordOut]
    """The files of the journal that cannot be read, or that have lines that are not events."""


Remark = Literal["not_recognised", "looks_like_another", "misnamed"]


class FindingOut(Schema):
    """The audit's finding about one model."""

    name: str
    """The model's name."""
    path: str
    """The model's absolute path on this service's machine."""
    size_bytes: NonNegativeInt
    """The model's size."""
    status: Status
    """`old` if a reason is `stale_pattern` or `superseded`. A corrupt model is not old for that reason alone."""
    reasons: list[InlineEnum[Reason]]
    """Why the model may be pruned. Empty if there is no reason."""
    stale_pattern: str | None
    """The pattern of `OCR_OLD_PATTERNS` that the model's name matches. Null if there is none."""
    hints: list[InlineEnum[Hint]]
    """`superseded`: a version with a higher number is in the same folder. Both versions may be needed, so a prune
    deletes the model only if `include` has `superseded`."""
    superseded_by: str | None
    """The newest version of the model in the same folder, if `reasons` or `hints` has `superseded`. Else null."""
    needed: bool | None
    """Whether the vendor's package asks for this OCR model (`.ocr`). A prune deletes a needed model only if its name
    matches a pattern of `OCR_OLD_PATTERNS`. Null for other models, and if the needs of the package are not known."""
    corrupt: str | None
    """What is wrong with the file: a verification found other bytes than recorded, or the header shows that the file is
    cut off. Null if nothing is known to be wrong."""
    remarks: list[Remark]
    """`not_recognised`: AsposeAI was asked after the file was written, and does not list the model. This remark alone
    is no reason to delete the model: AsposeAI lists only the few models that it would choose itself.
    `looks_like_another`: other models have names that look the same; `looks_like` has them. `misnamed`: the content is
    not of the format that the suffix promises; `misnamed` has the reason."""
    looks_like: list[str]
    """The other names that differ only in how Unicode writes their letters (such as `é`), or in invisible characters.
    These are different models."""
    misnamed: str | None
    """What the content is, if it is not of the format that the suffix promises, such as a web page called `x.gguf`.
    Null if the content is of that format, or if the suffix promises no format."""
    protected_by: ProtectionOut | None
    """Why the model must not be deleted or replaced. Null if the model is not protected."""
    blockers: list[BlockerOut]
    """The holders of leases on the model."""


class PartialOut(Schema):
    """One unfinished file of an upload or a pull."""

    id: str
    """The id of the upload or pull that the file belongs to, if the upload or pull can be resumed."""
    name: str | None
    """The name that the model will have. Null if it was not recorded."""
    size_bytes: NonNegativeInt
    """The bytes stored so far."""
    age_seconds: NonNegativeFloat
    """The time since the last byte was written."""
    active: bool
    """Whether a running process is writing to the file."""
    expires_at: Timestamp | None
    """When the file is deleted if no more bytes arrive. Null if it is deleted as soon as no process writes to it."""


class ReclaimableOut(Schema):
    """The disk space that could be freed."""

    models_bytes: NonNegativeInt
    """Freed by pruning old models that are neither protected nor in use."""
    corrupt_bytes: NonNegativeInt
    """Freed by pruning corrupt models that are not old, not protected and not in use."""
    partials_bytes: NonNegativeInt
    """Freed by deleting unfinished files to which no process is writing."""
    trash_bytes: NonNegativeInt
    """Freed by emptying the trash."""


class AuditOut(Schema):
    """The report of an audit: every model, and every unfinished file."""

    old_count: NonNegativeInt
    """How many models are old."""
    current_count: NonNegativeInt
    """How many models are current."""
    corrupt_count: NonNegativeInt
    """How many models, old or current, are corrupt."""
    unread_count: NonNegativeInt
    """How many models' headers were not read, because they are unreadable or because reading would have taken too long.
    The next audit continues."""
    reclaimable: ReclaimableOut
    """The disk space that could be freed."""
    models: list[FindingOut]
    """The models, sorted by name."""
    partials: list[PartialOut]
    """The unfinished files."""
    warnings: list[DamagedRecordOut]
    """The records of models and of unfinished files that cannot be read."""


class PrunedOut(Schema):
    """One model of a prune plan, and what the prune did with the model."""

    name: str
    """The model's name."""
    size_bytes: NonNegativeInt
    """The model's size."""
    reasons: list[InlineEnum[Reason]]
    """Why the model may be pruned. Empty if only a hint of `include` is the reason."""
    hints: list[InlineEnum[Hint]]
    """The hints that the model may be old, as in `GET /audit`."""
    outcome: InlineEnum[PruneResult]
    """`planned` in a dry run; else `trashed`, `deleted` permanently, or `stayed` if the deletion failed."""
    problem: str | None
    """Why the model stayed: the last part of a problem's `type`, such as `model-in-use`."""
    detail: str | None
    """Why the model stayed, as a sentence."""
    trash_id: str | None
    """The id of the model's trash entry. Null if it has none."""
    freed_bytes: NonNegativeInt
    """The disk space freed by deleting the model."""


class PruneOut(Schema):
    """A prune plan, or the result of executing it."""

    plan_id: str
    """The plan's id; send it to execute the plan."""
    dry_run: bool
    """True for a dry run, which deletes nothing."""
    complete: bool
    """False if a model of the plan could not be deleted."""
    count: NonNegativeInt
    """How many models the plan has."""
    total_size_bytes: NonNegativeInt
    """The total size of the plan's models."""
    freed_bytes: NonNegativeInt
    """The disk space freed."""
    models: list[PrunedOut]
    """The plan's models, sorted by name."""


class VolumeCheckOut(Schema):
    """One check of the model folder's file system."""

    name: CheckName
    """What was checked. `shared-locks`, whether locks reach other machines, is checked on network file systems only."""
    ok: bool
    """Whether the check passed."""
    required: bool
    """Whether changes to the model folder are refused unless the check passes."""
    reason: str | None
    """What is wrong, and what would help. Null if the check passed."""


class StorageOut(Schema):
    """The disk space used and free, and the state of the volume."""

    volume_id: str | None
    """The id of the volume, checked for this answer. Null if no id could be written to the volume."""
    is_writable: bool
    """Whether the folder can be written now."""
    is_safe: bool
    """Whether changes are safe on this file system. If not, they are refused with 503 `store-unsafe`."""
    file_system: str
    """The type of the folder's file system, such as `ext4`, `nfs4` or `fuse.glusterfs`."""
    checks: list[VolumeCheckOut]
    """The checks of the file system, made at the start and every minute. Empty on a folder that cannot be written."""
    models_bytes: NonNegativeInt
    """The disk space that models use."""
    trash_bytes: NonNegativeInt
    """The disk space that the trash uses. `DELETE /trash` frees it."""
    partial_bytes: NonNegativeInt
    """The disk space that unfinished uploads and pulls use."""
    free_bytes: NonNegativeInt
    """The disk space that this service may still use."""
    total_bytes: NonNegativeInt
    """The size of the whole disk, including the space that other programs use."""
    damaged_records: list[DamagedRecordOut]
    """The damaged records in `.store/` that this service has found. Repair or remove them; all other records still
    work."""
