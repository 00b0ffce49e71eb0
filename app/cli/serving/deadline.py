"""Ends a process whose shutdown takes too long: a thread that waits for a lost file server cannot be stopped."""

import os
import threading

import structlog

from app.events import EventName

MARGIN_SECONDS = 1.0
"""The time added to the grace of a shutdown, so that a shutdown that works is never ended."""


def end_after(seconds: float) -> None:
    """Exit with status 1 if this process still runs after `seconds` and a margin. The engine process ends with it."""
    timer = threading.Timer(seconds + MARGIN_SECONDS, _end, [seconds])
    timer.daemon = True
    timer.start()


def _end(seconds: float) -> None:
    structlog.get_logger().critical(EventName.SERVICE_SHUTDOWN_OVERDUE, grace_seconds=seconds)
    os._exit(1)
