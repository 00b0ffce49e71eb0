"""Answers to errors: every error is answered with a problem detail (RFC 9457)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from app import errors
from app.api.examples.ids import REQUEST_ID
from app.api.http.connections.errors import OutOfResources
from app.api.http.problem_table import CRASH, INTERNAL_ERROR, PROBLEM_TYPES
from app.api.http.problem_types import Problem, ProblemType, slug_of
from app.errors.exhaustion import exhausted_resource
from app.events import EventName
from app.store.volume.refusals import refusal_of

log = structlog.get_logger()

PROBLEM_MEDIA_TYPE = "application/problem+json"
PROBLEM_HEADERS: dict[str, dict[str, Any]] = {
    "retry-after": {
        "description": "Seconds after which another try may succeed.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "content-range": {"description": "`bytes */` and the size in bytes.", "schema": {"type": "string"}},
    "connection": {"description": "`close`: the rest of the body is not read.", "schema": {"type": "string"}},
    "tus-version": {"description": "The versions of tus that are supported.", "schema": {"type": "string"}},
    "www-authenticate": {"description": "How to authenticate (RFC 6750).", "schema": {"type": "string"}},
}
NAME_ERRORS = (errors.InvalidModelName, errors.NotAModel, errors.ModelNotFound, errors.StoreUnavailable)
"""Errors of a route that finds a model by its name."""
WRITE_ERRORS = (errors.StoreUnavailable, *errors.UNWRITABLE)
"""Errors of a route that changes the model folder."""


@dataclass(frozen=True, slots=True)
class ProblemContext:
    """The members of a problem that come from the request."""

    path: str
    request_id: str


async def _context(request: Request) -> ProblemContext:
    return ProblemContext(request.url.path, str(request.scope["request_id"]))


ProblemContextDep = Annotated[ProblemContext, Depends(_context)]


def install(app: FastAPI) -> None:
    """Register the handlers that answer every exception with a problem."""
    for exception in PROBLEM_TYPES:
        app.add_exception_handler(exception, _render)
    app.add_exception_handler(HTTPException, _render_framework)
    app.add_exception_handler(OSError, _render_os_error)


def problem(request: Request, exc: Exception, **members: Any) -> Response:  # noqa: ANN401 - any JSON
    """Return the answer to an exception that has a row in the problem table, with more members of the problem."""
    kind = PROBLEM_TYPES[type(exc)]
    described = kind.describe(exc, request.url.path, _id_of(request))
    return _respond(described.model_copy(update=members), kind.headers_for(exc))


def crash(request: Request) -> Response:
    """Return the answer to an unexpected exception. The exception's text is not in the answer but only in the log."""
    return _respond(INTERNAL_ERROR.describe(CRASH, request.url.path, _id_of(request)), {})


def problem_of(exc: Exception, context: ProblemContext) -> Problem:
    """Return the problem of one item of a request, such as a text or a file, for the item's result in the answer."""
    return PROBLEM_TYPES[type(exc)].describe(exc, context.path, context.request_id)


def problems(*exceptions: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can raise these exceptions, for the OpenAPI document."""
    return responses_of([PROBLEM_TYPES[exception] for exception in exceptions], "")


def responses_of(kinds: list[ProblemType], instance: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for the problem types `kinds`, with an example of each type."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        response = responses.setdefault(
            kind.status, {"description": "", "content": {PROBLEM_MEDIA_TYPE: {"examples": {}}}}
        )
        content = response["content"][PROBLEM_MEDIA_TYPE]
        content["schema"] = {"$ref": "#/components/schemas/Problem"}
        value = kind.describe(kind.sample, instance, REQUEST_ID).model_dump(mode="json")
        content["examples"][kind.slug] = {"summary": kind.title, "value": value}
        response["description"] = "; ".join(example["summary"] for example in content["examples"].values()) + "."
        if headers := {name: PROBLEM_HEADERS[name] for name in kind.headers_for(kind.sample)}:
            response.setdefault("headers", {}).update(headers)
    return responses


async def _render(request: Request, exc: Exception) -> Response:
    return problem(request, exc)


async def _render_os_error(request: Request, exc: Exception) -> Response:
    """Return the problem for an OSError that no part of the service has translated into an error of its own."""
    assert isinstance(exc, OSError)  # noqa: S101 - registered for nothing else
    if exc.errno is None:  # an OSError that no system call raised, such as a TimeoutError of asyncio
        raise exc
    if cause := exhausted_resource(exc):
        log.warning(EventName.RESOURCES_EXHAUSTED, id=_id_of(request), cause=cause, path=request.url.path)
        return problem(request, OutOfResources(cause))
    log.warning(EventName.REQUEST_DISK_FAILED, id=_id_of(request), path=request.url.path, exc_info=exc)
    return problem(request, refusal_of(exc))


async def _render_framework(request: Request, exc: Exception) -> Response:
    """Return the problem for an HTTPException: an unknown path, a wrong method, or a body that cannot be parsed."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for nothing else
    # FastAPI answers its own 400 to every exception while a body is read, except for invalid JSON.
    if isinstance(exc.__cause__, UnicodeDecodeError):
        return problem(request, RequestValidationError([{"loc": ("body",), "msg": "The body is not valid UTF-8"}]))
    if isinstance(exc.__cause__, Exception) and type(exc.__cause__) in PROBLEM_TYPES:
        return problem(request, exc.__cause__)
    status = HTTPStatus(exc.status_code)
    headers = {name.lower(): value for name, value in (exc.headers or {}).items()}
    detail = f"{request.method} {request.url.path}: {exc.detail.removesuffix('.')}."
    if status is HTTPStatus.NOT_FOUND:
        detail = f"This service has nothing at {request.url.path}."
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = allowed = ", ".join(_methods_at(request))
        detail = f"{request.url.path} does not support {request.method}, only {allowed}."
    kind = ProblemType(
        Exception(f"{detail} The docs page lists all operations."), status, slug_of(status), status.phrase
    )
    return _respond(kind.describe(kind.sample, request.url.path, _id_of(request)), headers)


def _methods_at(request: Request) -> list[str]:
    """Return all methods of the requested path. Starlette names only the methods of the first route with the path."""
    path = request.scope["route"].path
    routes = [route for route in request.app.routes if getattr(route, "path", None) == path]
    return sorted({method for route in routes for method in route.methods or ()})


def _id_of(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


def _respond(problem: Problem, headers: dict[str, str]) -> Response:
    return JSONResponse(problem.model_dump(mode="json"), problem.status, headers, PROBLEM_MEDIA_TYPE)
