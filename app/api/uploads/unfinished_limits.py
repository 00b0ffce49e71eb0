"""Limits the number of unfinished resumable uploads: each has a file and a record that every service reads."""

from typing import Annotated

from anyio import Lock

from app.api.http.deps import part
from app.api.http.request_errors import TooManyUnfinishedUploads


class UnfinishedLimits:
    """The limits on unfinished resumable uploads that one service applies."""

    def __init__(self, *, total: int, per_key: int) -> None:
        """`total` counts the uploads of all services on the folder, `per_key` those of one API key."""
        self.lock = Lock()
        """Held while an upload is counted and created."""
        self._total = total
        self._per_key = per_key

    def check(self, actor: str, actors: list[str]) -> None:
        """Check that one more upload of `actor` may be created. `actors` has the actor of each unfinished upload.

        Raises TooManyUnfinishedUploads.
        """
        if actors.count(actor) >= self._per_key:
            raise TooManyUnfinishedUploads(self._per_key, "OCR_MAX_UNFINISHED_UPLOADS_PER_KEY", f"{actor!r} has")
        if len(actors) >= self._total:
            raise TooManyUnfinishedUploads(self._total, "OCR_MAX_UNFINISHED_UPLOADS", "The folder has")


UnfinishedLimitsDep = Annotated[UnfinishedLimits, part("unfinished_limits")]
