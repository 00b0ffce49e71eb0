"""The pages about the API and the files that they load. They work without internet access and under any path prefix.

A page refers to all its files by relative URLs, so it needs no path prefix.
"""

import asyncio
import importlib.resources
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from app.api.docs.compact_document import compact
from app.api.docs.compressed import CompressedBody
from app.api.http.conditional import CACHING
from app.api.http.header_fields import JSON

HTML = "text/html"
OWN, VENDORED = "app.api.docs", "fastapi_standalone_docs"
ASSETS = {
    "common.css": (OWN, "common.css", "text/css"),
    "docs.css": (OWN, "docs.css", "text/css"),
    "docs.js": (OWN, "docs.js", "text/javascript"),
    "home.js": (OWN, "home.js", "text/javascript"),
    "icon.svg": (OWN, "icon.svg", "image/svg+xml"),
    "page_document.js": (OWN, "page_document.js", "text/javascript"),
    "reference.js": (OWN, "reference.js", "text/javascript"),
    "swagger-ui.css": (VENDORED, "swagger/swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (VENDORED, "swagger/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui-license.txt": (VENDORED, "swagger/LICENSE", "text/plain"),
    "redoc.standalone.js": (VENDORED, "redoc/redoc.standalone.js", "text/javascript"),
    "logo-mini.svg": (VENDORED, "redoc/logo-mini.svg", "image/svg+xml"),
    "redoc-license.txt": (VENDORED, "redoc/redoc.standalone.js.LICENSE.txt", "text/plain"),
}
"""The package, the path below its folder `static`, and the media type of each file, by its name below `/docs/`."""
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI and Redoc have styles in their elements, images in their style sheets, and Redoc searches in a worker."""
PAGE_HEADERS = CACHING | {"content-security-policy": CONTENT_POLICY}
ASSET_HEADERS = {"cache-control": "max-age=3600", "x-content-type-options": "nosniff"}

router = APIRouter(include_in_schema=False)


@router.get("/docs/")
async def redirect_to_docs(request: Request) -> Response:
    """Redirect to the docs page, whose relative URLs need its path without a slash at the end."""
    return RedirectResponse(f"{str(request.scope.get('root_path', '')).rstrip('/')}/docs", 307)


@router.get("/docs")
async def get_docs(request: Request) -> Response:
    """Return the docs page, which shows the OpenAPI document with Swagger UI and can call every operation."""
    return await answer_page(request, "docs.html")


@router.get("/redoc")
async def get_reference(request: Request) -> Response:
    """Return the reference page, which shows the OpenAPI document with Redoc, for reading."""
    return await answer_page(request, "reference.html")


@router.get("/favicon.ico")
async def get_favicon(request: Request) -> Response:
    """Return the icon, for browsers that show an answer without a page."""
    return await _answer_file(request, *ASSETS["icon.svg"], ASSET_HEADERS)


@router.get("/docs/openapi.json")
async def get_complete_document(request: Request) -> Response:
    """Return the OpenAPI document that the pages show, with all descriptions and an example of every answer."""
    return await answer_built(request, "complete document", partial(_compress_document, request.app, dict))


@router.get("/redoc/{asset}")
@router.get("/docs/{asset}")
async def get_asset(request: Request, asset: str) -> Response:
    """Return a file that a page loads. Redoc itself asks for its logo below `/redoc/`."""
    if asset not in ASSETS:
        raise HTTPException(404)
    return await _answer_file(request, *ASSETS[asset], ASSET_HEADERS)


@router.get("/openapi.json")
async def get_document(request: Request) -> Response:
    """Return the OpenAPI document for programs, which has the same operations in fewer words."""
    return await answer_built(request, "document", partial(_compress_document, request.app, compact))


async def answer_page(request: Request, file: str, vary: str = "accept-encoding") -> Response:
    """Return a page of the folder `static`. `vary` names the headers of requests on which the answer depends."""
    return await _answer_file(request, OWN, file, HTML, PAGE_HEADERS | {"vary": vary})


async def answer_built(request: Request, name: str, build: Callable[[], CompressedBody]) -> Response:
    """Return the body of this name. The first request builds it in a thread."""
    bodies = _bodies_of(request.app)
    if name not in bodies:
        bodies[name] = await asyncio.to_thread(build)
    return bodies[name].answer(request)


async def _answer_file(request: Request, package: str, path: str, media_type: str, headers: dict[str, str]) -> Response:
    return await answer_built(request, path, partial(_compress_file, package, path, media_type, headers))


def _bodies_of(app: FastAPI) -> dict[str, CompressedBody]:
    """Return the bodies that this application has compressed so far."""
    bodies: dict[str, CompressedBody] = app.state.compressed_bodies
    return bodies


def _compress_file(package: str, path: str, media_type: str, headers: dict[str, str]) -> CompressedBody:
    return CompressedBody((importlib.resources.files(package) / "static" / path).read_bytes(), media_type, headers)


def _compress_document(app: FastAPI, form: Callable[[dict[str, Any]], dict[str, Any]]) -> CompressedBody:
    """Return one form of the document. To build it takes 0.3 s."""
    document = form(app.openapi())
    return CompressedBody(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(), JSON, CACHING)
