"""Problems with requests themselves."""

from fastapi.exceptions import RequestValidationError

from app.api.http import request_errors
from app.api.http.problem_types import ProblemType

OF_REQUESTS = (
    ProblemType(
        request_errors.NotAcceptable("application/json or text/plain"), 406, "not-acceptable", "No such format"
    ),
    ProblemType(request_errors.UnsupportedForm("it ends early"), 422, "unsupported-form", "The form cannot be used"),
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
        "It is another plan",
        ("plan_id",),
    ),
    ProblemType(
        request_errors.TextTooLong(0, 5000, 3500, "A line"),
        422,
        "text-too-long",
        "A text is too long",
        ("index", "size_bytes", "limit_bytes"),
    ),
    ProblemType(request_errors.CallerGone(), 400, "caller-gone", "The caller hung up"),
    ProblemType(request_errors.UploadsBusy(4), 503, "uploads-busy", "Too many uploads at once", ("limit",), 5),
    ProblemType(request_errors.UploadStalled(60), 408, "upload-stalled", "The upload stalled"),
    ProblemType(request_errors.BodyCutShort(), 400, "body-cut-short", "The body ended early"),
    ProblemType(
        request_errors.UnsupportedBody("a form (multipart/form-data)"), 415, "unsupported-body", "The body is no file"
    ),
    ProblemType(request_errors.UnsupportedTus("0.2.2"), 412, "unsupported-tus", "It is another version of tus"),
    ProblemType(
        request_errors.OffsetMismatch(1048576), 409, "offset-mismatch", "The upload goes on elsewhere", ("offset",)
    ),
    ProblemType(
        request_errors.ChecksumMismatch("sha1"),
        460,
        "checksum-mismatch",
        "The chunk is not what it was",
        ("algorithm",),
    ),
    ProblemType(request_errors.WrongHost("evil.example"), 421, "wrong-host", "The request is for another host"),
    ProblemType(
        request_errors.CrossOrigin("https://evil.example"),
        403,
        "cross-origin",
        "The request comes from another web page",
    ),
    ProblemType(
        RequestValidationError([{"loc": ("query", "nam"), "msg": "Extra inputs are not permitted"}]),
        422,
        "invalid-request",
        "The request is not valid",
    ),
)
