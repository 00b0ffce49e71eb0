"""The source for repositories of the hub, such as huggingface.co."""

import asyncio
from contextlib import AbstractAsyncContextManager

import httpx
from anyio import CapacityLimiter, to_thread

from app.errors import SourceNotAllowed, SourceUnavailable
from app.fetching.http_client import HttpAnswer, HttpClient, explaining_environment, origin_of, shown
from app.pulls.request import PullRequest
from app.pulls.sources.base import SourceFile
from app.pulls.sources.hub_hints import HUB_HINTS

ANSWER_SECONDS = 120.0
"""How many seconds a hub may take to list the files of a request. The read timeout alone would not stop a hub that
sends single bytes."""


class HubSource:
    """The source for repositories of the hub. It downloads with our HTTP client; `hub_files` explains why."""

    def __init__(self, http: HttpClient, *, endpoint: str | None, token: str | None) -> None:
        """`endpoint` is the hub's URL; None for the public hub. `token` is sent to the hub and to no other host."""
        self._http = http
        self._endpoint = endpoint
        self._token = token

    def accepts(self, request: PullRequest) -> bool:
        """Return True if the request names a repository."""
        return request.repository is not None

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
        """Return the files of a request, all of one commit. Raises PullsMisconfigured and what `find_files` raises."""
        await self._http.connect()  # checks the environment, from which huggingface_hub makes its own client
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await to_thread.run_sync(self._find_files, request, limiter=threads, abandon_on_cancel=True)
        except TimeoutError:
            raise SourceUnavailable(request.target, "the hub took too long to answer") from None

    def _find_files(self, request: PullRequest) -> list[SourceFile]:
        with explaining_environment():
            # Importing huggingface_hub takes a second. A service that pulls nothing saves that time.
            from app.pulls.sources.hub_files import find_files  # noqa: PLC0415
        return find_files(request, self._endpoint, self._token)

    def open(
        self, file: SourceFile, start: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[HttpAnswer]:
        """Request a file's bytes from position `start` on; raises what `HttpClient.open` raises."""

        def check(url: httpx.URL) -> None:
            # The hub redirects to the host that stores the bytes. Any host is accepted, but only with encryption.
            if url.scheme not in {"https", httpx.URL(file.url).scheme}:
                raise SourceNotAllowed(shown(url), "the hub redirects from https to something else")

        def headers_for(url: httpx.URL) -> dict[str, str]:
            is_hub = origin_of(url) == origin_of(httpx.URL(file.url))
            return {"authorization": f"Bearer {self._token}"} if self._token and is_hub else {}

        return self._http.open(file.url, start, etag, hints=HUB_HINTS, check_url=check, headers_for=headers_for)

    async def aclose(self) -> None:
        """Close the connections of the source."""
        await self._http.aclose()
