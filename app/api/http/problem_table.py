"""The problem table: for each exception its HTTP status, its problem type, and the attributes that become members."""

import hashlib

from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.examples.ids import JOB_ID, TRASH_ID, UPLOAD_ID
from app.api.examples.models import BLOCKER
from app.api.http import request_errors
from app.api.http.connections.errors import CONNECTION_PROBLEMS
from app.api.http.problem_types import ProblemType
from app.engine.contract.image_formats import FORMAT_NAMES
from app.engine.contract.messages import CapabilityName
from app.engine.contract.processors import DEFAULT_MODEL

EXAMPLE_NAME = "old_en_ocr_v1.bin"
EMPTY_SHA256 = hashlib.sha256().hexdigest()
CRASH = Exception("The service failed, which is a defect. Report it with the request_id, which is in the log too.")
INTERNAL_ERROR = ProblemType(CRASH, 500, "internal-error", "Internal error")

STORE_PROBLEMS = (
    ProblemType(
        errors.InvalidModelName("../secret", "'..' would lead out of the model folder"),
        422,
        "invalid-model-name",
        "The name is not valid for a model",
        ("name",),
    ),
    ProblemType(
        errors.NotAModel("latest.bin", "a symbolic link"),
        422,
        "not-a-model",
        "The path is not a model file",
        ("name",),
    ),
    ProblemType(errors.ModelNotFound(EXAMPLE_NAME), 404, "model-not-found", "No such model", ("name",)),
    ProblemType(
        errors.ModelProtected(EXAMPLE_NAME, None, "the archive is read with it until March"),
        403,
        "model-protected",
        "The model is protected",
        ("name", "pattern", "reason"),
    ),
    ProblemType(
        errors.ModelInUse(EXAMPLE_NAME, [BLOCKER]),
        409,
        "model-in-use",
        "The model is in use",
        ("name", "blockers"),
    ),
    ProblemType(errors.ModelLocked(EXAMPLE_NAME), 409, "model-locked", "The model is being changed", ("name",), 1),
    ProblemType(errors.ModelExists(EXAMPLE_NAME), 409, "model-exists", "The name is taken", ("name",)),
    ProblemType(
        errors.ModelChanged(EXAMPLE_NAME, '"18-18e9fc0680810521"'),
        412,
        "model-changed",
        "The model is a different version",
        ("name", "etag"),
    ),
    ProblemType(
        errors.ConditionFailed(EXAMPLE_NAME, '"18-18e9fc0680810521"'),
        412,
        "condition-failed",
        "The condition of the request failed",
        ("name", "etag"),
    ),
    ProblemType(
        errors.DigestMismatch(EXAMPLE_NAME, "sha256", hashlib.sha256(b"sent").hexdigest(), EMPTY_SHA256),
        422,
        "digest-mismatch",
        "The digest differs from the announced one",
        ("name", "algorithm", "expected", "actual"),
    ),
    ProblemType(
        errors.TrashEntryNotFound(TRASH_ID),
        404,
        "trash-entry-not-found",
        "No such entry in the trash",
        ("trash_id",),
    ),
    ProblemType(errors.JobNotFound(JOB_ID), 404, "job-not-found", "No such job", ("job_id",)),
    ProblemType(
        errors.JobWithoutResults(JOB_ID, "running"),
        409,
        "job-without-results",
        "The job has no such results",
        ("state",),
    ),
    ProblemType(errors.JobAbandoned("ocr", "ocr-1:7"), 503, "job-abandoned", "The job's runner ended early", (), 1),
    ProblemType(
        errors.IdempotencyKeyReused(JOB_ID),
        422,
        "idempotency-key-reused",
        "The Idempotency-Key belongs to another request",
        ("job_id",),
    ),
    ProblemType(
        errors.QueueUnavailable("Connection refused"), 503, "queue-unavailable", "The queue's database is away", (), 5
    ),
    ProblemType(
        errors.TooManyUnits(19_990, 20_000),
        429,
        "too-many-units",
        "The key's jobs have too many unfinished items",
        ("waiting", "limit"),
        30,
    ),
    ProblemType(errors.UnitAbandoned(3), 503, "unit-abandoned", "Services ended during the work"),
    ProblemType(
        errors.UnitDamaged("its result cannot be read"), 503, "unit-damaged", "The item is damaged on the disk"
    ),
    ProblemType(
        errors.UploadUnusable(UPLOAD_ID, "10 of its 24 bytes have arrived; send the rest first"),
        422,
        "upload-unusable",
        "The upload cannot be used",
    ),
    ProblemType(errors.PartialNotFound(UPLOAD_ID), 404, "upload-not-found", "No such unfinished upload", ("id",)),
    ProblemType(errors.PartialBusy(UPLOAD_ID), 423, "upload-in-progress", "The upload is in use", ("id",), 1),
    ProblemType(
        errors.StoreUnavailable("/data/models is missing; is its volume mounted?"),
        503,
        "store-unavailable",
        "The model folder is unavailable",
        (),
        5,
    ),
    ProblemType(
        errors.StoreReadOnly("Read-only file system"),
        503,
        "store-read-only",
        "The model folder is read-only",
        (),
        60,
    ),
    ProblemType(errors.LookupStale(), 503, "lookup-stale", "Another machine has just changed the folder", (), 1),
    ProblemType(
        errors.StoreDenied("/data/models/.store/trash: Permission denied"),
        503,
        "store-denied",
        "The service lacks the rights to change the model folder",
        (),
        60,
    ),
    ProblemType(
        errors.StoreUnsafe("another service uses this folder, and its locks do not reach this machine"),
        503,
        "store-unsafe",
        "The model folder cannot be changed safely",
        (),
        10,
    ),
    ProblemType(
        errors.StoreFull("No space left on device", 42949672960, 1073741824),
        507,
        "store-full",
        "The disk is full",
        ("need_bytes", "free_bytes"),
    ),
    ProblemType(
        errors.SourceNotAllowed("https://elsewhere.example/a.gguf", "it is not below any of OCR_PULL_ALLOWED_URLS"),
        403,
        "source-not-allowed",
        "The URL is not allowed",
        ("url",),
    ),
    ProblemType(
        errors.SourceNotFound("file 'a.gguf' in org/repo", "the hub answered 404. Check its spelling and the revision"),
        404,
        "source-not-found",
        "The source does not have the file",
    ),
    ProblemType(
        errors.SourceRefused("a.gguf of org/repo", "the hub answered 401"),
        502,
        "source-refused",
        "The source refused the request",
    ),
    ProblemType(
        errors.SourceUnavailable("a.gguf of org/repo", "the hub answered 503"),
        502,
        "source-unavailable",
        "The source is unavailable",
    ),
    ProblemType(
        errors.SourceMismatch("a.gguf of org/repo", "it has 10 bytes, not 20"),
        502,
        "source-mismatch",
        "The source sent something other than announced",
    ),
    ProblemType(
        errors.PullsMisconfigured("NO_PROXY is invalid (Invalid port: 'f0::')"),
        501,
        "pulls-misconfigured",
        "This service cannot fetch files",
    ),
    ProblemType(
        errors.PullConflict("org_repo/a.gguf", JOB_ID),
        409,
        "pull-conflict",
        "Another pull fetches the model",
        ("name", "job_id"),
    ),
)
ENGINE_PROBLEMS = (
    ProblemType(
        errors.EngineNotReady("starting", "its process is starting"),
        503,
        "engine-not-ready",
        "The engine is not ready",
        ("state",),
        1,
    ),
    ProblemType(
        errors.EngineUnknown("aspose-ocr-python-net", "26.11.0"),
        503,
        "engine-unknown",
        "What the engine offers is not known yet",
        (),
        30,
    ),
    ProblemType(
        errors.EngineLacks(CapabilityName.AI, "the native llama.cpp libraries are not installed"),
        501,
        "engine-lacks",
        "The engine cannot do this here",
        ("capability",),
    ),
    ProblemType(
        errors.ModelNotLicensed("org_repo/model.gguf", DEFAULT_MODEL),
        409,
        "model-not-licensed",
        "The model needs a licence",
        ("name", "allowed"),
    ),
    ProblemType(
        errors.EngineModelMissing(DEFAULT_MODEL),
        409,
        "engine-model-missing",
        "The engine's model is missing",
        ("name",),
    ),
    ProblemType(
        errors.ModelTooLarge(DEFAULT_MODEL, 2019377696, 1073741824),
        507,
        "model-too-large",
        "The model does not fit the engine's memory limit",
        ("name", "need_bytes", "limit_bytes"),
    ),
    ProblemType(
        errors.ModelDamaged(DEFAULT_MODEL, "the file ends inside its header, after 512 bytes"),
        422,
        "model-damaged",
        "The model's file is damaged",
        ("name", "reason"),
    ),
    ProblemType(
        errors.EngineBusy(7, expected_seconds=33.5, free_in_seconds=4),
        503,
        "engine-busy",
        "The engine's queue is full",
        ("waiting", "expected_seconds"),
        5,
    ),
    ProblemType(
        errors.EngineCallFailed("RuntimeError: Proxy error(ArgumentException): the text is too long"),
        422,
        "engine-call-failed",
        "The engine refused the call",
        ("reason",),
    ),
    ProblemType(errors.EngineTimedOut("run_postprocessor", 60), 504, "engine-timed-out", "The engine took too long"),
    ProblemType(
        errors.EngineDied("killed by SIGABRT"), 502, "engine-died", "The engine's process ended", ("exit_reason",)
    ),
    ProblemType(
        errors.EngineOutOfMemory("it held 3825205248 bytes, and may hold 3758096384 (killed by SIGKILL)", 3758096384),
        507,
        "engine-out-of-memory",
        "The engine ran out of memory",
        ("exit_reason", "limit_bytes"),
    ),
    ProblemType(errors.StateFull("No space left on device"), 507, "state-full", "The state folder's disk is full"),
    ProblemType(
        errors.StateUnavailable("/data/state: Permission denied"),
        503,
        "state-unavailable",
        "The state folder cannot be used",
        (),
        5,
    ),
    ProblemType(
        errors.UnsupportedImage("compressed by gzip (send the file that is inside)", FORMAT_NAMES),
        415,
        "unsupported-image",
        "The image's format is not supported",
    ),
    ProblemType(errors.UnreadableImage("it is empty"), 422, "image-unreadable", "The image cannot be read"),
    ProblemType(errors.ImageTooLarge("51 pages", "50 in one call"), 413, "image-too-large", "The image is too large"),
    ProblemType(errors.PagesBeyondEnd(5, 1), 422, "pages-beyond-end", "The document has no such pages"),
    ProblemType(
        errors.RegionOutsidePage("10,20,900,40", 800, 600),
        422,
        "region-outside-page",
        "A region is not on the page",
    ),
    ProblemType(errors.EncryptedPdf(), 422, "pdf-encrypted", "The PDF is encrypted"),
    ProblemType(errors.UnknownLanguage("elvish", "eng ita latin"), 422, "unknown-language", "Unknown language"),
    ProblemType(
        errors.ResourceMissing("aspose-ocr-cyrillic-v1"),
        422,
        "resource-missing",
        "An OCR model is missing",
        ("resource", "file", "pull"),
    ),
    ProblemType(
        errors.ResourceRefused("aspose-ocr-cyrillic-v1", 5000),
        422,
        "resource-refused",
        "The engine refuses an OCR model",
        ("resource", "file", "size_bytes", "pull"),
    ),
)
REQUEST_PROBLEMS = (
    ProblemType(
        request_errors.NotAcceptable("application/json or text/plain"), 406, "not-acceptable", "No acceptable format"
    ),
    ProblemType(request_errors.UnsupportedForm("it ends early"), 422, "unsupported-form", "The form cannot be used"),
    ProblemType(
        request_errors.UnsupportedArchive("scans.zip", "it has no files"),
        422,
        "unsupported-archive",
        "The archive cannot be used",
    ),
    ProblemType(request_errors.Unauthenticated.unknown(), 401, "unauthenticated", "A valid API key is needed"),
    ProblemType(
        request_errors.MissingScope("dashboard", "write"), 403, "missing-scope", "The key lacks a scope", ("scope",)
    ),
    ProblemType(request_errors.ServiceReadOnly(), 403, "read-only", "The service is read-only"),
    ProblemType(
        request_errors.BodyTooLarge(1 << 20), 413, "body-too-large", "The request's body is too large", ("limit_bytes",)
    ),
    ProblemType(
        request_errors.PlanChanged("0c6f9f3d2b9f4f1e8a7d5c3b1a098765"),
        409,
        "plan-changed",
        "The plan has changed",
        ("plan_id",),
    ),
    ProblemType(
        request_errors.TextTooLong(0, 5000, 3500, "A line"),
        422,
        "text-too-long",
        "A text is too long",
        ("index", "size_bytes", "limit_bytes"),
    ),
    ProblemType(
        request_errors.RangeNotSatisfiable(24_000_000),
        416,
        "range-not-satisfiable",
        "The range is outside the model",
        ("size_bytes",),
    ),
    ProblemType(request_errors.CallerGone(), 400, "caller-gone", "The caller closed the connection"),
    ProblemType(request_errors.UploadsBusy(4), 503, "uploads-busy", "Too many uploads at once", ("limit",), 5),
    ProblemType(
        request_errors.TooManyUnfinishedUploads(100, "OCR_MAX_UNFINISHED_UPLOADS_PER_KEY", "'nightly' has"),
        429,
        "too-many-unfinished-uploads",
        "Too many unfinished uploads",
        ("limit",),
    ),
    ProblemType(request_errors.UploadStalled(60), 408, "upload-stalled", "The upload stalled"),
    ProblemType(request_errors.BodyCutShort(), 400, "body-cut-short", "The body is incomplete"),
    ProblemType(
        request_errors.UnsupportedBody("a form (multipart/form-data)"),
        415,
        "unsupported-body",
        "The body has another type or encoding",
    ),
    ProblemType(request_errors.UnsupportedTus("0.2.2"), 412, "unsupported-tus", "The version of tus is not supported"),
    ProblemType(
        request_errors.OffsetMismatch(1048576), 409, "offset-mismatch", "The offset is not the upload's", ("offset",)
    ),
    ProblemType(
        request_errors.ChecksumMismatch("sha1"),
        460,
        "checksum-mismatch",
        "The checksum does not match",
        ("algorithm",),
    ),
    ProblemType(
        request_errors.UnsupportedChecksum("sha1, sha256, sha512"),
        400,
        "unsupported-checksum",
        "The checksum's algorithm is not supported",
    ),
    ProblemType(request_errors.PartialBody(), 400, "partial-body", "The body is only a part"),
    ProblemType(request_errors.ExpectationFailed(), 417, "expectation-failed", "The expectation cannot be met"),
    ProblemType(request_errors.WrongHost("evil.example"), 421, "wrong-host", "The request is for another host"),
    ProblemType(
        request_errors.CrossOrigin("https://evil.example"),
        403,
        "cross-origin",
        "The request comes from another web page",
    ),
    ProblemType(
        RequestValidationError([{"loc": ("query", "nam"), "msg": "there is no such parameter; did you mean 'name'?"}]),
        422,
        "invalid-request",
        "The request is not valid",
    ),
)

PROBLEM_TYPES: dict[type[Exception], ProblemType] = {
    type(kind.sample): kind for kind in (*STORE_PROBLEMS, *ENGINE_PROBLEMS, *REQUEST_PROBLEMS, *CONNECTION_PROBLEMS)
}
"""The problem type of each exception class. An exception without an entry is answered 500; a test finds error classes
of the service that lack one."""
