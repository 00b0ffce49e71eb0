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
from app.fetching.http_client import HttpClient, label_of, parsed, shown


class ImageDownloads:
    """Downloads the images that requests give by their URLs. A URL and its redirects must be allowed for pulls."""

    def __init__(
        self, http: HttpClient, allowed: AllowedUrls, least_rate: LeastRate, *, max_bytes: int, seconds: float
    ) -> None:
        """`max_bytes` limits an image; `seconds` its download."""
        self._http = http
        self._allowed = allowed
        self._least_rate = least_rate
        self._max_bytes = max_bytes
        self._seconds = seconds

    def check(self, urls: Sequence[str]) -> None:
        """Raise SourceNotAllowed for the first URL if none of the URLs is valid and allowed."""
        refusals = [exc for exc in map(self._refusal, urls) if exc]
        if urls and len(refusals) == len(urls):
            raise refusals[0]

    def _refusal(self, url: str) -> ServiceError | None:
        try:
            self._allowed.check(parsed(url))
        except ServiceError as exc:
            return exc
        return None

    async def fetch(self, url: str, folder: Path, password: str | None) -> Image:
        """Download an image into a folder of its own below `folder`.

        Raises a SourceError, ImageTooLarge and a StateError.
        """
        path = folder / "0" / "image"
        try:
            async with asyncio.timeout(self._seconds):
                await self._download(url, path)
        except TimeoutError:
            reason = f"it has not arrived within {self._seconds:g} s (OCR_IMAGE_DOWNLOAD_TIMEOUT)"
            raise SourceUnavailable(label_of_image(url), reason) from None
        return Image(path, label_of_image(url), password)

    async def aclose(self) -> None:
        """Close the connections to the sources."""
        await self._http.aclose()

    async def _download(self, url: str, path: Path) -> None:
        label = label_of_image(url)
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


def label_of_image(url: str) -> str:
    """Return a URL for messages and results: without user, password and query, which may be secret."""
    try:
        text = shown(httpx.URL(url))
    except (httpx.InvalidURL, UnicodeError):
        text = label_of(url).rpartition("@")[2]
    return printable(text, MAX_NAME_CHARS)
