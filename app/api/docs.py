"""The docs page and the OpenAPI document, served whole by the service itself: no internet, any path prefix."""

import asyncio
import importlib.resources
import json
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import FileResponse, RedirectResponse, Response

from app.api.problems import (
    INTERNAL_ERROR,
    KINDS,
    BodyTooLarge,
    CrossOrigin,
    MissingScope,
    Problem,
    ServiceReadOnly,
    Unauthenticated,
    WrongHost,
    responses_of,
)

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'"
)
UI_SETTINGS = {
    "persistAuthorization": True,
    "displayRequestDuration": True,
    "defaultModelsExpandDepth": 0,
    "validatorUrl": None,
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def redirect_to_docs(request: Request) -> Response:
    """A browser that is shown the service's address alone finds the docs page."""
    return RedirectResponse(request.scope.get("root_path", "") + "/docs", 307)


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    """The docs page."""
    prefix = request.scope.get("root_path", "").rstrip("/")
    page = get_swagger_ui_html(
        openapi_url=f"{prefix}/openapi.json",
        title=request.app.title,
        swagger_js_url=f"{prefix}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{prefix}/docs/swagger-ui.css",
        swagger_favicon_url=f"{prefix}/docs/favicon-32x32.png",
        swagger_ui_parameters=UI_SETTINGS,
    )
    page.headers["content-security-policy"] = CONTENT_POLICY
    return page


@router.get("/docs/{asset}")
async def get_asset(asset: str) -> Response:
    """A file of the docs page, out of the package that carries Swagger UI."""
    if asset not in ASSETS:
        raise HTTPException(404)
    folder = importlib.resources.files("fastapi_swagger") / "resources"
    return FileResponse(str(folder / asset), media_type=ASSETS[asset], headers={"cache-control": "max-age=86400"})


@router.get("/openapi.json")
async def get_document(request: Request) -> Response:
    """The OpenAPI document; made on first use, in a thread, since it takes a tenth of a second."""
    app: FastAPI = request.app
    document = app.openapi_schema or await asyncio.to_thread(app.openapi)
    return Response(json.dumps(document), media_type="application/json")


def install(app: FastAPI) -> None:
    """Let the application describe itself with every status that an operation can give."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=[{"url": app.root_path or "/"}],
        license_info=app.license_info,
    )
    schemas = document["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in document["paths"].values():
        for method, operation in path.items():
            _complete(method, operation)
    return document


def _complete(method: str, operation: dict[str, Any]) -> None:
    """Add the problems that every operation shares, and show the request's id on every answer."""
    responses = operation["responses"]
    common = [INTERNAL_ERROR, KINDS[WrongHost], KINDS[BodyTooLarge]]
    if "security" in operation:
        common += [KINDS[Unauthenticated], KINDS[MissingScope]]
    if method not in {"get", "head"}:
        common += [KINDS[ServiceReadOnly], KINDS[CrossOrigin]]
    if "HTTPValidationError" in json.dumps(responses.get("422", "")):
        del responses["422"]
    for status, shared in responses_of(common).items():
        _merge(responses, str(status), shared)
    for response in responses.values():
        response.setdefault("headers", {})["x-request-id"] = {
            "description": "The request's id: the caller's own `x-request-id`, or a new one.",
            "schema": {"type": "string"},
        }
    operation["responses"] = dict(sorted(responses.items()))


def _merge(responses: dict[str, Any], status: str, shared: dict[str, Any]) -> None:
    own = responses.setdefault(status, shared)
    if own is not shared:
        (own_content,), (shared_content,) = own["content"].values(), shared["content"].values()
        own_content["examples"] |= shared_content["examples"]
        own["description"] = own["description"] + " " + shared["description"]
        own.setdefault("headers", {}).update(shared.get("headers", {}))
