"""`/` and `/version`: what this service is, where its pages and its document are, and which versions it has."""

import asyncio

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from app import __version__
from app.api.docs.pages import HTML, answer_page
from app.api.docs.schemas import LinksOut, ServiceOut, VersionOut
from app.api.http.auth import PUBLIC, GuardedRoute
from app.api.http.header_fields import JSON
from app.api.http.negotiation import best_or_first
from app.engine.contract.wheel_facts import DISTRIBUTION, installed_version

NAME = "ocr-model-service"
API_VERSION = "1"
"""The version of the API: it changes when a client of the earlier one would fail."""
VARY = "accept, accept-encoding"

router = APIRouter(tags=["service"], route_class=GuardedRoute)


@router.get(
    "/",
    summary="Get the addresses",
    response_model=ServiceOut,
    response_description="What this service is, and the paths of its pages. A browser gets a page.",
    responses={200: {"content": {HTML: {"schema": {"type": "string"}, "example": "<!doctype html>…"}}}},
    openapi_extra=PUBLIC,
)
async def get_service(request: Request) -> Response:
    """Get the name and version of the service, and the paths of its docs page, its document and its probes.

    With `Accept: text/html`, which browsers send, the answer is a page with the same links.
    """
    if best_or_first((JSON, HTML), request.headers.getlist("accept")) == HTML:
        return await answer_page(request, "home.html", VARY)
    prefix = str(request.scope.get("root_path", "")).rstrip("/")
    paths = {name: f"{prefix}/{path}" for name, path in LinksOut.paths().items()}
    service = ServiceOut(name=NAME, version=__version__, links=LinksOut(**paths))
    return JSONResponse(service.model_dump(mode="json"), headers={"vary": VARY})


@router.get(
    "/version",
    summary="Get the versions",
    response_description="The versions of the service, of the API and of the vendor's package.",
    openapi_extra=PUBLIC,
)
async def get_version(request: Request) -> VersionOut:
    """Get the versions of the service, of its API, and of the vendor's package that runs the engine.

    `sbom_file` says where the list of all installed packages is.
    """
    return VersionOut(
        name=NAME,
        version=__version__,
        api_version=API_VERSION,
        vendor_package=DISTRIBUTION,
        vendor_version=await asyncio.to_thread(installed_version),
        sbom_file=request.app.state.sbom_file,
    )
