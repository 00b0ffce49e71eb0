"""Schemas of models: in the list, one by one, their protections, deletions and verifications."""

from typing import Annotated

from pydantic import NonNegativeFloat, NonNegativeInt, WithJsonSchema

from app.api.http.schema import InlineEnum, Schema, Timestamp
from app.store import Format, Protection, Status, Verdict, Verification

Facts = Annotated[dict[str, str | int | bool | None], WithJsonSchema({"type": "object", "additionalProperties": True})]
"""Values of a header by name. The OpenAPI document leaves their types out: generated clients make a class of a value
that can be text, a number, true, false or null."""


# A field that can change while the file is unchanged must also be in `ModelView.changing_facts`, and its inputs in
# `Sources`; else the list keeps showing the previous value. A test checks this.
class ModelOut(Schema):
    """One model: a regular file below the model folder."""

    name: str
    """The model's path relative to the model folder, with `/`."""
    path: str
    """The model's absolute path on this service's machine."""
    format: Format
    """The file's format, by the suffix of its name."""
    size_bytes: NonNegativeInt
    """The file's size."""
    modified_at: Timestamp
    """When the file was last written."""
    status: Status
    """`old` if the name matches a pattern of `OCR_OLD_PATTERNS`, else `current`."""
    protected: bool
    """Whether the model must not be deleted or replaced: by a pattern of `OCR_PROTECTED`, or by a caller."""
    in_use: bool
    """Whether any process, on this machine or another, holds a lease on the model. A model in use cannot be deleted."""
    recognised: bool | None
    """Whether `AsposeAI.list_local()` or, for OCR models (`.ocr`), `Resources.list_local()` lists the model. Null if
    the engine was not asked since the file was written."""
    etag: str
    """The version of the file: changes whenever the file is written or replaced."""


class ModelHeaderOut(Schema):
    """The header of a model file. Its tensors are not read."""

    format: Format
    """The file's format, by its content."""
    problem: str | None
    """What is wrong with the file: truncated, corrupt, or with a header larger than the service reads. Null if nothing
    is."""
    facts: Facts
    """The header's values; null where the file has none. GGUF: `architecture`, `parameter_count`, `quantisation`,
    `context_length`, `has_chat_template` and more; safetensors: `tensor_count`, `dtypes`, `metadata.…`; ONNX:
    `producer_name`, `opset_imports`, `node_count`."""


class BlockerOut(Schema):
    """One holder of a lease on a model."""

    kind: str
    """What the model is used for: `engine`, `command`, `verify` or `protection`; `unknown` if the holder left no
    record."""
    holder: str | None
    """The holder's name."""
    pid: int | None
    """The id of the holder's process."""
    host: str | None
    """The machine or container that the process runs on."""
    since: str | None
    """When the lease began."""


class ProtectionOut(Schema):
    """Why a model must not be deleted or replaced: a pattern of the configuration, a caller's reason, or both."""

    pattern: str | None
    """The pattern of `OCR_PROTECTED` that the name matches. Only the configuration can remove this protection."""
    reason: str | None
    """The reason that a caller gave. `DELETE /models/{name}/protection` removes this protection."""
    by: str | None
    """The caller: the name of an API key, `anonymous` where no key is needed, or `cli:` and a user."""
    since: Timestamp | None
    """When the caller protected it."""


class ProtectionStateOut(Schema):
    """Whether a model is protected."""

    name: str
    """The model's name."""
    protected: bool
    """Whether the model must not be deleted or replaced."""
    protected_by: ProtectionOut | None
    """Why the model is protected. Null if it is not protected."""


def protection_out(protection: Protection | None) -> ProtectionOut | None:
    """Build the schema of a protection; None for None."""
    if protection is None:
        return None
    given = protection.manual
    return ProtectionOut(
        pattern=protection.pattern,
        reason=given.reason if given else None,
        by=given.by if given else None,
        since=given.since if given else None,
    )


class NeededForOut(Schema):
    """What needs an OCR model, as the installed version of the vendor's package names it, in lower case.

    The package names one missing file at a time, so a language or method may need a further file once this file is
    there. All lists are empty if the package does not ask for the file.
    """

    languages: list[str]
    """Languages, as the parameter `language` of `POST /ocr` takes them."""
    areas: list[str]
    """Modes of area detection, as the parameter `areas` takes them."""
    methods: list[str]
    """The vendor's methods of recognition, such as `recognize_receipt`."""
    filters: list[str]
    """The vendor's filters of images, such as `auto_denoising`."""


class ModelDetailOut(ModelOut):
    """One model with its header, its digest, its protection and the holders of its leases."""

    header: ModelHeaderOut
    """The file's header."""

    sha256: str | None
    """The recorded SHA-256 of this version, from an upload, a pull or the first verification. Null if none is
    recorded."""

    corrupt_since: Timestamp | None
    """When a verification found that the bytes differ from the recorded digest. Null if none has found that."""

    blockers: list[BlockerOut]
    """The holders of leases on the model. If empty, the model can be deleted unless it is protected."""

    protected_by: ProtectionOut | None
    """Why the model is protected. Null if it is not."""

    needed_for: NeededForOut | None
    """Which languages, areas, methods and filters need this OCR model (`.ocr`) in the model folder. Null for any other
    model, and while the facts of the vendor's package are not known."""

    remark: str | None
    """Why recognition does not use this OCR model (`.ocr`), and what to do: recognition does not find it in its folder,
    or the engine has refused it since the service started. Otherwise null."""


class ScanWarningOut(Schema):
    """Something in the model folder that cannot be listed as a model."""

    path: str
    """The path relative to the model folder."""
    reason: str
    """Why the path is not listed as a model."""


class ModelListOut(Schema):
    """The models below the model folder: all, those that match the filters, or one page of them."""

    count: NonNegativeInt
    """How many models match, on all pages."""
    total_size_bytes: NonNegativeInt
    """The total size of the models that match."""
    models: list[ModelOut]
    """The models of this page, in the order of `sort`."""
    next_cursor: str | None
    """The `cursor` of the next page. Null on the last page, and without `limit`."""
    warnings: list[ScanWarningOut]
    """What the scan found and could not list: links, devices, unreadable folders, names that no URL can hold. The
    warnings do not depend on the filters, and only the first page has them."""


class PathOut(Schema):
    """The path of the model folder, or of one model."""

    path: str
    """The absolute path on this service's machine, with links resolved."""


class ReceiptOut(Schema):
    """The result of a deletion."""

    name: str
    """The deleted model's name."""
    size_bytes: NonNegativeInt
    """The model's size."""
    freed_bytes: NonNegativeInt
    """The disk space freed. 0 while the model is in the trash."""
    trash_id: str | None
    """The id of the model's trash entry. Null if it was deleted permanently."""
    expires_at: Timestamp | None
    """When the trash entry is purged. Null if the model was deleted permanently."""
    dry_run: bool
    """True for a dry run: nothing was deleted, and the receipt shows what would be deleted."""


class VerificationOut(Schema):
    """The result of a verification."""

    name: str
    """The model's name."""
    outcome: InlineEnum[Verdict]
    """`intact`: the bytes match the recorded digest. `corrupt`: the bytes differ although the file's time is
    unchanged; or no digest is recorded and the header is damaged. `unrecorded`: no digest of this version was recorded
    before, and one is recorded now.
    `changed`: the file was written during the verification. `unreadable`: the disk or its permissions did not let the
    file be read."""
    reason: str | None
    """The outcome as a sentence. Null if the model is intact."""
    sha256: str | None
    """The SHA-256 of the bytes on the disk. Null if they could not be read as one version."""
    recorded_sha256: str | None
    """The recorded SHA-256. Null if no digest of this version was recorded."""
    recorded: bool
    """Whether the outcome was recorded. False if the disk cannot be written."""
    size_bytes: NonNegativeInt
    """The model's size."""
    header: ModelHeaderOut
    """The file's header."""
    seconds: NonNegativeFloat
    """How long the verification took."""
    bytes_per_second: NonNegativeInt
    """How fast the file was read."""


def verification_out(found: Verification) -> VerificationOut:
    """Build the schema of a verification."""
    return VerificationOut(
        name=found.model.name,
        outcome=found.verdict,
        reason=found.reason,
        sha256=found.sha256,
        recorded_sha256=found.recorded_sha256,
        recorded=found.is_remembered,
        size_bytes=found.model.size_bytes,
        header=ModelHeaderOut.model_validate(found.header),
        seconds=round(found.seconds, 6),
        bytes_per_second=found.bytes_per_second,
    )
