"""Translates OSErrors from the disk of the state folder into StateError, in the service and in the engine process."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import StateError, StateFull, StateUnavailable

FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT}
OS_ERROR = re.compile(r"\w*Error: \[Errno (?P<number>\d+)\] (?P<text>.*)", re.DOTALL)
"""Matches the text of a Python OSError in the error text of a failed engine call."""
FULL_OF_VENDOR = re.compile(r"No space left on device|Disk quota exceeded")
"""Matches .NET's text for a full disk inside an error of the vendor's library."""


@contextmanager
def explaining_state_errors() -> Iterator[None]:
    """Raise StateFull or StateUnavailable in place of OSError."""
    try:
        yield
    except OSError as exc:
        if exc.errno is None:  # an OSError that no system call raised, such as a TimeoutError of asyncio
            raise
        text = ": ".join(str(part) for part in (exc.filename, exc.strerror or exc) if part)
        raise state_error(exc.errno, text) from exc


def state_error(number: int | None, text: str) -> StateError:
    """Return the StateError for an OSError of the state folder's disk: its number (`errno`) and its text."""
    return StateFull(text) if number in FULL_ERRORS else StateUnavailable(text)


def state_error_in(reason: str) -> StateError | None:
    """Return the StateError if `reason`, the error of an engine call, is about the state folder's disk; else None."""
    if match := OS_ERROR.fullmatch(reason):
        return state_error(int(match["number"]), match["text"])
    if match := FULL_OF_VENDOR.search(reason):
        return StateFull(match[0])
    return None
