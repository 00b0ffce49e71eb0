"""Problems with models, with the model folder, and with the other side of a pull."""

import hashlib

from app import errors
from app.api.examples.models import BLOCKER
from app.api.http.problem_types import EXAMPLE_ID, ProblemType

NAME = "old_en_ocr_v1.bin"
EMPTY_SHA256 = hashlib.sha256().hexdigest()

OF_STORE = (
    ProblemType(
        errors.InvalidModelName("../secret", "'..' would lead out of the model folder"),
        422,
        "invalid-model-name",
        "The name cannot be a model's",
        ("name",),
    ),
    ProblemType(
        errors.NotAModel("latest.bin", "a symbolic link"),
        422,
        "not-a-model",
        "What lies at that name is no model",
        ("name",),
    ),
    ProblemType(errors.ModelNotFound(NAME), 404, "model-not-found", "No such model", ("name",)),
    ProblemType(
        errors.ModelProtected(NAME, None, "the archive is read with it until March"),
        403,
        "model-protected",
        "The model is protected",
        ("name", "pattern", "reason"),
    ),
    ProblemType(
        errors.ModelInUse(NAME, [BLOCKER]),
        409,
        "model-in-use",
        "The model is in use",
        ("name", "blockers"),
    ),
    ProblemType(errors.ModelLocked(NAME), 409, "model-locked", "The model is being changed", ("name",), 1),
    ProblemType(errors.ModelExists(NAME), 409, "model-exists", "The name is taken", ("name",)),
    ProblemType(
        errors.ModelChanged(NAME, '"18-18e9fc0680810521"'),
        412,
        "model-changed",
        "The model is another version",
        ("name", "etag"),
    ),
    ProblemType(
        errors.ConditionFailed(NAME, '"18-18e9fc0680810521"'),
        412,
        "condition-failed",
        "The model is there, or is not",
        ("name", "etag"),
    ),
    ProblemType(
        errors.DigestMismatch(NAME, "sha256", hashlib.sha256(b"sent").hexdigest(), EMPTY_SHA256),
        422,
        "digest-mismatch",
        "Other bytes came than were announced",
        ("name", "algorithm", "expected", "actual"),
    ),
    ProblemType(
        errors.TrashEntryNotFound("20261121T063713Z-3a56954a93f8"),
        404,
        "trash-entry-not-found",
        "No such entry in the trash",
        ("trash_id",),
    ),
    ProblemType(errors.JobNotFound("20261121T092012Z-0a1b23a56954"), 404, "job-not-found", "No such job", ("job_id",)),
    ProblemType(
        errors.JobWithoutResults("20261121T092012Z-0a1b23a56954", "running"),
        409,
        "job-without-results",
        "The job has no results",
        ("state",),
    ),
    ProblemType(errors.JobAbandoned("ocr", "ocr-1:7"), 503, "job-abandoned", "The job's runner ended before it", (), 1),
    ProblemType(errors.PartialNotFound(EXAMPLE_ID), 404, "upload-not-found", "No such unfinished upload", ("id",)),
    ProblemType(errors.PartialBusy(EXAMPLE_ID), 423, "upload-in-progress", "The upload is in other hands", ("id",), 1),
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
    ProblemType(errors.LookupStale(), 503, "lookup-stale", "Another machine has just changed it", (), 1),
    ProblemType(
        errors.StoreDenied("/data/models/.store/trash: Permission denied"),
        503,
        "store-denied",
        "The service may not change the model folder",
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
        errors.SourceNotAllowed("https://elsewhere.example/a.gguf", "it is not below any of the allowed URLs"),
        403,
        "source-not-allowed",
        "The URL may not be pulled from",
        ("url",),
    ),
    ProblemType(
        errors.SourceNotFound("file 'a.gguf' in org/repo", "the hub does not know it"),
        404,
        "source-not-found",
        "There is nothing to pull",
    ),
    ProblemType(
        errors.SourceRefused("a.gguf of org/repo", "the hub answered 401"),
        502,
        "source-refused",
        "The other side refused it",
    ),
    ProblemType(
        errors.SourceUnavailable("a.gguf of org/repo", "the hub answered 503"),
        502,
        "source-unavailable",
        "The other side is unavailable",
    ),
    ProblemType(
        errors.SourceMismatch("a.gguf of org/repo", "it has 10 bytes, not 20"),
        502,
        "source-mismatch",
        "Something else came than was announced",
    ),
    ProblemType(
        errors.PullConflict("org_repo/a.gguf", "20261121T092012Z-0a1b23a56954"),
        409,
        "pull-conflict",
        "Another pull brings it",
        ("name", "job_id"),
    ),
)
