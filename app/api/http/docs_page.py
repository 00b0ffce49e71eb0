"""The docs page. It works without internet access and under any path prefix."""

import asyncio
import importlib.resources
import json

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, RedirectResponse, Response

from app.api.http.header_fields import JSON

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
@router.get("/docs/")
async def redirect_to_docs(request: Request) -> Response:
    """Redirect the service's root to the docs page."""
    return RedirectResponse(_prefix(request) + "/docs", 307)


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    """Return the docs page, which shows the OpenAPI document with Swagger UI."""
    prefix = _prefix(request)
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
    """Return a file of Swagger UI, which the package `fastapi_swagger` contains."""
    if asset not in ASSETS:
        raise HTTPException(404)
    folder = importlib.resources.files("fastapi_swagger") / "resources"
    return FileResponse(str(folder / asset), media_type=ASSETS[asset], headers={"cache-control": "max-age=86400"})


@router.get("/openapi.json")
async def get_document(request: Request) -> Response:
    """Return the OpenAPI document. The first request builds it in a thread, because that takes 0.1 s."""
    app: FastAPI = request.app
    document = app.openapi_schema or await asyncio.to_thread(app.openapi)
    return Response(json.dumps(document), media_type=JSON)


def _prefix(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")
