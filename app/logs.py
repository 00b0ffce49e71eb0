"""Configures logging: each event is one line on stderr, readable on a terminal and JSON otherwise."""

import json
import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from app import tracing
from app.terminal import visible, visible_lines

LOGGED_ALREADY = {"Invalid HTTP request received.", "ASGI callable returned without completing response."}
"""uvicorn's messages for what this service logs itself, as `request.refused` and `request.cut`."""


def _add_trace(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the present trace and span, if traces are on."""
    event.update(tracing.present_ids())
    return event


_SHARED: tuple[Processor, ...] = (
    structlog.stdlib.add_log_level,
    _add_trace,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


_encode = json.JSONEncoder(default=repr).encode


def _to_json(event: object, **_: object) -> str:
    """Encode an event as JSON. `json.dumps` would create a new encoder for each line and take twice as long."""
    return _encode(event)


def _escape(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters, such as those in a model's name that would clear the screen of a terminal."""
    return {key: visible_lines(value) if key == "exception" else _escaped(value) for key, value in event.items()}


def _escaped(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    return value if value is None or isinstance(value, int | float) else visible(repr(value))


def is_console(log_format: str) -> bool:
    """True if the log is text for people. `log_format` is the value of OCR_LOG_FORMAT."""
    return log_format == "console" or (log_format == "auto" and sys.stderr.isatty())


def format_in(environment: Mapping[str, str]) -> str:
    """Return the value of OCR_LOG_FORMAT in an environment, or `auto` if the variable is unset or not valid."""
    given = environment.get("OCR_LOG_FORMAT", "").strip()
    return given if given in {"console", "json"} else "auto"


def configure_from_environment(environment: Mapping[str, str]) -> None:
    """Configure logging before the settings are read, so that a failed start is logged in the requested format."""
    configure(format_in(environment), "info")


def configure(log_format: str, level: str, *, service: str | None = None) -> None:
    """Make structlog and the standard library's logging (uvicorn) write lines in one format.

    `log_format` and `level` are the values of OCR_LOG_FORMAT and OCR_LOG_LEVEL. `service` names this service in each
    line of JSON, so that the lines of several services may be in one place; None for lines without a name.
    """

    def add_service(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if service is not None:
            event.setdefault("service", service)
        return event

    rendering: list[Processor]
    # Tracebacks omit the values of variables, which may be keys, tokens or models' bytes.
    if is_console(log_format):
        # Format the traceback before escaping, because an exception may quote a caller's text.
        plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        rendering = [structlog.processors.format_exc_info, _escape, plain]
    else:
        tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        rendering = [add_service, tracebacks, structlog.processors.JSONRenderer(_to_json)]
    structlog.configure(
        processors=[*_SHARED, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    _log_what_python_prints()
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg not in LOGGED_ALREADY)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # at info, it logs URLs, whose queries may hold signatures


def _log_what_python_prints() -> None:
    """Log the exceptions that Python would print itself: in the main thread, in another thread, or in a destructor."""
    log = logging.getLogger("python")

    def on_exception(_: object, exc: BaseException, __: object) -> None:
        log.critical("the process failed", exc_info=exc)

    def on_thread(failure: threading.ExceptHookArgs) -> None:
        log.error("a thread failed", exc_info=failure.exc_value)

    def on_unraisable(failure: Any) -> None:  # noqa: ANN401 - its class is only in typing stubs
        log.error("an exception could not be raised: %s", failure.err_msg, exc_info=failure.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = on_exception, on_thread, on_unraisable
