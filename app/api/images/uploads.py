"""Finished uploads that become the files of a job, without being copied."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from hashlib import sha256
from typing import Any

from anyio import CancelScope, to_thread

from app.api.http import threads
from app.api.http.request_errors import BodyTooLarge
from app.api.images.archives import is_archive
from app.api.images.form_parser import IMAGE_LIMIT_VARIABLE
from app.api.images.received import MAX_NAME_CHARS, Image
from app.errors import PartialBusy, PartialNotFound, StoreError, UploadUnusable
from app.jobs.units.new_units import NewUnits
from app.store import Actor, Incoming, PartialRecord, StagedFile

KIND = "file"
"""The kind of partial file that is for a job."""


class Uploads:
    """Some uploads that this process has locked, so that nobody else uses or changes them. The methods block."""

    def __init__(self, found: Sequence[tuple[StagedFile, PartialRecord]]) -> None:
        """Use `locked_uploads`."""
        self._found = found

    def link(self, new: NewUnits, password: str | None, max_file_bytes: int) -> list[Image]:
        """Give each upload a second name, as a file of a job. Raises BodyTooLarge, StoreFull and other StoreErrors."""
        images = []
        for number, (staged, record) in enumerate(self._found):
            path = new.path_of(number)
            staged.link(path)
            if staged.size_bytes > max_file_bytes and not is_archive(path):
                raise BodyTooLarge(max_file_bytes, IMAGE_LIMIT_VARIABLE)
            name = record.extra.get("file_name")
            images.append(Image(path, name and name[:MAX_NAME_CHARS], password))
        return images

    def discard(self) -> None:
        """Delete the uploads, whose files are a job's now. What cannot be deleted stays until it expires."""
        for staged, _ in self._found:
            staged.drop()


@contextmanager
def locked_uploads(incoming: Incoming, ids: Sequence[str], actor: Actor) -> Iterator[Uploads]:
    """Lock finished uploads of a caller until the end of the context.

    Raises UploadUnusable, StoreUnavailable and other StoreErrors.
    """
    with ExitStack() as stack:
        found = []
        for upload_id in ids:
            staged, record = _hold(incoming, upload_id)
            stack.callback(staged.release)
            _check(staged, record, actor)
            found.append((staged, record))
        yield Uploads(found)


def _hold(incoming: Incoming, upload_id: str) -> tuple[StagedFile, PartialRecord]:
    try:
        return incoming.hold(upload_id)
    except PartialNotFound:
        raise UploadUnusable(upload_id, MISSING) from None
    except PartialBusy:
        raise UploadUnusable(upload_id, "another request is writing or using it; try again") from None


MISSING = "there is no such upload of yours; it may have expired, or become a job's"


def _check(staged: StagedFile, record: PartialRecord, actor: Actor) -> None:
    if record.actor != actor.name:
        raise UploadUnusable(record.id, MISSING)
    if record.kind != KIND:
        raise UploadUnusable(record.id, "it is for a model; create it with the purpose 'images' in Upload-Metadata")
    if staged.size_bytes != record.expected_bytes:
        reason = f"{staged.size_bytes} of its {record.expected_bytes} bytes have arrived; send the rest first"
        raise UploadUnusable(record.id, reason)
    announced = record.extra.get("sha256")
    if announced and staged.digest("sha256").hex() != announced:  # a service was killed before it could check that
        with contextlib.suppress(StoreError):
            staged.drop()
        raise UploadUnusable(record.id, "its bytes do not have the announced sha256; it was deleted, so send it again")


@asynccontextmanager
async def uploads_for_job(
    incoming: Incoming, ids: Sequence[str], actor: Actor, new: NewUnits
) -> AsyncIterator[Uploads]:
    """Lock finished uploads of a caller, and delete them at the end of the context if `new` has become a job.

    If this process is killed before that, they stay: the job has its own names of the files. Raises what
    `locked_uploads` raises.
    """
    stack = ExitStack()
    uploads = await to_thread.run_sync(
        stack.enter_context, locked_uploads(incoming, ids, actor), limiter=threads.images
    )
    try:
        yield uploads
    finally:
        with CancelScope(shield=True):
            if new.is_created:
                await to_thread.run_sync(uploads.discard, limiter=threads.images)
            await to_thread.run_sync(stack.close, limiter=threads.images)


def fingerprint_of(kind: str, parameters: Mapping[str, Any], ids: Sequence[str]) -> str:
    """Return the digest of a request with uploads. Their bytes are gone when it is sent again; their ids are unique."""
    return sha256(json.dumps([kind, parameters, ids], sort_keys=True).encode()).hexdigest()
