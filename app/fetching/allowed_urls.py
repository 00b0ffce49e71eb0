"""Which URLs this service may request: those below the prefixes of `OCR_PULL_ALLOWED_URLS`."""

import re
import unicodedata
from urllib.parse import unquote

import httpx

from app.errors import PullsMisconfigured, SourceNotAllowed
from app.fetching.http_client import Hints, origin_of, shown

MAX_DECODINGS = 5
UP = re.compile(r"\s*\.\.[.\s]*")
"""Matches a path part that leads to the parent folder. Windows ignores dots and blanks at the end of a part."""
OVERLONG = re.compile(r"%c[01]", re.IGNORECASE)
"""Matches the first byte of an ASCII character in an overlong form of two bytes: invalid UTF-8 that some servers
decode."""
PLAIN_HINTS = Hints(not_found="Check the URL", refused="Plain URLs are requested without credentials")


class AllowedUrls:
    """The prefixes of `OCR_PULL_ALLOWED_URLS`. A URL and each of its redirects must be below one of them."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._allowed = [httpx.URL(url) for url in urls]

    def check(self, url: httpx.URL) -> None:
        """Raise SourceNotAllowed if the URL is below no allowed URL, and PullsMisconfigured for an invalid prefix."""
        if not self._allowed:
            raise SourceNotAllowed(shown(url), "OCR_PULL_ALLOWED_URLS allows no URL")
        try:
            is_allowed = not url.userinfo and any(is_below(url, allowed) for allowed in self._allowed)
        except UnicodeError as exc:
            raise PullsMisconfigured(f"OCR_PULL_ALLOWED_URLS has a host that is not valid ({exc})") from None
        if not is_allowed:
            raise SourceNotAllowed(shown(url), "it is not below any of OCR_PULL_ALLOWED_URLS")


def is_below(url: httpx.URL, allowed: httpx.URL) -> bool:
    """Return True if a URL has the origin and the leading path parts of `allowed`, and cannot lead out of that folder.

    Some servers decode a path several times, treat a backslash as a slash, or drop `;parameters` before they resolve
    `..`. So a path is refused if it has a part `..` after any such step.
    """
    parts, first = _parts(url), _parts(allowed)
    while first and not first[-1]:
        first.pop()
    return origin_of(url) == origin_of(allowed) and parts[: len(first)] == first and not _may_lead_up(url)


def _parts(url: httpx.URL) -> list[str]:
    """Return the decoded parts of a URL's path. An encoded slash does not separate parts."""
    return [unquote(part) for part in url.raw_path.partition(b"?")[0].decode("ascii").split("/")]


def _may_lead_up(url: httpx.URL) -> bool:
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    for _ in range(MAX_DECODINGS):
        if OVERLONG.search(path):
            return True
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    else:
        return True  # a path that is encoded this often is meant to deceive
    if any(ord(character) < ord(" ") for character in path):
        return True
    # NFKC turns full-width dots and slashes into ASCII, as some servers do.
    parts = re.split(r"[/\\]", unicodedata.normalize("NFKC", path))
    return any(UP.fullmatch(part.partition(";")[0]) for part in parts)
