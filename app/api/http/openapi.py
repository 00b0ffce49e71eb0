"""The OpenAPI document: FastAPI's own, completed with the problems, scopes and headers of every operation."""

import json
import threading
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.api import examples
from app.api.examples import jobs
from app.api.http.auth import LENIENT, SECURITY_SCHEME
from app.api.http.connections.errors import (
    BodyTimedOut,
    HeadTimedOut,
    HeadTooLarge,
    InvalidHttp,
    OutOfResources,
    ShuttingDown,
    TooManyConnections,
)
from app.api.http.keys import Scope
from app.api.http.middleware import PROBES
from app.api.http.problem_table import EXAMPLE_NAME, INTERNAL_ERROR, PROBLEM_TYPES
from app.api.http.problem_types import Problem, ProblemType
from app.api.http.problems import PROBLEM_MEDIA_TYPE, responses_of
from app.api.http.request_errors import (
    BodyTooLarge,
    CrossOrigin,
    ExpectationFailed,
    MissingScope,
    PartialBody,
    ServiceReadOnly,
    Unauthenticated,
    UnsupportedBody,
    WrongHost,
)

REQUEST_ID_HEADER = {
    "description": "The request's id: the caller's `x-request-id`, or a new one.",
    "schema": {"type": "string"},
}


def install(app: FastAPI, *, needs_key: bool) -> None:
    """Set the application's OpenAPI document. `needs_key`: whether the service has a file of keys.

    The document is built at its first use, under a lock: FastAPI shares state between builds, so two threads that
    build it at once fail.
    """
    lock = threading.Lock()
    for route in app.routes:
        if isinstance(route, APIRoute):
            route.operation_id = route.name

    def openapi() -> dict[str, Any]:
        with lock:
            if app.openapi_schema is None:
                app.openapi_schema = _document(app, needs_key=needs_key)
            return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _document(app: FastAPI, *, needs_key: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=[{"url": app.root_path}] if app.root_path else None,
        license_info=app.license_info,
    )
    document["components"]["securitySchemes"] = SECURITY_SCHEME
    schemas = document["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    # FastAPI's schemas of a 422 answer, which this service never sends.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    # Examples are added here because FastAPI removes every null from examples in a schema's configuration.
    for name, example in examples.BY_SCHEMA.items():
        schemas[name]["examples"] = [example]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _complete(path, method, operation, needs_key=needs_key)
    _drop_inlined(document)
    return document


def _drop_inlined(document: dict[str, Any]) -> None:
    """Remove the unused schemas of enumerations, which FastAPI adds in spite of `InlineEnum`."""
    text, schemas = json.dumps(document), document["components"]["schemas"]
    for name in [name for name, schema in schemas.items() if "enum" in schema]:
        if f'"#/components/schemas/{name}"' not in text:
            del schemas[name]


def _complete(path: str, method: str, operation: dict[str, Any], *, needs_key: bool) -> None:
    """Complete one operation: its scope, the problems that all operations share, and `x-request-id` on each answer."""
    scope = Scope(operation["security"][0]["api_key"][0]) if operation["security"] else None
    kinds = [*_own_types(operation), *_shared_types(path, method, scope, operation, needs_key=needs_key)]
    answers = {status: answer for status, answer in operation["responses"].items() if status[0] in "23"}
    for status, response in responses_of(kinds, path.replace("{name}", EXAMPLE_NAME)).items():
        answers[str(status)] = response
    job_examples = next((found for prefix, found in jobs.BY_PREFIX.items() if path.startswith(prefix)), {})
    for response in answers.values():
        for content in response.get("content", {}).values():
            if example := job_examples.get(content["schema"].get("$ref", "").rpartition("/")[2]):
                content["example"] = example
            if "$ref" in content["schema"]:  # FastAPI adds `type: string` to every format but JSON
                content["schema"] = {"$ref": content["schema"]["$ref"]}
        response["headers"] = response.get("headers", {}) | {"x-request-id": REQUEST_ID_HEADER}
        if method == "head":
            response.pop("content", None)
    operation["responses"] = dict(sorted(answers.items()))
    if scope:
        operation["description"] += f"\n\nNeeds a key with the scope `{scope}`, if the service has keys."
        if not needs_key:
            operation["security"] = [{}, *operation["security"]]


def _own_types(operation: dict[str, Any]) -> list[ProblemType]:
    """Return the problem types that an operation's route declares, found by the names of their examples."""
    slugs = [
        slug
        for response in operation["responses"].values()
        for slug in response.get("content", {}).get(PROBLEM_MEDIA_TYPE, {}).get("examples", {})
    ]
    return [kind for kind in PROBLEM_TYPES.values() if kind.slug in slugs]


def _shared_types(
    path: str, method: str, scope: Scope | None, operation: dict[str, Any], *, needs_key: bool
) -> list[ProblemType]:
    """Return the problem types of this operation that many others have too, such as that of a missing scope."""
    shared: list[type[Exception]] = [HeadTimedOut, HeadTooLarge, InvalidHttp]
    if path not in LENIENT:
        shared.append(RequestValidationError)
    if "requestBody" in operation:
        shared += [UnsupportedBody, PartialBody]
    if needs_key and scope:
        shared += [Unauthenticated, MissingScope]
    if scope and scope.is_change(method.upper()):
        shared.append(ServiceReadOnly)
    if method not in {"get", "head", "options"}:
        shared += [CrossOrigin, ExpectationFailed]
    if path not in PROBES:
        shared += [BodyTimedOut, BodyTooLarge, OutOfResources, ShuttingDown, TooManyConnections, WrongHost]
    return [*(PROBLEM_TYPES[exception] for exception in shared), INTERNAL_ERROR]
