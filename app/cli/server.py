"""Runs the server of the command `serve`: the log, the application and uvicorn.

This module is slow to import, so no other command imports it.
"""

import os
import sys

import structlog
import uvicorn
from fastapi import FastAPI

from app import logs
from app.api.http.server import BoundedHttpProtocol, Server
from app.cli.deadline import end_after
from app.events import EventName
from app.main import create_app
from app.settings import Settings, unknown_variables


def run(settings: Settings) -> None:
    """Run the server until a signal stops it. Exits with 1 if the server cannot start."""
    logs.configure(settings.log_format, settings.log_level)
    _log_doubtful(settings)
    app = create_app(settings)

    def on_stopping() -> None:
        app.state.stopping.set()
        end_after(settings.shutdown_grace.total_seconds())

    server = Server(_config(app, settings), on_stopping=on_stopping)
    server.run()
    if not server.started:
        sys.exit(1)


def _log_doubtful(settings: Settings) -> None:
    """Log a warning for each setting that is allowed but may be a mistake."""
    log = structlog.get_logger()
    for sentence in unknown_variables(os.environ):
        log.warning(EventName.SETTINGS_UNKNOWN, detail=sentence)
    if settings.is_anonymous and not settings.is_loopback:
        log.warning(
            EventName.SETTINGS_ANONYMOUS,
            detail=f"anybody who reaches {settings.host}:{settings.port} may delete models",
        )


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_grace.total_seconds() / 2)),
    )
