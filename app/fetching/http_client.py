"""HTTP requests for the bytes of a file, from a given position on. They follow the redirects that the source allows."""

import asyncio
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from anyio import to_thread

from app import tracing
from app.errors import (
    PullsMisconfigured,
    SourceMismatch,
    SourceNotAllowed,
    SourceNotFound,
    SourceRefused,
    SourceUnavailable,
)
from app.fetching.foreign_text import printable
from app.fetching.rate_limits import pause_asked_for
from app.tracing import OneSpan

MAX_REDIRECTS = 10
CONNECT_SECONDS = 10.0
HEAD_SECONDS = 60.0
"""How many seconds the heads of all answers to one request, redirects included, may take together."""
TRANSIENT = {408, 425, 429}
REDIRECTS = {301, 302, 303, 307, 308}
REFUSED = {401, 403, 451}
GONE = {404, 410}
RANGE_NOT_SATISFIABLE = 416
IDENTITY = {"accept-encoding": "identity"}
"""Requests the bytes of the file itself, not compressed."""
NUMBER = r"[0-9]{1,18}"
"""Matches a file's size in a header: at most 18 digits, because `int()` raises ValueError for thousands of digits."""
STRONG_ETAG = re.compile(r'"[!#-~]{0,500}"')
"""Matches a strong ETag of printable ASCII, short enough to be recorded and sent back. Any other ETag is not used."""
CONTENT_RANGE = re.compile(rf"bytes ({NUMBER})-{NUMBER}/({NUMBER}|\*)")
MAX_PORT = 65535
ENVIRONMENT = frozenset({
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"
})  # fmt: skip
"""The environment variables that httpx and Python's `ssl` read. The names of proxy variables may also be in lower
case."""
HUB_VARIABLES = ("HF_", "HUGGING")
"""The beginnings of the variables that huggingface_hub reads."""


@dataclass(frozen=True, slots=True)
class Hints:
    """The last sentences of error messages, without the full stop. They tell the caller what to do."""

    not_found: str
    refused: str


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The HTTP answer to a request for a file's bytes. It implements `app.pulls.sources.base.Answer`."""

    start: int
    total_bytes: int | None
    etag: str | None
    """The file's strong ETag; None if there is none."""
    response: httpx.Response
    label: str

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they arrive; raises SourceUnavailable if the connection breaks or stalls."""
        with _explaining(self.label):
            async for chunk in self.response.aiter_raw():
                yield chunk


class HttpClient:
    """An HTTP client that requests files' bytes from other services."""

    def __init__(self, stall_seconds: float, head_seconds: float = HEAD_SECONDS) -> None:
        """`stall_seconds` limits the wait for the next bytes, 0 for no limit; `head_seconds` the wait for a head."""
        self._head_seconds = head_seconds
        self._stall_seconds = stall_seconds or None
        self._client: httpx.AsyncClient | None = None
        self._connecting = threading.Lock()

    async def aclose(self) -> None:
        """Close the connections of the client."""
        if self._client:
            await self._client.aclose()

    async def connect(self) -> httpx.AsyncClient:
        """Return the HTTP client. Raises PullsMisconfigured if an environment variable of this service is not valid.

        The first call creates the client. No request is sent.
        """
        client = self._client
        return client if client is not None else await to_thread.run_sync(self._connected)

    @asynccontextmanager
    async def open(
        self,
        url: str,
        start: int = 0,
        etag: str | None = None,
        *,
        hints: Hints,
        check_url: Callable[[httpx.URL], None],
        headers_for: Callable[[httpx.URL], dict[str, str]] = lambda _: {},
        method: str = "GET",
    ) -> AsyncIterator[HttpAnswer]:
        """Request the bytes of a URL's file from position `start` on, or the whole file if its ETag is not `etag`.

        `check_url` and `headers_for` are called for the URL and for that of each redirect. Raises what
        `check_url` raises, SourceNotFound, SourceRefused, SourceMismatch; SourceUnavailable for failures that may pass.
        """
        client = await self.connect()
        ranges = {"range": f"bytes={start}-"} if start else {}
        if start and etag:
            ranges["if-range"] = etag
        label, target = label_of(url), parsed(url)
        deadline = time.monotonic() + self._head_seconds
        for _ in range(MAX_REDIRECTS):
            check_url(target)
            request = client.build_request(method, target, headers=IDENTITY | headers_for(target) | ranges)
            with _explaining(label), _request_span(method, target) as span:
                # One deadline for all heads, because a source may send single bytes, each within the read timeout.
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    response = await client.send(request, stream=True)
                span.set({"http.response.status_code": response.status_code})
                if response.is_error:
                    span.fail(str(response.status_code))
            try:
                if response.status_code in REDIRECTS:
                    target = _redirected(label, target, response)
                    continue
                if response.status_code == RANGE_NOT_SATISFIABLE and ranges:
                    ranges = {}  # the file has changed at the source: request all of it
                    continue
                yield _answer(label, response, hints)
                return
            finally:
                await response.aclose()
        raise SourceUnavailable(label, f"it redirects more than {MAX_REDIRECTS} times")

    def _connected(self) -> httpx.AsyncClient:
        """Return the client. The first call creates the client and blocks, because it reads the certificates."""
        with self._connecting:
            self._client = self._client or _new_client(httpx.Timeout(self._stall_seconds, connect=CONNECT_SECONDS))
            return self._client


def _request_span(method: str, url: httpx.URL) -> AbstractContextManager[OneSpan]:
    """Return the span of one request, until the head of its answer has arrived."""
    attributes = {
        "http.request.method": method,
        "server.address": url.host,
        "server.port": url.port or {"http": 80, "https": 443}.get(url.scheme),
        "url.full": shown(url),
    }
    return tracing.span(method, attributes, kind="CLIENT")


def _new_client(timeout: httpx.Timeout) -> httpx.AsyncClient:
    with explaining_environment():
        # Without cookies: a source could otherwise recognise one caller's request in that of another.
        return httpx.AsyncClient(timeout=timeout, cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])))


@contextmanager
def explaining_environment() -> Iterator[None]:
    """Raise PullsMisconfigured for any exception of the block, which reads the environment.

    A wrong variable can raise many exceptions. The message names the variables that are set, but not their values,
    because the URL of a proxy may have a password.
    """
    try:
        yield
    except Exception as exc:
        names = [name for name in sorted(os.environ) if name.upper() in ENVIRONMENT or name.startswith(HUB_VARIABLES)]
        culprits = f"Check the variables {', '.join(names)}" if names else "Check its environment and installation"
        text = "" if "@" in str(exc) else f": {printable(str(exc))}"
        reason = f"the HTTP client cannot start ({type(exc).__name__}{text}). {culprits}"
        raise PullsMisconfigured(reason) from exc


def label_of(url: str) -> str:
    """Return a URL for messages: without the query, which may hold a signature."""
    return url.partition("?")[0]


def shown(url: httpx.URL) -> str:
    """Return a URL for messages: without user and password, and without the query, which may hold a signature."""
    return str(url.copy_with(userinfo=b"")).partition("?")[0]


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return the scheme, the host and the port of a URL."""
    return url.scheme, url.host, url.port


def refusal(what: str, status: int, headers: httpx.Headers, hints: Hints) -> Exception:
    """Return the error for an HTTP status: SourceNotFound, SourceRefused, SourceUnavailable or SourceMismatch."""
    reason = printable(headers.get("x-error-message") or headers.get("x-error-code") or "")
    reason = f"{reason.rstrip('.')} ({status})" if reason else f"the source answered {status}"
    if status in GONE:
        return SourceNotFound(what, f"{reason}. {hints.not_found}")
    if status in REFUSED:
        return SourceRefused(what, f"{reason}. {hints.refused}")
    if status in TRANSIENT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return SourceUnavailable(what, f"the source answered {status}", pause_asked_for(headers))
    return SourceMismatch(what, f"the source answered {status}")


def _answer(label: str, response: httpx.Response, hints: Hints) -> HttpAnswer:
    headers = response.headers
    if response.status_code not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
        raise refusal(label, response.status_code, headers, hints)
    if (coding := headers.get("content-encoding", "identity")) != "identity":
        raise SourceMismatch(label, f"the source sent it encoded ({printable(coding, 50)})")
    etag = headers.get("etag")
    strong = etag if etag and STRONG_ETAG.fullmatch(etag) else None
    if response.status_code == httpx.codes.OK:
        length = headers.get("content-length", "")
        return HttpAnswer(0, int(length) if re.fullmatch(NUMBER, length) else None, strong, response, label)
    part = CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if not part:
        raise SourceMismatch(label, "the source sent a part of it without a valid Content-Range header")
    return HttpAnswer(int(part[1]), None if part[2] == "*" else int(part[2]), strong, response, label)


def parsed(url: str) -> httpx.URL:
    """Return a URL; raises SourceNotAllowed if it is not valid."""
    try:
        return _connectable(httpx.URL(url))
    except httpx.InvalidURL as exc:
        raise SourceNotAllowed(label_of(url).rpartition("@")[2], f"it is not a valid URL ({exc})") from None


def _redirected(label: str, url: httpx.URL, response: httpx.Response) -> httpx.URL:
    try:
        return _connectable(url.join(response.headers["location"]))
    except (KeyError, httpx.InvalidURL):
        raise SourceMismatch(label, "it redirects to an invalid URL") from None


def _connectable(url: httpx.URL) -> httpx.URL:
    """Return the URL; raises InvalidURL if its host or port is not valid, which httpx finds only when it connects."""
    try:
        is_good = bool(url.host) and (url.port is None or 0 < url.port <= MAX_PORT)
    except UnicodeError as exc:
        raise httpx.InvalidURL(str(exc)) from exc
    if not is_good:
        raise httpx.InvalidURL("no host, or an invalid port")
    return url


@contextmanager
def _explaining(label: str) -> Iterator[None]:
    """Raise SourceUnavailable for failures of the connection, and SourceMismatch for a redirect to an invalid host."""
    try:
        yield
    except (httpx.ReadTimeout, TimeoutError):
        raise SourceUnavailable(
            label, "the source sent nothing for too long, or the head of its answer too slowly"
        ) from None
    except UnicodeError:  # httpx parses redirects, even if it does not follow them
        raise SourceMismatch(label, "it redirects to an invalid host") from None
    except (httpx.TransportError, OSError, ValueError, ArithmeticError) as exc:
        # Such as an OverflowError for a proxy's port beyond 65535, which Python raises only on connecting.
        raise SourceUnavailable(label, printable(str(exc)) or type(exc).__name__) from exc
