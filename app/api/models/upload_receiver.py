"""Receives the bodies of uploads: streams them to staged files, and limits how many arrive at once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

from anyio import CapacityLimiter

from app.api.http.deps import part
from app.api.http.disconnects import next_chunk
from app.api.http.request_errors import BodyTooLarge, UploadsBusy
from app.store import StagedFile, write_all

REST_OF_LENGTH = "the rest of Upload-Length"
"""The limit that the message of BodyTooLarge names for a chunk of an upload."""
UPLOAD_LIMIT_VARIABLE = "OCR_MAX_UPLOAD_BYTES"
"""The setting that the message of BodyTooLarge names."""


class UploadReceiver:
    """Writes the bodies of uploads to staged files. Limits their number at once, their size and their pauses."""

    def __init__(self, *, max_uploads: int, max_bytes: int, stall_seconds: float, retention: timedelta) -> None:
        """`max_bytes` and `stall_seconds` may be 0 for no limit."""
        self.threads = CapacityLimiter(max_uploads)
        """Threads for uploads only: writing to a slow disk delays no other request."""
        self._free = max_uploads
        self._max_uploads = max_uploads
        self.max_bytes = max_bytes
        self.retention = retention
        """How long an unfinished upload is kept."""
        self._stall_seconds = stall_seconds or None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy one of the slots for uploads; raises UploadsBusy if all are taken."""
        if not self._free:
            raise UploadsBusy(self._max_uploads)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    def check_size(self, size_bytes: int) -> None:
        """Raise BodyTooLarge if a model of `size_bytes` exceeds the limit."""
        if self.max_bytes and size_bytes > self.max_bytes:
            raise BodyTooLarge(self.max_bytes, UPLOAD_LIMIT_VARIABLE)

    async def receive(self, body: AsyncIterator[bytes], staged: StagedFile, most_bytes: int | None = None) -> None:
        """Write a body of at most `most_bytes` to a staged file. After an error, the file keeps the bytes received.

        Raises BodyTooLarge, UploadStalled, BodyCutShort, StoreFull and StoreReadOnly.
        """
        await write_all(self._checked(body, staged.size_bytes, most_bytes), staged, self.threads)

    async def require_end(self, body: AsyncIterator[bytes]) -> None:
        """Check that the body of a chunk after an upload's end is empty.

        Raises BodyTooLarge, UploadStalled and BodyCutShort.
        """
        if await next_chunk(body, self._stall_seconds):
            raise BodyTooLarge(0, REST_OF_LENGTH)

    async def _checked(
        self, body: AsyncIterator[bytes], staged_bytes: int, most_bytes: int | None
    ) -> AsyncIterator[bytes]:
        """Yield the body's chunks until a limit is exceeded."""
        received = 0
        while chunk := await next_chunk(body, self._stall_seconds):
            received += len(chunk)
            self.check_size(staged_bytes + received)
            if most_bytes is not None and received > most_bytes:
                raise BodyTooLarge(most_bytes, REST_OF_LENGTH)
            yield chunk


UploadReceiverDep = Annotated[UploadReceiver, part("upload_receiver")]
