"""Downloads images from allowed URLs into files, within the limits of images and of pulls."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
from anyio import to_thread

from app.api.http import threads
from app.api.images.blocks import in_blocks
from app.api.images.received import MAX_NAME_CHARS, Image
from app.engine.native.state_errors import explaining_state_errors
from app.errors import ImageTooLarge, ServiceError, SourceMismatch, SourceUnavailable
from app.fetching.allowed_urls import PLAIN_HINTS, AllowedUrls
from app.fetching.checked_chunks import LeastRate, checked_chunks
from app.fetching.foreign_text import printable
from app.fetching.http_client import HttpClient, label_of, shown

AT_ONCE = 4
"""How many images of one request are downloaded at once."""


class ImageDownloads:
    """Downloads the images that requests give by their URLs. A URL and its redirects must be allowed for pulls."""

    def __init__(
        self, http: HttpClient, allowed: AllowedUrls, least_rate: LeastRate, *, max_bytes: int, seconds: float
    ) -> None:
        """`max_bytes` limits an image; `seconds` the download of all images of one request together."""
        self._http = http
        self._allowed = allowed
        self._least_rate = least_rate
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def fetch(self, urls: Sequence[str], folder: Path, password: str | None) -> list[Image]:
        """Download the images into folders of their own in `folder`, and return them in the order of the URLs.

        An image that cannot be downloaded has an `error`: a SourceError, ImageTooLarge or a StateError.
        """
        deadline = asyncio.get_running_loop().time() + self._seconds
        limiter = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as tasks:
                fetched = [
                    tasks.create_task(self._fetch(url, folder / str(number) / "image", password, limiter, deadline))
                    for number, url in enumerate(urls)
                ]
        except ExceptionGroup as failures:  # a defect, or a resource of the system that is used up
            raise failures.exceptions[0] from failures
        return [task.result() for task in fetched]

    async def aclose(self) -> None:
        """Close the connections to the sources."""
        await self._http.aclose()

    async def _fetch(
        self, url: str, path: Path, password: str | None, limiter: asyncio.Semaphore, deadline: float
    ) -> Image:
        error: ServiceError | None = None
        try:
            async with asyncio.timeout_at(deadline), limiter:
                await self._download(url, path)
        except TimeoutError:
            reason = f"it has not arrived within {self._seconds:g} s (OCR_IMAGE_DOWNLOAD_TIMEOUT)"
            error = SourceUnavailable(_label(url), reason)
        except ServiceError as exc:
            error = exc
        return Image(path, _label(url), password, error)

    async def _download(self, url: str, path: Path) -> None:
        label = _label(url)
        requested = self._http.open(url, hints=PLAIN_HINTS, check_url=self._allowed.check)
        async with requested as answer:
            if answer.start:
                raise SourceMismatch(label, "the source sent only a part of it")
            self._check_size(answer.total_bytes or 0)
            chunks = checked_chunks(
                answer.chunks(), label, self._least_rate, self._check_size, expected_bytes=answer.total_bytes
            )
            async for block in in_blocks(chunks):
                with explaining_state_errors():
                    await to_thread.run_sync(_append, path, block, limiter=threads.images)

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise ImageTooLarge(f"{size_bytes:,} bytes or more", f"{self._max_bytes:,} (OCR_MAX_IMAGE_BYTES)")


def _append(path: Path, block: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(block)


def _label(url: str) -> str:
    """Return a URL for messages and results: without user, password and query, which may be secret."""
    try:
        text = shown(httpx.URL(url))
    except (httpx.InvalidURL, UnicodeError):
        text = label_of(url).rpartition("@")[2]
    return printable(text, MAX_NAME_CHARS)
