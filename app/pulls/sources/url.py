"""Bytes of a source over HTTP, from where the last ones ended, by redirects that stay within the rules."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

import httpx

from app.errors import SourceMismatch, SourceNotAllowed, SourceNotFound, SourceRefused, SourceUnavailable
from app.pulls.request import Source

MAX_REDIRECTS = 10
CONNECT_SECONDS = 10.0
TRANSIENT = {408, 425, 429}
REDIRECTS = {301, 302, 303, 307, 308}
REFUSED = {401, 403, 451}
GONE = {404, 410}
RANGE_NOT_SATISFIABLE = 416
NUMBER = r"[0-9]{1,18}"
"""So many digits are any file's size; Python itself refuses to read thousands of them."""
CONTENT_RANGE = re.compile(rf"bytes ({NUMBER})-{NUMBER}/({NUMBER}|\*)")
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request for bytes brings."""

    start: int
    """The position of the first byte that comes: 0 when the other side sends everything anew."""
    total_bytes: int | None
    """How large the whole file is, if the other side says."""
    etag: str | None
    """The file's strong ETag, by which a later request can go on."""
    response: httpx.Response

    async def chunks(self, source: Source) -> AsyncIterator[bytes]:
        """The bytes as they come; raises SourceUnavailable when they end early, or stall."""
        with _explaining(source):
            async for chunk in self.response.aiter_raw():
                yield chunk


class Fetcher:
    """Asks for bytes: of the hub, and of the URLs that are allowed."""

    def __init__(self, *, token: str | None, allowed_urls: tuple[str, ...], stall_seconds: float) -> None:
        """`token` is the hub's, and goes nowhere else. `stall_seconds` may be 0 for no limit."""
        self._token = token
        self._allowed = [httpx.URL(url) for url in allowed_urls]
        self._stall_seconds = stall_seconds or None
        self._client: httpx.AsyncClient | None = None

    def connect(self) -> httpx.AsyncClient:
        """Make the client, once; it blocks for the time that reading the certificates takes."""
        if self._client is None:
            timeout = httpx.Timeout(self._stall_seconds, connect=CONNECT_SECONDS)
            self._client = httpx.AsyncClient(timeout=timeout)
        return self._client

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client:
            await self._client.aclose()

    @asynccontextmanager
    async def open(self, source: Source, start: int = 0, etag: str | None = None) -> AsyncIterator[Answer]:
        """Ask for a source's bytes from a position on, of the version with that ETag; for all of it when it is another.

        Raises SourceNotAllowed, SourceNotFound, SourceRefused, SourceMismatch, and SourceUnavailable for what may pass.
        """
        ranges = {"range": f"bytes={start}-"} if start else {}
        if start and etag:
            ranges["if-range"] = etag
        url = _parsed(source.url)
        for _ in range(MAX_REDIRECTS):
            self._check_url(url, source)
            request = self.connect().build_request("GET", url, headers=self._headers_for(url, source) | ranges)
            with _explaining(source):
                response = await self.connect().send(request, stream=True)
            try:
                if response.status_code in REDIRECTS:
                    url = _target(source, url, response)
                    continue
                if response.status_code == RANGE_NOT_SATISFIABLE and ranges:
                    ranges = {}  # it is another file by now
                    continue
                yield _answer(source, response)
                return
            finally:
                await response.aclose()
        raise SourceUnavailable(source.label, "it redirects for ever")

    def _headers_for(self, url: httpx.URL, source: Source) -> dict[str, str]:
        headers = {"accept-encoding": "identity"}  # the bytes of the file, not of a compression of it
        if source.is_hub and self._token and _origin(url) == _origin(httpx.URL(source.url)):
            headers["authorization"] = f"Bearer {self._token}"
        return headers

    def _check_url(self, url: httpx.URL, source: Source) -> None:
        if source.is_hub:
            # The hub redirects to whatever keeps its bytes, and is trusted with that, but not to give up encryption.
            if url.scheme != "https" and url.scheme != httpx.URL(source.url).scheme:
                raise SourceNotAllowed(_shown(url), "the hub redirects from https to something else")
        elif not self._allowed:
            raise SourceNotAllowed(_shown(url), "no URL may be pulled from here, only repositories of the hub")
        elif url.userinfo or not any(_is_below(url, allowed) for allowed in self._allowed):
            raise SourceNotAllowed(_shown(url), "it is not below any of the allowed URLs")


def refusal(what: str, status: int, headers: httpx.Headers) -> Exception:
    """The error that an HTTP status is."""
    reason = f"{headers.get('x-error-message') or headers.get('x-error-code') or 'it'} ({status})"
    if status in GONE:
        return SourceNotFound(what, reason)
    if status in REFUSED:
        return SourceRefused(what, reason)
    if status in TRANSIENT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return SourceUnavailable(what, f"the other side answered {status}", _retry_after(headers))
    return SourceMismatch(what, f"the other side answered {status}")


def _answer(source: Source, response: httpx.Response) -> Answer:
    headers = response.headers
    if response.status_code not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
        raise refusal(source.label, response.status_code, headers)
    if (coding := headers.get("content-encoding", "identity")) != "identity":
        raise SourceMismatch(source.label, f"it comes encoded ({coding})")
    etag = headers.get("etag")
    strong = etag if etag and not etag.startswith("W/") else None
    if response.status_code == httpx.codes.OK:
        length = headers.get("content-length", "")
        return Answer(0, int(length) if re.fullmatch(NUMBER, length) else None, strong, response)
    part = CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if not part:
        raise SourceMismatch(source.label, "a part of it came that says not which")
    return Answer(int(part[1]), None if part[2] == "*" else int(part[2]), strong, response)


def _parsed(url: str) -> httpx.URL:
    try:
        return _connectable(httpx.URL(url))
    except httpx.InvalidURL as exc:
        raise SourceNotAllowed(url.partition("?")[0].rpartition("@")[2], f"it is no URL ({exc})") from None


def _target(source: Source, url: httpx.URL, response: httpx.Response) -> httpx.URL:
    try:
        return _connectable(url.join(response.headers["location"]))
    except (KeyError, httpx.InvalidURL):
        raise SourceMismatch(source.label, "it redirects to no URL") from None


def _connectable(url: httpx.URL) -> httpx.URL:
    """The same; raises InvalidURL for a host or a port that httpx itself would stumble over only later."""
    try:
        is_good = bool(url.host) and (url.port is None or 0 < url.port <= MAX_PORT)
    except UnicodeError as exc:
        raise httpx.InvalidURL(str(exc)) from exc
    if not is_good:
        raise httpx.InvalidURL("no host, or no port that there is")
    return url


@contextmanager
def _explaining(source: Source) -> Iterator[None]:
    """Turn what goes wrong on the way into SourceUnavailable, and what can never go right into SourceMismatch."""
    try:
        yield
    except httpx.ReadTimeout:
        raise SourceUnavailable(source.label, "nothing came for too long") from None
    except UnicodeError:  # httpx looks at redirects by itself, also those that it is not to follow
        raise SourceMismatch(source.label, "it redirects to no host") from None
    except httpx.TransportError as exc:
        raise SourceUnavailable(source.label, str(exc) or type(exc).__name__) from exc


def _retry_after(headers: httpx.Headers) -> float | None:
    """How long the other side asks to be left alone, in seconds."""
    value = headers.get("retry-after", "")
    if re.fullmatch(NUMBER, value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    # One that names no time zone is in the only one that HTTP knows.
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _shown(url: httpx.URL) -> str:
    """A URL for people, without what may be a password or a signature."""
    return str(url.copy_with(userinfo=b"")).partition("?")[0]


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _is_below(url: httpx.URL, allowed: httpx.URL) -> bool:
    """Whether an allowed URL is the beginning of another, part by part: neither another host nor a way up passes."""
    parts, first = unquote(url.path).split("/"), allowed.path.rstrip("/").split("/")
    return _origin(url) == _origin(allowed) and ".." not in parts and parts[: len(first)] == first
