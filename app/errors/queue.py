"""The errors of the queue of units, if a database keeps it."""

from app.errors.base import ServiceError


class QueueUnavailable(ServiceError):
    """The database that keeps the queue does not answer, or refuses this service."""

    def __init__(self, reason: str) -> None:
        """`reason` names the database's host; the message, which callers get, does not."""
        super().__init__(
            "The database of the queue (OCR_JOBS_URL) is not available, so no job can be created, and none was. Jobs "
            "that exist can be read and cancelled, and running units are finished. Try again in a moment; the "
            "service's log and /readyz?verbose have the reason."
        )
        self.reason = reason
