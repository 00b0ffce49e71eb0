"""Builds the HTTP server from the settings, and runs it: logging, the application, uvicorn and its shutdown times.

`serve.py` is the command that calls `run`. Importing this module takes half a second, because of FastAPI and
uvicorn, so no other command imports it.
"""

import os
import socket
import sys
from contextlib import nullcontext
from functools import partial
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from app import __version__, logs, tracing
from app.api.http.connections.gate import ConnectionGate, connections_within
from app.api.http.connections.protocol import CallerTimes, HttpConnection
from app.api.http.connections.server import Server, StopTimes
from app.api.http.problem_table import PROBLEM_TYPES
from app.cli.serving.allocator import keep_trimmed
from app.cli.serving.deadline import end_after
from app.cli.serving.fault_file import fault_file
from app.cli.serving.start_notice import as_block, start_facts
from app.events import EventName
from app.main import create_app
from app.settings import Settings, unknown_variables

SERVED_BY = "x-served-by"
"""The header of every answer that names the service. uvicorn adds it, so that refusals of bad heads have it too."""
CANNOT_START = 3
ANSWER_SHARE = 8
"""Interrupted requests have 1/ANSWER_SHARE of OCR_SHUTDOWN_GRACE to answer, at most LONGEST_ANSWER_SECONDS."""
LONGEST_ANSWER_SECONDS = 2.0
ENGINE_SHARE = 2
"""The engine has 1/ENGINE_SHARE of OCR_SHUTDOWN_GRACE to stop; requests have the rest, including the time to answer."""
MARGIN_SECONDS = 1
"""How many seconds after `Server` has ended the connections uvicorn cancels what is left. Without this pause, uvicorn
on a busy machine logs an error about requests that `Server` is just ending."""
IPV6_ANY = "::"
BODY_WINDOW = 2
"""The rate of a body is measured over BODY_WINDOW times OCR_UPLOAD_STALL_TIMEOUT, so that the caller may pause."""
BACKLOG = 512
"""How many new connections the kernel may queue until the service accepts them; the service accepts all at once."""


def run(settings: Settings) -> None:
    """Run the server until a signal stops it. Raises SettingsError.

    Exits with 3 if it cannot start, and with the status of app.lifespan if a part of the service failed.
    """
    logs.configure(settings.log_format, settings.log_level, service=settings.served_by)
    _log_doubtful(settings)
    try:
        tracing.configure(os.environ, __version__)
    except tracing.TracingUnavailable as exc:  # the service works without traces
        structlog.get_logger().warning(EventName.TRACING_UNAVAILABLE, reason=str(exc))
    app = create_app(settings)
    is_console = logs.is_console(settings.log_format)

    def on_started(port: int) -> None:
        facts = start_facts(settings, port)
        if is_console and settings.log_level in {"debug", "info"}:
            sys.stderr.write(as_block(facts) + "\n")
        else:
            structlog.get_logger().info(EventName.SERVICE_STARTED, **facts)

    times = _stop_times(settings)

    def on_draining(seconds: float) -> None:
        app.state.is_draining = True
        app.state.drain_jobs()
        structlog.get_logger().info(EventName.SERVICE_DRAINING, seconds=seconds)

    def on_stopping() -> None:
        app.state.is_draining = True
        app.state.stopping.set()
        app.state.drain_jobs(times.request_seconds)
        end_after(settings.shutdown_grace.total_seconds() + (tracing.FLUSH_SECONDS if tracing.is_on() else 0))

    keep_trimmed()
    server = Server(
        _config(app, settings),
        times,
        on_started=on_started,
        on_draining=on_draining,
        on_stopping=on_stopping,
    )
    try:
        with nullcontext() if is_console else fault_file(settings.state_dir):
            server.run(_sockets(settings))
    except SystemExit:  # by uvicorn, or by the handler of `serve`: uvicorn raises a received signal again at its end
        if app.state.failed_status:
            sys.exit(app.state.failed_status)
        raise
    finally:
        tracing.shut_down()
    if not server.started:
        sys.exit(CANNOT_START)


def _sockets(settings: Settings) -> list[socket.socket] | None:
    """Return a socket for IPv6 and IPv4 if the host is `::`; asyncio would listen on IPv6 only. Else return None.

    uvicorn opens the socket of any other host. Exits with 3 if the address cannot be used.
    """
    if settings.host != IPV6_ANY:
        return None
    try:
        opened = socket.create_server(
            (IPV6_ANY, settings.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
    except (OSError, ValueError) as exc:
        structlog.get_logger().error(EventName.SERVICE_CANNOT_LISTEN, error=str(exc))
        sys.exit(CANNOT_START)
    # uvicorn logs this sentence for each socket that it opens itself.
    url = f"http://[{IPV6_ANY}]:{opened.getsockname()[1]}"
    structlog.get_logger().info(f"Uvicorn running on {url} (Press CTRL+C to quit)")
    return [opened]


def _log_doubtful(settings: Settings) -> None:
    """Log a warning for each setting that is allowed but may be a mistake."""
    log = structlog.get_logger()
    for sentence in unknown_variables(os.environ):
        log.warning(EventName.SETTINGS_UNKNOWN, detail=sentence)
    if settings.is_anonymous and not settings.is_loopback:
        log.warning(
            EventName.SETTINGS_ANONYMOUS,
            detail=f"every program that reaches {settings.host}:{settings.port} may delete models",
        )


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    log = structlog.get_logger()

    def on_refused(exc: Exception, request_id: str, client: str | None) -> None:
        kind = PROBLEM_TYPES[type(exc)]
        log.info(EventName.REQUEST_REFUSED, id=request_id, client=client, status=kind.status, problem=kind.slug)

    most = connections_within(settings.max_connections)
    connection: Any = partial(
        HttpConnection,
        gate=ConnectionGate(most, lambda limit: log.warning(EventName.CONNECTIONS_FULL, limit=limit)),
        times=CallerTimes(
            settings.head_timeout.total_seconds(), BODY_WINDOW * settings.upload_stall_timeout.total_seconds()
        ),
        on_refused=on_refused,
    )
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=connection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        headers=[(SERVED_BY, settings.served_by)] if settings.served_by else [],
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=max(1, int(settings.keep_alive.total_seconds())),
        timeout_graceful_shutdown=int(settings.shutdown_grace.total_seconds() / ENGINE_SHARE) + MARGIN_SECONDS,
    )


def _stop_times(settings: Settings) -> StopTimes:
    grace = settings.shutdown_grace.total_seconds()
    answer_seconds = min(LONGEST_ANSWER_SECONDS, grace / ANSWER_SHARE)
    return StopTimes(settings.drain_time.total_seconds(), grace / ENGINE_SHARE - answer_seconds, answer_seconds)
