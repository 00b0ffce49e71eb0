"""Takes in an image: raw or as the one file of a form, bounded, straight into a file and never into memory."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from anyio import CancelScope, CapacityLimiter, to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from app.api.refusals import BodyCutShort, BodyTooLarge, UnsupportedForm, UploadStalled
from app.engine.recognition import MEDIA_TYPES
from app.errors import UnsupportedImage

FORM = "multipart/form-data"
FORM_BYTES = 1 << 16
"""What a form may add to its file: its fields and its headers."""
BUFFER_BYTES = 1 << 20
threads = CapacityLimiter(4)
"""Of their own: whoever sends images keeps no deletion waiting."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that came."""

    path: Path
    media_type: str | None
    """What the caller says that it is."""


class ImageIntake:
    """Where images wait while they are recognised."""

    def __init__(self, make_folder: Callable[[], Path], *, max_bytes: int, stall_seconds: float) -> None:
        """`stall_seconds` may be 0 for no limit."""
        self._make_folder = make_folder
        self._max_bytes = max_bytes
        self._stall_seconds = stall_seconds or None

    @asynccontextmanager
    async def image(self, request: Request) -> AsyncIterator[Image]:
        """The image of a request, in a folder that is gone afterwards, whatever happens.

        Raises BodyTooLarge, BodyCutShort, UploadStalled, UnsupportedForm and UnsupportedImage.
        """
        media_type, options = parse_options_header(request.headers.get("content-type", ""))
        is_form = media_type == FORM.encode()
        most_bytes = self._max_bytes + FORM_BYTES if is_form else self._max_bytes
        self._check_size(int(request.headers.get("content-length", 0)), most_bytes)
        folder = await to_thread.run_sync(self._make_folder, limiter=threads)
        try:
            path = folder / "image"
            with await to_thread.run_sync(path.open, "wb", limiter=threads) as file:
                body: _Raw | _Form = _Form(file, options, self._max_bytes) if is_form else _Raw(file, media_type)
                await self._receive(request, body, most_bytes)
            yield Image(path, body.media_type)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(shutil.rmtree, folder, True, limiter=threads)  # noqa: FBT003

    async def _receive(self, request: Request, body: "_Raw | _Form", most_bytes: int) -> None:
        chunks = request.stream()
        received, filling = 0, bytearray()
        while chunk := await self._next(chunks):
            received += len(chunk)
            self._check_size(received, most_bytes)
            filling += chunk
            if len(filling) >= BUFFER_BYTES:
                await to_thread.run_sync(body.write, bytes(filling), limiter=threads)
                filling.clear()
        await to_thread.run_sync(body.write, bytes(filling), limiter=threads)
        await to_thread.run_sync(body.finish, limiter=threads)

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes:
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await anext(chunks)
        except TimeoutError:
            raise UploadStalled(self._stall_seconds or 0) from None
        except ClientDisconnect:
            raise BodyCutShort from None

    def _check_size(self, size_bytes: int, most_bytes: int) -> None:
        if size_bytes > most_bytes:
            raise BodyTooLarge(self._max_bytes, "OCR_MAX_IMAGE_BYTES")


class _Raw:
    """A body that is the image."""

    def __init__(self, file: IO[bytes], media_type: bytes) -> None:
        self.media_type = _told(media_type.decode("latin-1"))
        self._file = file

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def finish(self) -> None:
        self._file.flush()


class _Form:
    """A form whose field `file` is the image; its other fields are ignored."""

    def __init__(self, file: IO[bytes], options: dict[bytes, bytes], max_bytes: int) -> None:
        self.media_type: str | None = None
        self._file = file
        self._max_bytes = max_bytes
        self._headers: dict[str, str] = {}
        self._name, self._value = b"", b""
        self._files, self._is_file, self._is_over = 0, False, False
        if not options.get(b"boundary"):
            raise UnsupportedForm("its content type names no boundary")
        callbacks: Any = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError as exc:
            raise UnsupportedForm(f"its boundary cannot be used ({exc})") from exc

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except (MultipartParseError, FormParserError) as exc:
            raise UnsupportedForm(f"it is broken ({exc})") from exc

    def finish(self) -> None:
        if not self._is_over:
            raise UnsupportedForm("it ends early")
        if self._files != 1:
            raise UnsupportedForm(f"it has {self._files} of them")
        self._file.flush()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._is_file = options.get(b"name") == b"file"
        if self._is_file:
            self._files += 1
            self.media_type = _told(self._headers.get("content-type", ""))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            return
        self._file.write(data[start:end])
        if self._file.tell() > self._max_bytes:
            raise BodyTooLarge(self._max_bytes, "OCR_MAX_IMAGE_BYTES")

    def _on_end(self) -> None:
        self._is_over = True


def _told(content_type: str) -> str | None:
    """The media type that somebody named; None when it says nothing about the format. Raises UnsupportedImage."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in {"", "application/octet-stream"}:
        return None
    if media_type not in MEDIA_TYPES:
        raise UnsupportedImage(media_type)
    return media_type
