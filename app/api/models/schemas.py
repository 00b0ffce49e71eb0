"""What answers look like on the wire. The docstrings are the text of the docs page."""

from typing import Literal

from pydantic import NonNegativeInt

from app.api.http.schema import Schema, Timestamp
from app.store.headers.formats import Format
from app.store.protections import Protection


class ModelOut(Schema):
    """One model: a regular file below the model folder."""

    name: str
    """Its path relative to the model folder, with `/`."""
    path: str
    """Its absolute path on the machine of this service."""
    format: Format
    """By the suffix of its name."""
    size_bytes: NonNegativeInt
    """Its size."""
    modified_at: Timestamp
    """When it was last written."""
    status: Literal["current", "old"]
    """`old` when it matches a pattern of `OCR_OLD_PATTERNS`."""
    protected: bool
    """Whether a pattern of `OCR_PROTECTED`, or somebody, forbids deleting and replacing it."""
    in_use: bool
    """Whether anybody holds a lease on it, on this machine or another. A model in use cannot be deleted."""
    recognised: bool | None
    """Whether AsposeAI's own `list_local()` names it; null while the engine has not been asked since the file came."""
    etag: str
    """Changes whenever the file is replaced, grows or is written."""


class HeaderOut(Schema):
    """What a model file says of itself, read from its header; its tensors are not looked at."""

    format: Literal["gguf", "onnx", "safetensors", "unknown"]
    """What it is by its content, whatever its suffix says."""
    problem: str | None
    """What is wrong with it: truncated, corrupt, or beyond what is read of a header."""
    facts: dict[str, str | int | bool | None]
    """What it tells, null where it does not say. GGUF: `architecture`, `parameter_count`, `quantisation`,
    `context_length`, `has_chat_template` and more; safetensors: `tensor_count`, `dtypes`, `metadata.…`; ONNX:
    `producer_name`, `opset_imports`, `node_count`."""


class BlockerOut(Schema):
    """One user of a model: somebody who holds a lease on it."""

    kind: str
    """What it uses the model for: `engine`, `command`, `verify`, `protection`; `unknown` of one that does not say."""
    holder: str | None
    """Which one of that kind."""
    pid: int | None
    """Its process."""
    host: str | None
    """The machine or container that the process is on."""
    since: str | None
    """When it began to."""


class ProtectionOut(Schema):
    """Why a model must not be deleted or replaced: a pattern, what somebody said, or both."""

    pattern: str | None
    """The pattern of `OCR_PROTECTED` that its name matches; only the configuration can lift that."""
    reason: str | None
    """What somebody gave as a reason; `DELETE /models/{name}/protection` lifts that."""
    by: str | None
    """Who: the name of an API key, `anonymous` where none is needed, or `cli:` and a user."""
    since: Timestamp | None
    """When."""


class ProtectionState(Schema):
    """Whether a model is protected."""

    name: str
    """The model."""
    protected: bool
    """Whether nobody can delete or replace it."""
    protected_by: ProtectionOut | None
    """Why."""


def protection_out(protection: Protection | None) -> ProtectionOut | None:
    """The same on the wire."""
    if protection is None:
        return None
    given = protection.given
    return ProtectionOut(
        pattern=protection.pattern,
        reason=given.reason if given else None,
        by=given.by if given else None,
        since=given.since if given else None,
    )


class ModelDetail(ModelOut):
    """One model, with what its file says of itself, and what is known beside it."""

    header: HeaderOut
    """What its file says of itself."""

    sha256: str | None
    """The SHA-256 on record of this version, from an upload, a pull or the first verification; null without."""

    corrupt_since: Timestamp | None
    """Since when a verification knows that its bytes are not those on record; null when none has found so."""

    blockers: list[BlockerOut]
    """Who uses it, as of now; empty when it can be deleted, protection aside."""

    protected_by: ProtectionOut | None
    """Why it is protected, as of now."""


class ScanWarningOut(Schema):
    """Something in the model folder that could not be listed."""

    path: str
    """Where it lies, relative to the model folder."""
    reason: str
    """Why it is not in the list."""


class ModelList(Schema):
    """The models below the model folder: all, those that match, or a page of them."""

    count: NonNegativeInt
    """How many models match, on this page or another."""
    total_size_bytes: NonNegativeInt
    """What they take together."""
    models: list[ModelOut]
    """The models of this page, sorted as was asked, by name if nothing was."""
    next_cursor: str | None
    """What to send as `cursor` for the next page; null when this is the last, as it always is without `limit`."""
    warnings: list[ScanWarningOut]
    """What the scan met and could not list: links, devices, unreadable folders, names that no URL can carry. They are
    the folder's, whatever is asked for; a page that a `cursor` led to does not repeat them."""


class PathOut(Schema):
    """Where models lie on the machine of this service."""

    path: str
    """The absolute path, links resolved."""


class ReceiptOut(Schema):
    """What a deletion did."""

    name: str
    """The model that is gone."""
    size_bytes: NonNegativeInt
    """Its size."""
    freed_bytes: NonNegativeInt
    """What the disk has back: nothing while the model is in the trash."""
    trash_id: str | None
    """Its entry in the trash; null when it was deleted at once, without a way back."""
    expires_at: Timestamp | None
    """When the trash lets go of it, and its bytes come back; null when they already have."""
    dry_run: bool
    """Whether this only says what would be done."""
