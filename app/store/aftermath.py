"""Collects failures that follow a completed change: they are reported beside the result, not as an error.

A change has been made as soon as its rename or unlink has succeeded. If a later step fails, such as the sync of a
folder, the removal of a record or the journal, an error would tell the caller that nothing was changed. So the failure
is noted here instead: the answer to the request states the failure in the header `change-warning`, and `Journal.record`
reports it as an event.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from app.errors import StoreError


@dataclass(slots=True)
class _Noted:
    failures: list[str] = field(default_factory=list)
    reported: int = 0


_noted: ContextVar[_Noted | None] = ContextVar("failures after a change", default=None)


def collect_failures() -> None:
    """Start an empty list of failures for the present request, shared with the threads that work for the request."""
    _noted.set(_Noted())


def note_failure(what: str) -> None:
    """Note that something failed after a change. `what` is a clause, such as 'the journal lacks it: disk full'."""
    noted = _noted.get()
    if noted is None:
        _noted.set(noted := _Noted())
    noted.failures.append(what)


def noted_failures() -> list[str]:
    """Return the failures that the present request has noted since `collect_failures`."""
    noted = _noted.get()
    return list(noted.failures) if noted else []


def unreported_failures() -> list[str]:
    """Return the failures that were noted since the last call of this function, for the present request."""
    noted = _noted.get()
    if noted is None or noted.reported == len(noted.failures):
        return []
    unreported = noted.failures[noted.reported :]
    noted.reported = len(noted.failures)
    return unreported


@contextmanager
def after_change(unfinished: str) -> Iterator[None]:
    """Note an OSError or StoreError of the `with` block instead of raising it. `unfinished` names the block's step."""
    try:
        yield
    except (OSError, StoreError) as exc:
        note_failure(f"{unfinished}: {exc.strerror if isinstance(exc, OSError) and exc.strerror else exc}")
