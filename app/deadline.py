"""The end of a shutdown that would never end: a thread that waits for a file system's lost server cannot be stopped."""

import os
import threading

import structlog

from app.events import EventName

MARGIN_SECONDS = 1.0
"""How much longer than its grace a shutdown may take: what is in order ends by itself."""


def end_after(seconds: float) -> None:
    """End this process, with a failure, if it still runs after so long. The engine's process ends with it."""
    timer = threading.Timer(seconds + MARGIN_SECONDS, _end, [seconds])
    timer.daemon = True
    timer.start()


def _end(seconds: float) -> None:
    structlog.get_logger().critical(EventName.SERVICE_SHUTDOWN_OVERDUE, grace_seconds=seconds)
    os._exit(1)
