"""The source of the vendor's OCR models: a folder on a web site that holds `RESOURCES.json` and the files.

The vendor's own repository on GitHub is such a folder, and so is any copy of it. The vendor's downloader is not used,
because it neither continues a download nor checks a digest. docs/ocr-models.md describes the protocol of the site.
"""

import asyncio
import difflib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from anyio import CapacityLimiter, to_thread

from app.errors import PullsMisconfigured, SourceMismatch, SourceNotAllowed, SourceNotFound, SourceUnavailable
from app.fetching.allowed_urls import is_below
from app.fetching.http_client import Hints, HttpAnswer, HttpClient, shown
from app.pulls.request import RESOURCE, SHA256_PATTERN, PullRequest
from app.pulls.sources.base import SourceFile

LIST_FILE = "RESOURCES.json"
MAX_LIST_BYTES = 1 << 20
MAX_OFFERS = 1000
"""How many OCR models of a site are considered; the vendor's repository has 25."""
ANSWER_SECONDS = 30.0
"""How many seconds a site may take to send its list, or the size of one file."""
GITHUB_FOLDER = re.compile(r"(https://github\.com/[^/]+/[^/]+)(?:/(?:tree|blob|raw)/(.+))?")
HINTS = Hints(
    not_found="Check OCR_RESOURCES_URL and the name; GET /resources lists what the site offers",
    refused="Sites of OCR models are requested without credentials; check OCR_RESOURCES_URL",
)


@dataclass(frozen=True, slots=True)
class Offer:
    """An OCR model that a site offers."""

    name: str
    """The vendor's name, without `.ocr`."""
    size_bytes: int | None = None
    """The file's size; None if the site has not stated it."""
    sha256: str | None = None
    """The digest of the file; None if the site does not state it, as the vendor's repository does not."""


class ResourceSource:
    """The source of OCR models. Redirects must stay below the site's URL or an allowed URL, or within GitHub."""

    def __init__(self, http: HttpClient, site_url: str | None, allowed_urls: tuple[str, ...]) -> None:
        """`site_url` is the URL of the folder; None to refuse all pulls of OCR models."""
        self._http = http
        self._site = raw_folder(site_url) if site_url else None
        self._allowed = [httpx.URL(url) for url in (*([self._site] if self._site else []), *allowed_urls)]

    @property
    def site_url(self) -> str | None:
        """The URL of the folder from which files are requested."""
        return self._site

    def accepts(self, request: PullRequest) -> bool:
        """Return True if the request names an OCR model."""
        return request.resource is not None

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
        """Return the file of the requested OCR model, with the size and the digest that the site states.

        A file that the site has is found even if its list lacks the file: in a copy, the list may be older than the
        files. Raises SourceNotFound if the site has no such file, and what `offers` and `open` raise.
        """
        name = request.resource or ""
        offers = {offer.name: offer for offer in await self.offers(threads)}
        offer = offers.get(name, Offer(name))
        file = self._file(name, offer)
        if offer.size_bytes is not None:
            return [file]
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self.open(file) as answer:
                return [SourceFile(file.name, file.url, answer.total_bytes, offer.sha256)]
        except TimeoutError:
            raise SourceUnavailable(file.label, "the site took too long to answer") from None
        except SourceNotFound as exc:
            if name in offers:
                raise
            reason = f"its {LIST_FILE} does not offer it, and there is no such file. {_nearest(name, offers)}"
            raise SourceNotFound(f"OCR model {name!r} at {self._site}", reason) from exc

    async def offers(self, threads: CapacityLimiter | None = None) -> list[Offer]:
        """Request the site's list and return the OCR models that it offers.

        Entries of the list without a valid name of an OCR model are left out.

        Raises SourceNotAllowed, SourceNotFound, SourceRefused, SourceMismatch, SourceUnavailable.
        """
        list_file = SourceFile(LIST_FILE, f"{self._required_site()}/{LIST_FILE}?raw=true")
        received = bytearray()
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self.open(list_file) as answer:
                async for chunk in answer.chunks():
                    received += chunk
                    if len(received) > MAX_LIST_BYTES:
                        raise SourceMismatch(list_file.label, f"the list has more than {MAX_LIST_BYTES:,} bytes")
        except TimeoutError:
            raise SourceUnavailable(list_file.label, "the site took too long to send it") from None
        return await to_thread.run_sync(_parsed, bytes(received), list_file.label, limiter=threads)

    async def size_of(self, name: str) -> int | None:
        """Return the size of an OCR model's file; None if the site does not state it. Raises what `open` raises."""
        file = self._file(name, Offer(name))
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._request(file, 0, None, method="HEAD") as answer:
                return answer.total_bytes
        except TimeoutError:
            raise SourceUnavailable(file.label, "the site took too long to answer") from None

    @asynccontextmanager
    async def open(self, file: SourceFile, start: int = 0, etag: str | None = None) -> AsyncIterator[HttpAnswer]:
        """Request a file's bytes from position `start` on; raises what `HttpClient.open` raises.

        Raises SourceMismatch for a web page, which a site may send for a file that is missing or needs a login.
        """
        async with self._request(file, start, etag) as answer:
            if answer.response.headers.get("content-type", "").strip().lower().startswith("text/html"):
                raise SourceMismatch(file.label, "the site sent a web page; OCR_RESOURCES_URL must name raw files")
            yield answer

    async def aclose(self) -> None:
        """Close the connections of the source."""
        await self._http.aclose()

    def _file(self, name: str, offer: Offer) -> SourceFile:
        return SourceFile(f"{name}.ocr", f"{self._required_site()}/{quote(name)}.ocr", offer.size_bytes, offer.sha256)

    @asynccontextmanager
    async def _request(
        self, file: SourceFile, start: int, etag: str | None, method: str = "GET"
    ) -> AsyncIterator[HttpAnswer]:
        requested = self._http.open(file.url, start, etag, hints=HINTS, check_url=self._check, method=method)
        async with requested as answer:
            yield answer

    def _required_site(self) -> str:
        if self._site is None:
            raise SourceNotAllowed("An OCR model", "OCR_RESOURCES_URL is 'off'")
        return self._site

    def _check(self, url: httpx.URL) -> None:
        try:
            is_allowed = not url.userinfo and any(is_below(url, allowed) for allowed in self._allowed)
        except UnicodeError as exc:
            reason = f"OCR_RESOURCES_URL or OCR_PULL_ALLOWED_URLS has a host that is not valid ({exc})"
            raise PullsMisconfigured(reason) from None
        if not is_allowed and not self._is_github(url):
            raise SourceNotAllowed(
                shown(url),
                "the site of OCR_RESOURCES_URL redirects there, and it is below neither that URL nor one of "
                "OCR_PULL_ALLOWED_URLS",
            )

    def _is_github(self, url: httpx.URL) -> bool:
        """Return True for an address to which GitHub redirects requests for the raw files of a repository."""
        is_own = bool(self._site and self._site.startswith("https://github.com/"))
        is_there = url.host == "github.com" or url.host.endswith(".githubusercontent.com")
        return is_own and is_there and url.scheme == "https" and not url.userinfo and url.port is None


def raw_folder(url: str) -> str:
    """Return the URL below which a site has its raw files, without a slash at the end.

    For GitHub, the address of a repository or of a folder's page becomes that of the raw files.
    """
    url = url.rstrip("/")
    if match := GITHUB_FOLDER.fullmatch(url):
        return f"{match[1]}/raw/{match[2] or 'HEAD'}"
    return url


def _nearest(name: str, offers: dict[str, Offer]) -> str:
    if close := difflib.get_close_matches(name, offers, n=3):
        return f"Did you mean {' or '.join(close)}? GET /resources lists what it offers"
    return "GET /resources lists what it offers"


def _parsed(received: bytes, label: str) -> list[Offer]:
    """Return the OCR models in a site's list, sorted. `archive` is ignored: its files are for older packages."""
    try:
        match json.loads(received):
            case {"actual": list(entries)}:
                found = [offer for entry in entries[:MAX_OFFERS] if (offer := _offer(entry))]
                return sorted({offer.name: offer for offer in found}.values(), key=lambda offer: offer.name)
    except (ValueError, RecursionError):
        pass
    raise SourceMismatch(label, 'the site did not send a list such as {"actual": [{"file": "aspose-ocr-…"}]}')


def _offer(entry: Any) -> Offer | None:  # noqa: ANN401 - JSON of a foreign site
    """Return the offer in an entry of the list; None without a valid name. An invalid size or digest is ignored."""
    match entry:
        case {"file": str(file)} if re.fullmatch(RESOURCE, name := file.removesuffix(".ocr")):
            size, sha256 = entry.get("size_bytes"), entry.get("sha256")
            is_size = isinstance(size, int) and not isinstance(size, bool) and 0 < size < 1 << 60
            is_digest = isinstance(sha256, str) and re.fullmatch(SHA256_PATTERN, sha256)
            return Offer(name, size if is_size else None, str(sha256).lower() if is_digest else None)
    return None
