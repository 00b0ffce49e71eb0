"""One resumable upload in the hands of one request."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import CancelScope, to_thread
from fastapi import Request

from app import errors
from app.api.http import request_errors
from app.api.models.upload_receiver import UploadReceiver
from app.api.uploads import tus
from app.store.actor import Actor
from app.store.incoming.partials import PartialRecord
from app.store.incoming.publishing import Conditions, Published, Publisher
from app.store.incoming.staged_file import StagedFile

T = TypeVar("T")


class Uploading:
    """It holds the upload's lock until `let_go()`."""

    def __init__(
        self, publisher: Publisher, receiver: UploadReceiver, staged: StagedFile, record: PartialRecord
    ) -> None:
        self._publisher = publisher
        self._receiver = receiver
        self._staged = staged
        self._record = record
        self._size_bytes = record.expected_bytes or 0

    @property
    def offset(self) -> int:
        """Where to go on."""
        return self._staged.size_bytes

    async def go_back_to(self, offset: int) -> None:
        """Insist that the caller goes on where it is; raises OffsetMismatch.

        Of an upload whose bytes all came without its model being published then, the last byte counts as missing: who
        asks where to go on must not take it for done, and who sends that byte publishes it.
        """
        if self.offset >= self._size_bytes:
            await self._run(self._staged.cut, self._size_bytes - 1)
        if offset != self.offset:
            raise request_errors.OffsetMismatch(self.offset)

    async def receive(self, request: Request) -> None:
        """Append a chunk. If the connection breaks, what came of it is kept; one with a checksum counts whole or not.

        Raises BodyCutShort, UploadStalled, BodyTooLarge, ChecksumMismatch, StoreFull.
        """
        start, checksum = self.offset, tus.checksum(request)
        try:
            await self._receiver.receive(request, self._staged, self._size_bytes - start)
            if checksum and await self._run(self._staged.digest_since, start, checksum.algorithm) != checksum.digest:
                raise request_errors.ChecksumMismatch(checksum.algorithm)
        except BaseException:
            if checksum:
                with CancelScope(shield=True):
                    await self._run(self._staged.cut, start)
            raise

    async def publish(self, actor: Actor) -> Published | None:
        """Let it be the model once all came. One that is not what was announced is given up."""
        if self.offset < self._size_bytes:
            return None
        extra = self._record.extra
        announced = {"sha256": [bytes.fromhex(extra["sha256"])]} if extra["sha256"] else {}
        conditions = Conditions(_set_of(extra["if_match"]), _set_of(extra["if_none_match"]))
        try:
            name = self._record.name
            return await self._run(self._publisher.publish, name, self._staged, conditions, actor, announced)
        except errors.DigestMismatch:
            await self._run(self._staged.discard)
            raise

    async def let_go(self) -> None:
        """Leave it to whoever goes on with it."""
        with CancelScope(shield=True):
            await self._run(self._staged.let_go)

    async def give_up(self) -> None:
        """Keep nothing of it."""
        with CancelScope(shield=True):
            await self._run(self._staged.discard)

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(partial(call, *arguments), limiter=self._receiver.threads)


def _set_of(etags: list[str] | None) -> frozenset[str] | None:
    return None if etags is None else frozenset(etags)
