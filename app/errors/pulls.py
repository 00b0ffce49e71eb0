"""What can go wrong with the other side of a pull."""

from app.errors.base import ServiceError


class SourceError(ServiceError):
    """Something about where a pulled model comes from."""


class SourceNotAllowed(SourceError):
    """The settings do not let this URL be pulled from."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} cannot be pulled: {reason}. OCR_PULL_ALLOWED_URLS says from where URLs may be pulled.")
        self.url = url


class SourceNotFound(SourceError):
    """There is no such repository, revision or file."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"There is no {what}: {reason}. Check its spelling and the revision.")


class SourceRefused(SourceError):
    """The other side knows it and does not give it to us, or does not say whether it knows it."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} is not given to this service: {reason}. A private or gated repository takes an OCR_HUB_TOKEN "
            "whose owner has access to it; a repository that does not exist may be answered so too."
        )


class SourceUnavailable(SourceError):
    """The other side cannot be reached, is overloaded, or fails."""

    def __init__(self, what: str, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{what} cannot be had right now: {reason}. Try again later.")
        self.retry_after_seconds = retry_after_seconds


class SourceMismatch(SourceError):
    """What comes is not what was said to come."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what} is not what it was said to be: {reason}. Nothing was kept.")


class PullConflict(SourceError):
    """Another pull brings something else to the same place."""

    def __init__(self, name: str, job_id: str) -> None:
        super().__init__(
            f"The pull {job_id} brings {name!r} from elsewhere, or on other terms. Cancel it, or wait for its end."
        )
        self.name = name
        self.job_id = job_id
