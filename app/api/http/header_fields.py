"""Media types, and header fields that several resources read, with the error of a malformed one."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError

JSON = "application/json"
TEXT = "text/plain"
FORM = "multipart/form-data"
"""A form that may have files."""
FORMS = (FORM, "application/x-www-form-urlencoded")


def malformed(field: str, message: str) -> RequestValidationError:
    """Return the error of a header field that is malformed."""
    return RequestValidationError([{"loc": ("header", field), "msg": message}])


def media_type_of(request: Request) -> str:
    """Return the media type of the body in lower case, without its parameters; empty if none is stated."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def coding_of(request: Request) -> str | None:
    """Return how the body is encoded, in lower case; None if it is not encoded."""
    coding = request.headers.get("content-encoding", "identity").lower()
    return None if coding == "identity" else coding
