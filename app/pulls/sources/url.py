"""The source for plain URLs below the prefixes of `OCR_PULL_ALLOWED_URLS`."""

from contextlib import AbstractAsyncContextManager

from anyio import CapacityLimiter

from app.fetching.allowed_urls import PLAIN_HINTS, AllowedUrls
from app.fetching.http_client import HttpAnswer, HttpClient
from app.pulls.request import PullRequest
from app.pulls.sources.base import SourceFile


class UrlSource:
    """The source for plain URLs. A URL and each of its redirects must be below one of the allowed URLs."""

    def __init__(self, http: HttpClient, allowed_urls: tuple[str, ...]) -> None:
        self._http = http
        self._allowed = AllowedUrls(allowed_urls)

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
        return self._http.open(file.url, start, etag, hints=PLAIN_HINTS, check_url=self._allowed.check)

    async def aclose(self) -> None:
        """Close the connections of the source."""
        await self._http.aclose()
