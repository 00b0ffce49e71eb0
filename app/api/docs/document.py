"""The OpenAPI document: FastAPI's own, completed with the problems, scopes and headers of every operation."""

import json
import threading
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.api import examples
from app.api.docs import guide_pages
from app.api.docs.operation_order import sort_operations
from app.api.docs.problem_responses import ProblemResponses
from app.api.docs.shared_components import share
from app.api.examples import jobs
from app.api.http.auth import SECURITY_SCHEME
from app.api.http.keys import Scope
from app.api.http.problem_types import Problem
from app.api.jobs.webhooks import PATH_ITEMS

CONTACT = {"name": "The maintainers of ocr-model-service"}


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
        servers=[{"url": app.root_path or "/", "description": "This service."}],
        contact=CONTACT,
        license_info=app.license_info,
    )
    components = document["components"]
    components["securitySchemes"] = SECURITY_SCHEME
    components["headers"] = {}
    components |= {"pathItems": PATH_ITEMS}
    schemas = components["schemas"]
    for tag in document["tags"]:
        # Not as externalDocs, whose URL must be absolute for some tools.
        tag["description"] += f" [Guide]({app.root_path}{guide_pages.path_of(guide_pages.BY_TAG[tag['name']])})"
    schemas["Problem"] = Problem.model_json_schema() | {"externalDocs": _guide(app, guide_pages.OF_ERRORS)}
    # FastAPI's schemas of a 422 answer, which this service never sends.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    responses = ProblemResponses(needs_key=needs_key)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _complete(path, method, operation, responses, needs_key=needs_key)
    responses.add_to(components)
    # Examples are added here because FastAPI removes every null from examples in a schema's configuration.
    for name in _schemas_of_bodies(document["paths"]):
        if example := examples.BY_SCHEMA.get(name):
            schemas[name]["examples"] = [example]
    _drop_inlined(document)
    document["paths"] = sort_operations(document["paths"], [tag["name"] for tag in document["tags"]])
    share(document)
    return document


def _guide(app: FastAPI, name: str) -> dict[str, str]:
    return {"description": "The guide.", "url": app.root_path + guide_pages.path_of(name)}


def _drop_inlined(document: dict[str, Any]) -> None:
    """Remove the unused schemas of enumerations, which FastAPI adds in spite of `InlineEnum`."""
    text, schemas = json.dumps(document), document["components"]["schemas"]
    for name in [name for name, schema in schemas.items() if "enum" in schema]:
        if f'"#/components/schemas/{name}"' not in text:
            del schemas[name]


def _schemas_of_bodies(paths: dict[str, Any]) -> set[str]:
    """Return the names of the schemas that are a whole body of a request or an answer.

    Only these have an example, which also shows the schemas inside.
    """
    return {
        content["schema"].get("$ref", "").rpartition("/")[2]
        for methods in paths.values()
        for operation in methods.values()
        for body in (*operation["responses"].values(), operation.get("requestBody", {}))
        for content in body.get("content", {}).values()
    }


def _complete(
    path: str, method: str, operation: dict[str, Any], responses: ProblemResponses, *, needs_key: bool
) -> None:
    """Complete one operation: its scope, its problems, and the examples of jobs of its kind."""
    scope = Scope(operation["security"][0]["api_key"][0]) if operation["security"] else None
    problems = responses.of(path, method, scope, operation)
    answers = {status: answer for status, answer in operation["responses"].items() if status[0] in "23"}
    job_examples = next((found for prefix, found in jobs.BY_PREFIX.items() if path.startswith(prefix)), {})
    for response in answers.values():
        for content in response.get("content", {}).values():
            if example := job_examples.get(content["schema"].get("$ref", "").rpartition("/")[2]):
                content["example"] = example
            if "$ref" in content["schema"]:  # FastAPI adds `type: string` to every format but JSON
                content["schema"] = {"$ref": content["schema"]["$ref"]}
        if method == "head":
            response.pop("content", None)
    operation["responses"] = dict(sorted(answers.items())) | problems
    if scope:
        operation["description"] += f"\n\nRequired scope: `{scope}`."
        if not needs_key:
            operation["security"] = [{}, *operation["security"]]
