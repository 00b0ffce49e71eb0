"""Media types, readers of the headers that several resources use, and the error of a malformed header."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError

JSON = "application/json"
TEXT = "text/plain"
FORM = "multipart/form-data"
"""The media type of a form that may have files."""
FORMS = (FORM, "application/x-www-form-urlencoded")


def malformed(field: str, message: str) -> RequestValidationError:
    """Return the error for a malformed header; `message` says what is wrong."""
    return RequestValidationError([{"loc": ("header", field), "msg": message}])


def media_type_of(request: Request) -> str:
    """Return the media type of the body in lower case, without its parameters; empty if none is stated."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def coding_of(request: Request) -> str | None:
    """Return the body's `Content-Encoding` in lower case; None if the body is not encoded."""
    stated = ",".join(request.headers.getlist("content-encoding") or ["identity"])
    codings = [coding for each in stated.split(",") if (coding := each.strip().lower()) != "identity"]
    return ", ".join(codings) if codings else None


def single_value(request: Request, field: str) -> str | None:
    """Return the value of a header; None if it was not sent. Raises RequestValidationError if it was sent twice."""
    values: list[str] = request.headers.getlist(field)
    if len(values) > 1:
        raise malformed(field, "it is sent more than once")
    return values[0] if values else None
