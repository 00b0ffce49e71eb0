"""Ends a shutdown that takes too long: a thread that waits for a file system's lost server cannot be stopped."""

import os
import threading

import structlog

from app.events import EventName

MARGIN_SECONDS = 1.0
"""How much longer than its grace a shutdown may take, so that this never ends one that works."""


def end_after(seconds: float) -> None:
    """Exit with status 1 if the process still runs after `seconds` and a margin. The engine's process dies with it."""
    timer = threading.Timer(seconds + MARGIN_SECONDS, _end, [seconds])
    timer.daemon = True
    timer.start()


def _end(seconds: float) -> None:
    structlog.get_logger().critical(EventName.SERVICE_SHUTDOWN_OVERDUE, grace_seconds=seconds)
    os._exit(1)
