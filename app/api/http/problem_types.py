"""Problem details (RFC 9457): a problem type, and the body of an answer."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict

TYPE_PREFIX = "urn:ocr-model-service:problem:"


def slug_of(status: HTTPStatus) -> str:
    """Return the last part of the `type` of a problem that has no row in the problem table."""
    return status.phrase.lower().replace(" ", "-")


class Problem(BaseModel):
    """The body of an error's answer, a problem detail of RFC 9457: what went wrong and what to do."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    type: str
    """The problem type: a stable URI, for programs to compare."""
    title: str
    """The problem type in words, equal for every occurrence."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened in this case, and what to do about it."""
    instance: str
    """The path of the request."""
    request_id: str
    """The request's id, as in the `x-request-id` header and in the service's log."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One row of the problem table: how one class of exception is answered."""

    sample: Exception
    """An exception of the class, for the examples of the OpenAPI document."""
    status: int
    slug: str
    """The last part of the problem's `type`."""
    title: str
    shows: tuple[str, ...] = ()
    """The attributes of the exception that become members of the problem."""
    retry_after_seconds: int | None = None
    """The value of `retry-after` for an exception that has no `retry_after_seconds` of its own."""

    def headers_for(self, exc: Exception) -> dict[str, str]:
        """Return the exception's own headers, with `retry-after` if this type has one."""
        headers: dict[str, str] = dict(getattr(exc, "headers", {}))
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(getattr(exc, "retry_after_seconds", None) or self.retry_after_seconds)
        return headers

    def describe(self, exc: Exception, instance: str, request_id: str) -> Problem:
        """Return the body of the answer to an exception."""
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
