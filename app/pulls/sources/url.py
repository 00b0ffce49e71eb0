"""The source for plain URLs below the prefixes of `OCR_PULL_ALLOWED_URLS`."""

from contextlib import AbstractAsyncContextManager
from urllib.parse import unquote

import httpx
from anyio import CapacityLimiter

from app.errors import SourceNotAllowed
from app.pulls.request import PullRequest
from app.pulls.sources.base import SourceFile
from app.pulls.sources.http import Hints, HttpAnswer, HttpClient, origin_of, shown

HINTS = Hints(not_found="Check the URL", refused="Plain URLs are requested without credentials")


class UrlSource:
    """The source for plain URLs. A URL and each of its redirects must be below one of the allowed URLs."""

    def __init__(self, http: HttpClient, allowed_urls: tuple[str, ...]) -> None:
        self._http = http
        self._allowed = [httpx.URL(url) for url in allowed_urls]

    def accepts(self, request: PullRequest) -> bool:
        """Return True if the request names a URL."""
        return request.url is not None

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:  # noqa: ARG002 - see Source
        """Request the URL and return its one file, with the file's size; raises what `open` raises."""
        file = SourceFile(request.target, request.url or "")
        async with self.open(file) as answer:
            return [SourceFile(file.name, file.url, answer.total_bytes)]

    def open(
        self, file: SourceFile, start: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[HttpAnswer]:
        """Request a file's bytes from position `start` on; raises what `HttpClient.open` raises."""
        return self._http.open(file, start, etag, hints=HINTS, check_url=self._check)

    async def aclose(self) -> None:
        """Close the connections of the source."""
        await self._http.aclose()

    def _check(self, url: httpx.URL) -> None:
        if not self._allowed:
            raise SourceNotAllowed(shown(url), "OCR_PULL_ALLOWED_URLS allows no URL to be pulled")
        if url.userinfo or not any(_is_below(url, allowed) for allowed in self._allowed):
            raise SourceNotAllowed(shown(url), "it is not below any of OCR_PULL_ALLOWED_URLS")


def _is_below(url: httpx.URL, allowed: httpx.URL) -> bool:
    """Return True if a URL has the origin and the leading path parts of an allowed URL, and no part `..`."""
    parts, first = unquote(url.path).split("/"), allowed.path.rstrip("/").split("/")
    return origin_of(url) == origin_of(allowed) and ".." not in parts and parts[: len(first)] == first
