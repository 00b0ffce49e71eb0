"""Configures logging: each event is one line on stderr, readable on a terminal and JSON otherwise."""

import json
import logging
import sys

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

_SHARED: tuple[Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


_encode = json.JSONEncoder(default=repr).encode


def _to_json(event: object, **_: object) -> str:
    """Encode an event as JSON. json.dumps makes a new encoder for each line, and takes twice as long for a request."""
    return _encode(event)


def configure(log_format: str, level: str) -> None:
    """Make structlog and the standard library's logging (uvicorn) write lines in one format.

    `log_format` and `level` are the values of OCR_LOG_FORMAT and OCR_LOG_LEVEL.
    """
    is_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    rendering: list[Processor]
    # Tracebacks omit the values of variables, which may be keys, tokens or models' bytes.
    if is_console:
        rendering = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    else:
        tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        rendering = [tracebacks, structlog.processors.JSONRenderer(_to_json)]
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
    logging.getLogger("httpx").setLevel(logging.WARNING)  # at info, it logs URLs, whose queries may hold signatures
