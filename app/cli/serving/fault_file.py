"""Keeps the traceback of a fatal signal, which Python writes as many lines, out of a log of JSON lines.

PYTHONFAULTHANDLER=1 makes Python write a traceback when a signal such as SIGSEGV ends the process. A dying process
cannot encode JSON, so the traceback goes to a file in the state folder, and the next start logs it as one event.
"""

import contextlib
import faulthandler
import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from app.events import EventName

MAX_CHARS = 1 << 15
"""How much of a traceback is logged."""
PREFIX, SUFFIX = "fault-", ".txt"


@contextmanager
def fault_file(state_dir: Path) -> Iterator[None]:
    """Log the tracebacks of services that a fatal signal ended, and direct that of this process to a file.

    Without PYTHONFAULTHANDLER Python writes no traceback, and there is no file. Raises OSError.
    """
    _log_earlier(state_dir)
    if not faulthandler.is_enabled():
        yield
        return
    with tempfile.NamedTemporaryFile("w", prefix=PREFIX, suffix=SUFFIX, dir=state_dir, delete=False) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            Path(file.name).unlink(missing_ok=True)


def _log_earlier(state_dir: Path) -> None:
    """Log and remove the files of services that have ended: they no longer lock them."""
    for path in state_dir.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(OSError), path.open(errors="replace") as file:  # locked, or removed by another service
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if text := file.read(MAX_CHARS):
                structlog.get_logger().error(EventName.SERVICE_FAULT_FOUND, output=text)
            path.unlink()
