"""One request's work on a resumable upload: checks the offset, appends the chunk, and publishes the complete model."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from anyio import CancelScope, to_thread

from app import errors
from app.api.http import request_errors
from app.api.models.upload_receiver import UploadReceiver
from app.api.uploads.tus import Checksum
from app.store import Actor, Conditions, Incoming, PartialRecord, Published, StagedFile

T = TypeVar("T")
SHA256 = "sha256"


class ResumableUpload:
    """An upload that one request has locked: no other request can lock it before `release()` or `discard()`."""

    def __init__(self, incoming: Incoming, receiver: UploadReceiver, staged: StagedFile, record: PartialRecord) -> None:
        self._incoming = incoming
        self._receiver = receiver
        self._staged = staged
        self._record = record
        self._size_bytes = record.expected_bytes or 0

    @property
    def offset(self) -> int:
        """How many bytes are stored; the next chunk begins there."""
        return self._staged.size_bytes

    async def check_offset(self, offset: int, *, keeps_complete: bool = False) -> None:
        """Check that the caller's next chunk begins at the upload's offset; raises OffsetMismatch.

        If the upload is complete but its model could not be published, the last byte is dropped first. So a client
        that asks for the offset does not take the upload for finished, and sending that byte publishes the model.
        With `keeps_complete` a complete upload stays so.
        """
        if self.offset >= self._size_bytes and not keeps_complete:
            await self._run(self._staged.cut, self._size_bytes - 1)
        if offset != self.offset:
            raise request_errors.OffsetMismatch(self.offset)

    async def receive(self, body: AsyncIterator[bytes], checksum: Checksum | None) -> None:
        """Append a chunk. If the connection breaks, the bytes received so far are kept.

        A chunk with a checksum is kept as a whole or discarded.
        Raises BodyCutShort, UploadStalled, BodyTooLarge, ChecksumMismatch, StoreFull.
        """
        start = self.offset
        try:
            await self._receiver.receive(body, self._staged, self._size_bytes - start)
            if checksum and await self._run(self._staged.digest_since, start, checksum.algorithm) != checksum.digest:
                raise request_errors.ChecksumMismatch(checksum.algorithm)
        except BaseException:
            if checksum:
                with CancelScope(shield=True):
                    await self._run(self._staged.cut, start)
            raise

    async def complete(self) -> None:
        """Check and sync a file for a job, if all its bytes have arrived. Raises DigestMismatch, StoreFull etc."""
        if self.offset < self._size_bytes:
            return
        if sha256 := self._record.extra.get("sha256"):
            received = (await self._run(self._staged.digest, SHA256)).hex()
            if received != sha256:
                await self._run(self._staged.drop)
                raise errors.DigestMismatch(
                    self._record.extra.get("file_name") or self._record.id, SHA256, sha256, received
                )
        await self._run(self._staged.sync)

    async def publish(self, actor: Actor) -> Published | None:
        """Publish the model if the upload is complete; else return None.

        Raises what `Incoming.publish` raises. A DigestMismatch also deletes the upload.
        """
        if self.offset < self._size_bytes:
            return None
        extra = self._record.extra
        announced = {"sha256": [bytes.fromhex(extra["sha256"])]} if extra.get("sha256") else {}
        conditions = Conditions(_set_of(extra.get("if_match")), _set_of(extra.get("if_none_match")))
        try:
            name = self._record.name
            return await self._run(self._incoming.publish, name, self._staged, conditions, actor, announced)
        except errors.DigestMismatch:
            await self._run(self._staged.drop)
            raise

    async def release(self) -> None:
        """Keep the bytes and release the upload, so that another request can resume it."""
        with CancelScope(shield=True):
            await self._run(self._staged.release)

    async def discard(self) -> None:
        """Delete the bytes and the upload."""
        with CancelScope(shield=True):
            await self._run(self._staged.drop)

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(partial(call, *arguments), limiter=self._receiver.threads)


def _set_of(etags: list[str] | None) -> frozenset[str] | None:
    return None if etags is None else frozenset(etags)
