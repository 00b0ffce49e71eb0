"""The member `uploads` of a job's form or JSON: the ids of finished uploads."""

from fastapi.exceptions import RequestValidationError

UPLOADS = "uploads"
MAX_UPLOADS = 100
"""The most uploads of one job. Each is locked while the job is created."""


def upload_ids(given: object) -> tuple[str, ...]:
    """Return the ids in a list, or in a form's text with commas between them. Raises RequestValidationError."""
    found = [each.strip() for each in given.split(",")] if isinstance(given, str) else given
    if not isinstance(found, list) or not 0 < len(found) <= MAX_UPLOADS:
        raise _refusal(f"must be 1 to {MAX_UPLOADS} ids of uploads; put more files in ZIP archives")
    if not all(isinstance(each, str) and each and each.isprintable() for each in found):
        raise _refusal("the id of an upload is printable text, the end of its Location")
    if len(set(found)) < len(found):
        raise _refusal("an upload is named twice")
    return tuple(found)


def _refusal(message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body", UPLOADS), "msg": message}])
