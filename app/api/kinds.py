"""Which problem each exception is on the wire: its status, its stable type, and what of it is shown."""

import hashlib
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict

from app import errors
from app.api import refusals
from app.api.examples import BLOCKER
from app.engine.processors import DEFAULT_MODEL

TYPE_PREFIX = "urn:ocr-model-service:problem:"
EXAMPLE_ID = "0f8fad5bd9cb469fa16570867728950e"


class Problem(BaseModel):
    """What went wrong and what to do, as RFC 9457 lays it out."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    type: str
    """Which problem it is: stable, to be compared."""
    title: str
    """The same for people; the same for every occurrence."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened this time, and what to do about it."""
    instance: str
    """The path of the request."""
    request_id: str
    """The request's id, as in the `x-request-id` header and in the service's log."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table: how an exception looks on the wire."""

    sample: Exception
    """One such exception, for the OpenAPI document's examples."""
    status: int
    slug: str
    title: str
    shows: tuple[str, ...] = ()
    """Attributes of the exception that become members of the problem."""
    retry_after_seconds: int | None = None

    def headers_for(self, exc: Exception) -> dict[str, str]:
        """The headers that go with it."""
        headers: dict[str, str] = dict(getattr(exc, "headers", {}))
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(self.retry_after_seconds)
        return headers

    def describe(self, exc: Exception, instance: str, request_id: str) -> Problem:
        """The problem that the exception is."""
        shown: dict[str, Any] = {name: getattr(exc, name) for name in self.shows}
        detail = str(exc)
        if isinstance(exc, RequestValidationError):
            shown["errors"] = [{"where": list(error["loc"]), "message": error["msg"]} for error in exc.errors()]
            detail = "; ".join(f"{'.'.join(map(str, e['where']))}: {e['message']}" for e in shown["errors"])
        return Problem(
            type=TYPE_PREFIX + self.slug,
            title=self.title,
            status=self.status,
            detail=detail,
            instance=instance,
            request_id=request_id,
            **shown,
        )


NAME = "old_en_ocr_v1.bin"
EMPTY_SHA256 = hashlib.sha256().hexdigest()
CRASH = Exception("The service failed; that is a defect. Report it with the request_id, which the log has too.")
INTERNAL_ERROR = Kind(CRASH, 500, "internal-error", "Internal error")
KINDS: dict[type[Exception], Kind] = {
    type(kind.sample): kind
    for kind in (
        Kind(
            errors.InvalidModelName("../secret", "'..' would lead out of the model folder"),
            422,
            "invalid-model-name",
            "The name cannot be a model's",
            ("name",),
        ),
        Kind(
            errors.NotAModel("latest.bin", "a symbolic link"),
            422,
            "not-a-model",
            "What lies at that name is no model",
            ("name",),
        ),
        Kind(errors.ModelNotFound(NAME), 404, "model-not-found", "No such model", ("name",)),
        Kind(
            errors.ModelProtected(NAME, None, "the archive is read with it until March"),
            403,
            "model-protected",
            "The model is protected",
            ("name", "pattern", "reason"),
        ),
        Kind(
            errors.ModelInUse(NAME, [BLOCKER]),
            409,
            "model-in-use",
            "The model is in use",
            ("name", "blockers"),
        ),
        Kind(errors.ModelLocked(NAME), 409, "model-locked", "The model is being changed", ("name",), 1),
        Kind(errors.ModelExists(NAME), 409, "model-exists", "The name is taken", ("name",)),
        Kind(
            errors.ModelChanged(NAME, '"210027-18-18e9fc0680810521"'),
            412,
            "model-changed",
            "The model is another version",
            ("name", "etag"),
        ),
        Kind(
            errors.ConditionFailed(NAME, '"210027-18-18e9fc0680810521"'),
            412,
            "condition-failed",
            "The model is there, or is not",
            ("name", "etag"),
        ),
        Kind(
            errors.DigestMismatch(NAME, "sha256", hashlib.sha256(b"sent").hexdigest(), EMPTY_SHA256),
            422,
            "digest-mismatch",
            "Other bytes came than were announced",
            ("name", "algorithm", "expected", "actual"),
        ),
        Kind(
            errors.TrashEntryNotFound("20261121T063713Z-3a56954a93f8"),
            404,
            "trash-entry-not-found",
            "No such entry in the trash",
            ("trash_id",),
        ),
        Kind(errors.JobNotFound("20261121T092012Z-0a1b23a56954"), 404, "job-not-found", "No such job", ("job_id",)),
        Kind(
            errors.JobWithoutResults("20261121T092012Z-0a1b23a56954", "running"),
            409,
            "job-without-results",
            "The job has no results",
            ("state",),
        ),
        Kind(errors.JobAbandoned("ocr", "ocr-1:7"), 500, "job-abandoned", "The job's runner ended before it"),
        Kind(errors.PartialNotFound(EXAMPLE_ID), 404, "upload-not-found", "No such unfinished upload", ("id",)),
        Kind(errors.PartialBusy(EXAMPLE_ID), 423, "upload-in-progress", "The upload is in other hands", ("id",), 1),
        Kind(
            errors.StoreUnavailable("/data/models is missing; is its volume mounted?"),
            503,
            "store-unavailable",
            "The model folder is unavailable",
            (),
            5,
        ),
        Kind(
            errors.StoreReadOnly("Read-only file system"),
            503,
            "store-read-only",
            "The model folder is read-only",
            (),
            60,
        ),
        Kind(
            errors.StoreFull("No space left on device", 42949672960, 1073741824),
            507,
            "store-full",
            "The disk is full",
            ("need_bytes", "free_bytes"),
        ),
        Kind(
            errors.SourceNotAllowed("https://elsewhere.example/a.gguf", "it is not below any of the allowed URLs"),
            403,
            "source-not-allowed",
            "The URL may not be pulled from",
            ("url",),
        ),
        Kind(
            errors.SourceNotFound("file 'a.gguf' in org/repo", "the hub does not know it"),
            404,
            "source-not-found",
            "There is nothing to pull",
        ),
        Kind(
            errors.SourceRefused("a.gguf of org/repo", "the hub answered 401"),
            502,
            "source-refused",
            "The other side refused it",
        ),
        Kind(
            errors.SourceUnavailable("a.gguf of org/repo", "the hub answered 503"),
            502,
            "source-unavailable",
            "The other side is unavailable",
        ),
        Kind(
            errors.SourceMismatch("a.gguf of org/repo", "it has 10 bytes, not 20"),
            502,
            "source-mismatch",
            "Something else came than was announced",
        ),
        Kind(
            errors.PullConflict("org_repo/a.gguf", "20261121T092012Z-0a1b23a56954"),
            409,
            "pull-conflict",
            "Another pull brings it",
            ("name", "job_id"),
        ),
        Kind(
            errors.EngineNotReady("starting", "its process is starting"),
            503,
            "engine-not-ready",
            "The engine is not ready",
            ("state",),
            1,
        ),
        Kind(
            errors.EngineLacks("ai", "the native llama.cpp libraries are not installed"),
            501,
            "engine-lacks",
            "The engine cannot do this here",
            ("capability",),
        ),
        Kind(
            errors.ModelNotLicensed("org_repo/model.gguf", DEFAULT_MODEL),
            409,
            "model-not-licensed",
            "The model takes a licence",
            ("name", "allowed"),
        ),
        Kind(
            errors.EngineModelMissing(DEFAULT_MODEL),
            409,
            "engine-model-missing",
            "The engine's model is missing",
            ("name",),
        ),
        Kind(
            errors.ModelTooLarge(DEFAULT_MODEL, 2019377696, 1073741824),
            507,
            "model-too-large",
            "The model does not fit the engine's memory limit",
            ("name", "need_bytes", "limit_bytes"),
        ),
        Kind(errors.EngineBusy(7), 503, "engine-busy", "The engine's queue is full", ("waiting",), 5),
        Kind(
            errors.EngineCallFailed("RuntimeError: Proxy error(ArgumentException): the text is too long"),
            422,
            "engine-call-failed",
            "The engine could not do it",
            ("reason",),
        ),
        Kind(errors.EngineTimedOut("run_postprocessor", 60), 504, "engine-timed-out", "The engine took too long"),
        Kind(
            errors.EngineDied("killed by SIGABRT"), 502, "engine-died", "The engine's process ended", ("exit_reason",)
        ),
        Kind(errors.UnsupportedImage("image/webp"), 415, "unsupported-image", "The image's format is not read"),
        Kind(errors.UnreadableImage("it is empty"), 422, "image-unreadable", "The image cannot be read"),
        Kind(errors.ImageTooLarge("51 pages", "50 in one call"), 413, "image-too-large", "The image is too large"),
        Kind(errors.EncryptedPdf(), 422, "pdf-encrypted", "The PDF is encrypted"),
        Kind(errors.UnknownLanguage("elvish", "eng ita latin"), 422, "unknown-language", "No such language"),
        Kind(
            errors.ResourceMissing("aspose-ocr-cyrillic-v1.ocr"),
            422,
            "resource-missing",
            "The engine lacks a file for that",
            ("resource",),
        ),
        Kind(refusals.NotAcceptable("application/json or text/plain"), 406, "not-acceptable", "No such format"),
        Kind(refusals.UnsupportedForm("it ends early"), 422, "unsupported-form", "The form cannot be used"),
        Kind(refusals.Unauthenticated.unknown(), 401, "unauthenticated", "A valid API key is needed"),
        Kind(refusals.MissingScope("dashboard", "write"), 403, "missing-scope", "The key lacks a scope", ("scope",)),
        Kind(refusals.ServiceReadOnly(), 403, "read-only", "The service is read-only"),
        Kind(
            refusals.BodyTooLarge(1 << 20), 413, "body-too-large", "The request's body is too large", ("limit_bytes",)
        ),
        Kind(
            refusals.PlanChanged("0c6f9f3d2b9f4f1e8a7d5c3b1a098765"),
            409,
            "plan-changed",
            "It is another plan",
            ("plan_id",),
        ),
        Kind(
            refusals.TextTooLong(0, 5000, 3500, "A line"),
            422,
            "text-too-long",
            "A text is too long",
            ("index", "size_bytes", "limit_bytes"),
        ),
        Kind(refusals.CallerGone(), 400, "caller-gone", "The caller hung up"),
        Kind(refusals.UploadsBusy(4), 503, "uploads-busy", "Too many uploads at once", ("limit",), 5),
        Kind(refusals.UploadStalled(60), 408, "upload-stalled", "The upload stalled"),
        Kind(refusals.BodyCutShort(), 400, "body-cut-short", "The body ended early"),
        Kind(refusals.UnsupportedBody("a form (multipart/form-data)"), 415, "unsupported-body", "The body is no file"),
        Kind(refusals.UnsupportedTus("0.2.2"), 412, "unsupported-tus", "It is another version of tus"),
        Kind(refusals.OffsetMismatch(1048576), 409, "offset-mismatch", "The upload goes on elsewhere", ("offset",)),
        Kind(
            refusals.ChecksumMismatch("sha1"), 460, "checksum-mismatch", "The chunk is not what it was", ("algorithm",)
        ),
        Kind(refusals.WrongHost("evil.example"), 421, "wrong-host", "The request is for another host"),
        Kind(
            refusals.CrossOrigin("https://evil.example"),
            403,
            "cross-origin",
            "The request comes from another web page",
        ),
        Kind(
            RequestValidationError([{"loc": ("query", "nam"), "msg": "Extra inputs are not permitted"}]),
            422,
            "invalid-request",
            "The request is not valid",
        ),
    )
}
"""The whole mapping. A domain error that is missing here is a 500, and a test fails."""
