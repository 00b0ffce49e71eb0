"""The errors of the source of a pull, or of an image that is given by its URL."""

import re

from app.errors.base import ServiceError


class SourceError(ServiceError):
    """An error about the source of a pulled model, or of an image given by its URL. `reason` also says what to do."""


class SourceNotAllowed(SourceError):
    """The settings do not allow requests for this URL."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} cannot be fetched: {reason}.")
        self.url = url


class SourceNotFound(SourceError):
    """There is no such repository, revision or file."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"There is no {what}: {reason}.")


class SourceRefused(SourceError):
    """The source answered 401 or 403: this service has no access, or the source hides whether the file exists."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"This service has no access to {what}: {reason}.")


def without_errno(reason: str) -> str:
    """Return the sentence of a failed system call without its number, which says nothing to most readers."""
    return re.sub(r"\[Errno -?\d+\] ", "", reason)


class SourceUnavailable(SourceError):
    """The source cannot be reached, is overloaded, or fails."""

    def __init__(self, what: str, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{what} cannot be fetched now: {without_errno(reason)}. Try again later.")
        self.retry_after_seconds = retry_after_seconds


class SourceMismatch(SourceError):
    """The source sends other data than was announced or requested."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} is not what was expected: {reason}. Nothing of it was kept. Check the source, and the "
            "digest if you gave one, then try again."
        )


class PullsMisconfigured(SourceError):
    """An environment variable of this service prevents every request to a source, such as an invalid proxy address."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"This service cannot fetch files: {reason}. Correct the environment of the service and start it again. "
            "Everything except pulls and images by URL works meanwhile."
        )


class PullConflict(SourceError):
    """An unfinished pull of the same model has another source or other parameters."""

    def __init__(self, name: str, job_id: str) -> None:
        super().__init__(
            f"The pull {job_id} fetches {name!r} from another source or on other terms. Cancel it, or wait until it "
            "has finished."
        )
        self.name = name
        self.job_id = job_id
