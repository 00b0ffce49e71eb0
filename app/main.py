"""Creates the FastAPI application: its description, middleware, routes and lifespan."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.routing import Route

from app import __version__
from app.api.docs import document
from app.api.http import problems
from app.api.http.middleware.cross_origin import CorsMiddleware
from app.api.http.middleware.request_limits import RequestLimits
from app.api.http.middleware.request_log import RequestLog
from app.api.http.routing import complete_routes
from app.api.routers import routers
from app.api.state import State
from app.api.uploads.tus_middleware import TusMiddleware
from app.lifespan import drain, running
from app.metrics import Metrics
from app.settings import Settings, SettingsError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
DESCRIPTION = """
Owns one long-lived AsposeAI and its folder of OCR and AI model files, so that other services need neither.

- **Models**: list them with their paths, see which are old, delete one safely and restore it from the trash.
- **Recognition**: get the text of images and PDFs as JSON, text, searchable PDF, DOCX and more, at once or as a job.
- **Engine**: see its state, load a model in advance, and release all the memory that it holds.

Every error is a problem detail (RFC 9457): programs compare its `type`, people read its `detail`. Each operation lists
its own problems; `default` has those that any request can get. Every answer has an `x-request-id`, which is in the
log too, and an `x-served-by` with the name of the service that answered, as in `GET /engines`. Every `GET` has a `HEAD`
with the same headers and no body.

If the service has keys, enter one under **Authorize**; each operation names the scope that it needs.
"""


TAGS = {
    "models": "The model files: list, find, get, upload, delete, protect and verify them.",
    "recognition": "Text from images and PDFs, at once or as a job.",
    "engine": "The process that runs AsposeAI: its state, its memory and what it can do; the engines of all services.",
    "ai": "Work on texts with a local language model; tables from images.",
    "pulls": "Jobs that fetch models from a repository or a URL.",
    "uploads": "Resumable uploads of models, by the tus 1.0 protocol.",
    "trash": "Deleted models that can be restored, and the journal of changes.",
    "upkeep": "Audit, prune and storage use.",
    "health": "Probes, which need no key, and metrics for Prometheus.",
    "service": "What this service is: its addresses and versions.",
}


def create_app(settings: Settings) -> FastAPI:
    """Return the application for these settings. Its lifespan starts and stops the parts of the service.

    Raises SettingsError if a route begins like the path prefix, OCR_ROOT_PATH.
    """

    counters = Metrics()

    def on_failed(status: int) -> None:
        app.state.failed_status = app.state.failed_status or status
        signal.raise_signal(signal.SIGTERM)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with running(settings, counters, on_failed) as state:
            app.state.drain_jobs = partial(drain, state)
            yield state

    app = FastAPI(
        title="OCR model service",
        version=__version__,
        summary="One long-lived AsposeAI and its model files, over HTTP.",
        description=DESCRIPTION,
        license_info={"name": "MIT (Aspose's engine is commercial)", "identifier": "MIT"},
        lifespan=lifespan,
        redirect_slashes=False,
        # FastAPI's telemetry costs 5 µs for each request, even without a tracer; none is configured here.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    app.root_path = settings.root_path  # FastAPI's parameter `root_path` expects that the proxy strips the prefix
    app.state.compressed_bodies = {}
    """The OpenAPI document, the pages and their files, each once it was requested."""
    app.state.stopping = asyncio.Event()
    """Set when the shutdown begins, after the drain."""
    app.state.is_draining = False
    app.state.failed_status = 0
    """The exit status of a service that ends because a part has failed or the licence was refused; 0 for any other."""
    app.state.sbom_file = str(settings.sbom_file.absolute()) if settings.sbom_file else None
    app.add_middleware(
        RequestLimits,
        max_body_bytes=settings.max_body_bytes,
        allowed_hosts=settings.allowed_hosts or _default_hosts(settings),
        body_seconds=settings.body_timeout.total_seconds(),
        allowed_origins=settings.cors_origins,
    )
    app.add_middleware(TusMiddleware)
    if settings.cors_origins:
        app.add_middleware(CorsMiddleware, origins=frozenset(settings.cors_origins))
    app.add_middleware(RequestLog, on_request=counters.on_request, trusted_proxies=settings.trusted_proxies)
    for router in routers(settings.compatible):
        # Not include_router(), which would match each request twice.
        app.router.routes.extend(router.routes)
    _check_prefix(app)
    complete_routes(app)
    counters.expect_routes(
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
    )
    problems.install(app)
    document.install(app, needs_key=not settings.is_anonymous)
    return app


def _default_hosts(settings: Settings) -> tuple[str, ...]:
    is_private = settings.is_anonymous and settings.is_loopback
    return (*LOOPBACK_NAMES, settings.host) if is_private else ("*",)


def _check_prefix(app: FastAPI) -> None:
    """Raise SettingsError if a route begins with the first part of the path prefix, OCR_ROOT_PATH.

    Some proxies strip the prefix and others keep it. So a path that begins like the prefix would be ambiguous.
    """
    first = app.root_path.split("/")[1] if app.root_path else None
    if first in {str(getattr(route, "path", "")).split("/")[1] for route in app.routes}:
        raise SettingsError(
            f"OCR_ROOT_PATH={app.root_path}: routes of this service begin with '/{first}' too, so the service "
            "could not tell whether a proxy has stripped the prefix of a request. Choose another prefix, such as "
            "'/models-api'"
        )
