"""Receives the images of a request body into files, within limits.

The body is one image, a form with files, or JSON with URLs.
"""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from anyio import CancelScope, to_thread
from python_multipart.multipart import parse_options_header

from app.api.http import threads
from app.api.http.disconnects import next_chunk
from app.api.http.header_fields import FORM, JSON
from app.api.http.request_errors import BodyTooLarge
from app.api.images.archives import ArchiveLimits
from app.api.images.blocks import in_blocks
from app.api.images.form_parser import IMAGE_LIMIT_VARIABLE, Fields, Files, Form, Raw
from app.api.images.job_files import unpack_archives
from app.api.images.received import Image, ImageBody, Received
from app.api.images.upload_ids import UPLOADS, upload_ids
from app.api.images.uploads import Uploads
from app.api.images.url_body import UrlBody
from app.engine.native.state_errors import explaining_state_errors
from app.jobs.units.new_units import NewUnits
from app.store import explaining_refusals

FORM_BYTES = 1 << 16
"""How many bytes of fields and headers a form may have besides its files, for each file."""
ARCHIVE_TYPES = (b"application/zip", b"application/x-zip-compressed", b"application/octet-stream")
"""The types of bodies that may be ZIP archives, which may be larger than an image."""
Parser = Raw | Form | UrlBody


class ImageReceiver:
    """Receives images into folders, which exist until the images are recognised."""

    def __init__(
        self, make_folder: Callable[[], Path], *, max_bytes: int, max_json_bytes: int, stall_seconds: float
    ) -> None:
        """`max_bytes` limits an image, `max_json_bytes` a body with URLs.

        `stall_seconds` is the longest pause between two chunks of a body; 0 for no limit.
        """
        self._make_folder = make_folder
        self._max_bytes = max_bytes
        self._max_json_bytes = max_json_bytes
        self._stall_seconds = stall_seconds or None

    @asynccontextmanager
    async def receive(self, body: ImageBody, options: frozenset[str]) -> AsyncIterator[Received]:
        """Receive the image of a request into a folder, which is removed when the context ends, also after an error.

        `options` has the names of the options that a form or a JSON body may have. Raises BodyTooLarge, BodyCutShort,
        UploadStalled, UnsupportedForm, RequestValidationError, StateFull and StateUnavailable.
        """
        async with self.folder() as folder:
            files = Files(lambda _: folder / "image", self._max_bytes, 1, body.password)
            yield await self._receive_into(folder, files, body, options, explaining_state_errors)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """Make a folder for one image, which is removed when the context ends. Raises StateFull, StateUnavailable."""
        folder = await to_thread.run_sync(self._make_folder, limiter=threads.images)
        try:
            yield folder
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(shutil.rmtree, folder, True, limiter=threads.images)  # noqa: FBT003

    async def receive_units(self, new: NewUnits, body: ImageBody, options: frozenset[str], most_files: int) -> Received:
        """Receive the images of a job into the folder of the job that is being created. Unpack ZIP archives.

        Raises UnsupportedArchive and what `receive` raises, with StoreFull, StoreUnavailable and other StoreErrors in
        place of StateErrors.
        """
        limits = ArchiveLimits(self._max_bytes, most_files)
        max_archive_bytes = self._max_bytes * most_files
        files = Files(new.path_of, self._max_bytes, most_files, body.password, max_archive_bytes=max_archive_bytes)
        received = await self._receive_into(new.folder.inputs, files, body, options, explaining_refusals)
        if not files.has_archives:
            return received
        with explaining_refusals():
            return replace(received, images=await unpack_archives(new, received.images, limits))

    async def take_uploads(self, new: NewUnits, uploads: Uploads, password: str | None, most_files: int) -> list[Image]:
        """Make finished uploads the files of the job that is being created, and unpack ZIP archives.

        Raises UploadUnusable, UnsupportedArchive, BodyTooLarge, StoreFull, StoreUnavailable and other StoreErrors.
        """
        limits = ArchiveLimits(self._max_bytes, most_files)
        with explaining_refusals():
            link = partial(uploads.link, new, password, limits.max_file_bytes)
            images = await to_thread.run_sync(link, limiter=threads.images)
            return await unpack_archives(new, images, limits)

    async def _receive_into(
        self,
        folder: Path,
        files: Files,
        body: ImageBody,
        options: frozenset[str],
        explaining: Callable[[], AbstractContextManager[None]],
    ) -> Received:
        """Receive the images of a request. `explaining` translates the errors of their disk."""
        most_files = files.most_files
        media_type, parameters = parse_options_header(body.content_type)
        is_form, is_json = media_type == FORM.encode(), media_type == JSON.encode()
        too_large, most_bytes = BodyTooLarge(self._max_bytes, IMAGE_LIMIT_VARIABLE), self._max_bytes
        if is_form:
            most_bytes = (self._max_bytes + FORM_BYTES) * most_files
        elif is_json:
            too_large, most_bytes = BodyTooLarge(self._max_json_bytes), self._max_json_bytes
        elif files.max_archive_bytes and media_type in ARCHIVE_TYPES:
            most_bytes = files.max_archive_bytes
        if body.content_length > most_bytes:
            raise too_large
        fields = Fields(options | {UPLOADS} if files.max_archive_bytes else options)
        parser: Parser = Form(files, fields, parameters) if is_form else Raw(files)
        if is_json:
            parser = UrlBody(options, most_files, takes_uploads=files.max_archive_bytes is not None)
        with explaining():
            try:
                await self._write_all(body.chunks, parser, most_bytes, too_large)
            finally:
                await to_thread.run_sync(files.close, limiter=threads.images)
        if isinstance(parser, UrlBody):
            return Received(folder, [], parser.fields, parser.urls, body.password, parser.uploads)
        values = fields.values()
        uploads = upload_ids(values.pop(UPLOADS)) if UPLOADS in values else ()
        return Received(folder, files.images, values, (), body.password, uploads)

    async def _write_all(
        self, chunks: AsyncIterator[bytes], parser: Parser, most_bytes: int, too_large: BodyTooLarge
    ) -> None:
        async def counted() -> AsyncIterator[bytes]:
            received = 0
            while chunk := await next_chunk(chunks, self._stall_seconds):
                received += len(chunk)
                if received > most_bytes:
                    raise too_large
                yield chunk

        async for block in in_blocks(counted()):
            await to_thread.run_sync(parser.write, block, limiter=threads.images)
        await to_thread.run_sync(parser.finish, limiter=threads.images)
