"""Errors on the wire: every non-2xx answer is a problem detail (RFC 9457), and this table says which."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from app import errors

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:ocr-model-service:problem:"


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

    status: int
    slug: str
    title: str
    retry_after_seconds: int | None = None
    shows: tuple[str, ...] = ()
    """Attributes of the exception that become members of the problem."""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The problem's stable identifier."""
        return TYPE_PREFIX + self.slug


class Unauthenticated(Exception):
    """No key, or one that is not known."""

    def __init__(self, detail: str, challenge: str) -> None:
        super().__init__(detail)
        self.headers = {"www-authenticate": challenge}


class MissingScope(Exception):
    """The key is known and does not have the scope."""

    def __init__(self, key_name: str, scope: str, challenge: str) -> None:
        super().__init__(
            f"The key {key_name!r} lacks the scope {scope!r}, which this operation needs. Ask for a key that has it."
        )
        self.scope = scope
        self.headers = {"www-authenticate": challenge}


class ServiceReadOnly(Exception):
    """OCR_READ_ONLY is set."""

    def __init__(self) -> None:
        super().__init__("This service runs with OCR_READ_ONLY=true and changes nothing. Ask one that may.")


class BodyTooLarge(Exception):
    """The request's body is larger than is read."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The request's body is larger than the {limit_bytes} bytes that are read (OCR_MAX_BODY_BYTES)."
        )
        self.limit_bytes = limit_bytes


class WrongHost(Exception):
    """The request addresses a host that this service is not."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"This service does not answer for the host {host!r}. Add it to OCR_ALLOWED_HOSTS if it should."
        )


class CrossOrigin(Exception):
    """A web page of another origin tries to change something."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"A page of {origin} may not change anything here. Call from a program, or from this service's docs page."
        )


INTERNAL_ERROR = Kind(500, "internal-error", "Internal error")
INVALID_REQUEST = Kind(422, "invalid-request", "The request is not valid")
KINDS: dict[type[Exception], Kind] = {
    errors.InvalidModelName: Kind(422, "invalid-model-name", "The name cannot be a model's", shows=("name",)),
    errors.NotAModel: Kind(422, "not-a-model", "What lies at that name is no model", shows=("name",)),
    errors.ModelNotFound: Kind(404, "model-not-found", "No such model", shows=("name",)),
    errors.ModelProtected: Kind(403, "model-protected", "The model is protected", shows=("name", "pattern")),
    errors.ModelInUse: Kind(409, "model-in-use", "The model is in use", shows=("name", "blockers")),
    errors.ModelLocked: Kind(409, "model-locked", "The model is being changed", 1, ("name",)),
    errors.StoreUnavailable: Kind(503, "store-unavailable", "The model folder is unavailable", 5),
    errors.StoreReadOnly: Kind(503, "store-read-only", "The model folder is read-only", 60),
    errors.StoreFull: Kind(507, "store-full", "The disk is full"),
    errors.EngineNotReady: Kind(503, "engine-not-ready", "The engine is not ready", 1, ("state",)),
    errors.EngineBusy: Kind(503, "engine-busy", "The engine's queue is full", 5, ("waiting",)),
    errors.EngineCallFailed: Kind(422, "engine-call-failed", "The engine could not do it", shows=("reason",)),
    errors.EngineTimedOut: Kind(504, "engine-timed-out", "The engine took too long"),
    errors.EngineDied: Kind(502, "engine-died", "The engine's process ended", shows=("exit_reason",)),
    Unauthenticated: Kind(401, "unauthenticated", "A valid API key is needed", headers={"www-authenticate": "Bearer"}),
    MissingScope: Kind(
        403,
        "missing-scope",
        "The key lacks a scope",
        shows=("scope",),
        headers={"www-authenticate": "Bearer"},
    ),
    ServiceReadOnly: Kind(403, "read-only", "The service is read-only"),
    BodyTooLarge: Kind(413, "body-too-large", "The request's body is too large", shows=("limit_bytes",)),
    WrongHost: Kind(421, "wrong-host", "The request is for another host"),
    CrossOrigin: Kind(403, "cross-origin", "The request comes from another web page"),
    RequestValidationError: INVALID_REQUEST,
}
"""The whole mapping. A domain error that is missing here is a 500, and a test fails."""


def install(app: FastAPI) -> None:
    """Let the application render every exception as a problem."""
    for exception in KINDS:
        app.add_exception_handler(exception, _render)
    app.add_exception_handler(HTTPException, _render_framework)


def problem(request: Request, exc: Exception) -> Response:
    """The answer for an exception of the table, or for a crash, whose text stays in the log."""
    kind = KINDS.get(type(exc), INTERNAL_ERROR)
    extra: dict[str, Any] = {name: getattr(exc, name) for name in kind.shows}
    detail = str(exc)
    if isinstance(exc, RequestValidationError):
        extra["errors"] = [{"where": list(error["loc"]), "message": error["msg"]} for error in exc.errors()]
        detail = "; ".join(f"{'.'.join(map(str, e['where']))}: {e['message']}" for e in extra["errors"])
    elif kind is INTERNAL_ERROR:
        detail = "The service failed; that is a defect. Report it with the request_id, which the log has too."
    headers = dict(getattr(exc, "headers", {}))
    if kind.retry_after_seconds is not None:
        headers["retry-after"] = str(kind.retry_after_seconds)
    return _respond(request, kind, detail, extra, headers)


def problems(*exceptions: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """The same exceptions for the OpenAPI document: a route's `responses`."""
    return responses_of([KINDS[exception] for exception in exceptions])


def responses_of(kinds: list[Kind]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of some kinds of problem, an example for each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        response = responses.setdefault(kind.status, {"description": "", "content": {MEDIA_TYPE: {"examples": {}}}})
        content = response["content"][MEDIA_TYPE]
        content["schema"] = {"$ref": "#/components/schemas/Problem"}
        content["examples"][kind.slug] = {"summary": kind.title, "value": _example(kind)}
        response["description"] = "; ".join(example["summary"] for example in content["examples"].values()) + "."
        if headers := _documented_headers(kind):
            response.setdefault("headers", {}).update(headers)
    return responses


def _documented_headers(kind: Kind) -> dict[str, Any]:
    described = dict.fromkeys(kind.headers, "How to authenticate (RFC 6750).")
    if kind.retry_after_seconds is not None:
        described["retry-after"] = "Seconds after which another try may succeed."
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in described.items()}


def _example(kind: Kind) -> dict[str, Any]:
    return {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": "What happened, and what to do about it.",
        "instance": "/models/en_ocr_v2.bin",
        "request_id": "0f8fad5bd9cb469fa16570867728950e",
    }


async def _render(request: Request, exc: Exception) -> Response:
    return problem(request, exc)


async def _render_framework(request: Request, exc: Exception) -> Response:
    """What Starlette itself refuses: an unknown path, a method that a path does not have, a request it cannot parse."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for nothing else
    status = HTTPStatus(exc.status_code)
    detail = exc.detail if exc.detail != status.phrase else f"{request.method} {request.url.path}: {status.phrase}."
    kind = Kind(status, status.phrase.lower().replace(" ", "-"), status.phrase)
    return _respond(request, kind, f"{detail} The docs page lists what there is.", {}, dict(exc.headers or {}))


def _respond(request: Request, kind: Kind, detail: str, extra: dict[str, Any], headers: dict[str, str]) -> Response:
    members = Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request.url.path,
        request_id=request.scope.get("request_id", ""),
        **extra,
    )
    return JSONResponse(members.model_dump(mode="json"), kind.status, headers, MEDIA_TYPE)
