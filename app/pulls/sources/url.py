"""Files at plain URLs, below those that the settings allow."""

from contextlib import AbstractAsyncContextManager
from urllib.parse import unquote

import httpx
from anyio import CapacityLimiter

from app.errors import SourceNotAllowed
from app.pulls.request import PullRequest
from app.pulls.sources.base import SourceFile
from app.pulls.sources.http import HttpAnswer, HttpClient, origin_of, shown


class UrlSource:
    """The URLs that may be pulled. A redirect has to stay below them too."""

    def __init__(self, http: HttpClient, allowed_urls: tuple[str, ...]) -> None:
        self._http = http
        self._allowed = [httpx.URL(url) for url in allowed_urls]

    def accepts(self, request: PullRequest) -> bool:
        """Whether the request names a URL."""
        return request.url is not None

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:  # noqa: ARG002 - see Source
        """Return the one file, with its size; raises what `open` raises."""
        file = SourceFile(request.target, request.url or "")
        async with self.open(file) as answer:
            return [SourceFile(file.name, file.url, answer.total_bytes)]

    def open(
        self, file: SourceFile, start: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[HttpAnswer]:
        """Ask for the file's bytes; raises what `HttpClient.open` raises."""
        return self._http.open(file, start, etag, check_url=self._check)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _check(self, url: httpx.URL) -> None:
        if not self._allowed:
            raise SourceNotAllowed(shown(url), "no URL may be pulled from here, only repositories of the hub")
        if url.userinfo or not any(_is_below(url, allowed) for allowed in self._allowed):
            raise SourceNotAllowed(shown(url), "it is not below any of the allowed URLs")


def _is_below(url: httpx.URL, allowed: httpx.URL) -> bool:
    """Whether a URL begins with an allowed one, compared part by part, and has no `..`."""
    parts, first = unquote(url.path).split("/"), allowed.path.rstrip("/").split("/")
    return origin_of(url) == origin_of(allowed) and ".." not in parts and parts[: len(first)] == first
