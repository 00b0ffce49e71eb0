"""The application: what it is called, what it answers to, and the lifespan of its parts. No logic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import __version__
from app.api.http import openapi, problems
from app.api.http.middleware import RequestLimits, RequestLog
from app.api.http.routing import complete_routes
from app.api.routers import routers
from app.api.state import State
from app.lifespan import running
from app.metrics import Metrics
from app.settings import Settings

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
DESCRIPTION = """
Owns one long-lived AsposeAI and the folder of OCR and AI model files beside it, so that other services need neither.

Ask which models there are, where they lie and which are old; delete one safely, with a way back; and have back every
byte that the engine holds.

Every error is a problem detail (RFC 9457): compare its `type`, show people its `detail`. Where the service has keys,
**Authorize** takes one; each operation says which scope it needs.
"""


TAGS = {
    "models": "The model files.",
    "uploads": "Models that come in over connections that break: the tus 1.0 protocol.",
    "pulls": "Models that this service fetches, as jobs.",
    "trash": "Deleted models, and who deleted them.",
    "upkeep": "What is old, its deletion as planned, and where the bytes are.",
    "engine": "AsposeAI, in a process of its own.",
    "ai": "Texts and a local language model.",
    "recognition": "Text from images.",
    "health": "For probes, which take no key, and for Prometheus.",
}


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings. Nothing is opened before its lifespan begins."""

    counters = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with running(settings, counters) as state:
            yield state

    app = FastAPI(
        title="OCR model service",
        version=__version__,
        summary="One long-lived AsposeAI and its model files, over HTTP.",
        description=DESCRIPTION,
        license_info={"name": "MIT (Aspose's engine is commercial)", "identifier": "MIT"},
        lifespan=lifespan,
        root_path=settings.root_path,
        redirect_slashes=False,
        # Costs each request 5 µs where nobody has configured a tracer, and nobody here does.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    app.state.stopping = asyncio.Event()
    app.add_middleware(
        RequestLimits,
        max_body_bytes=settings.max_body_bytes,
        allowed_hosts=settings.allowed_hosts or _default_hosts(settings),
    )
    app.add_middleware(RequestLog, on_request=counters.on_request)
    for router in routers():
        # Not include_router(), which matches each request twice.
        app.router.routes.extend(router.routes)
    complete_routes(app)
    problems.install(app)
    openapi.install(app, needs_key=not settings.is_anonymous)
    return app


def _default_hosts(settings: Settings) -> tuple[str, ...]:
    is_private = settings.is_anonymous and settings.is_loopback
    return (*LOOPBACK_NAMES, settings.host) if is_private else ("*",)
