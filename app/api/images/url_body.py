"""JSON bodies, which have the URLs of images, and options beside them."""

import json
from typing import Any

from fastapi.exceptions import RequestValidationError

from app.api.http.checks.json_request import parsed_json
from app.api.http.checks.request_checks import say_unknown
from app.api.images.upload_ids import UPLOADS, upload_ids

URL, URLS = "url", "urls"
MAX_URL_CHARS = 2048
MAX_SHOWN_CHARS = 100
NOT_JSON = "the body is announced as JSON and is not; send an image with its own media type, such as image/png"


class UrlBody:
    """A body that is a JSON object with `url` or `urls`. Its other members are options."""

    def __init__(self, options: frozenset[str], most_urls: int, *, takes_uploads: bool = False) -> None:
        """`options` has the names of the options that the object may have."""
        self.urls: tuple[str, ...] = ()
        self.uploads: tuple[str, ...] = ()
        self._sources = {URL, URLS, UPLOADS} if takes_uploads else {URL, URLS}
        self.fields: dict[str, str] = {}
        """The values of the options, as the query would have them."""
        self._options = options
        self._most_urls = most_urls
        self._body = bytearray()

    def write(self, data: bytes) -> None:
        """Add bytes to the body."""
        self._body += data

    def finish(self) -> None:
        """Read the object. Raises RequestValidationError."""
        try:
            members = parsed_json(bytes(self._body))
        except json.JSONDecodeError as exc:
            raise _refusal(None, f"{NOT_JSON} ({exc.msg} at character {exc.pos})") from exc
        except UnicodeDecodeError as exc:  # bytes that are not UTF-8
            raise _refusal(None, NOT_JSON) from exc
        try:
            json.dumps(members, ensure_ascii=False).encode()
        except UnicodeEncodeError as exc:
            raise _refusal(None, "must be text without lone surrogates") from exc
        if not isinstance(members, dict):
            raise _refusal(None, f"a JSON object is required; it {self._one_source()}")
        if UPLOADS in self._sources and members.get(UPLOADS) is not None:
            if members.get(URL) is not None or members.get(URLS) is not None:
                raise _refusal(UPLOADS, "give either 'uploads' or URLs, not both")
            self.uploads = upload_ids(members[UPLOADS])
        else:
            self.urls = tuple(self._urls_in(members))
        self.fields = {
            name: self._option(name, value)
            for name, value in members.items()
            if name not in self._sources and value is not None
        }

    def _urls_in(self, members: dict[str, Any]) -> list[str]:
        url, urls = members.get(URL), members.get(URLS)
        if (url is None) == (urls is None):
            raise _refusal(None, self._one_source())
        found = [url] if urls is None else urls
        if not isinstance(found, list) or not found:
            raise _refusal(URLS, "must be a list of URLs, with one at least")
        if len(found) > self._most_urls:
            most = "one URL; send several as a job, with Prefer: respond-async" if self._most_urls == 1 else "URLs"
            raise _refusal(URLS, f"must have at most {'' if self._most_urls == 1 else f'{self._most_urls} '}{most}")
        for each in found:
            if not isinstance(each, str) or not 0 < len(each) <= MAX_URL_CHARS:
                raise _refusal(URL if urls is None else URLS, f"a URL is text of 1 to {MAX_URL_CHARS} characters")
        return found

    def _one_source(self) -> str:
        """Return the sentence that says which members name the files."""
        sources = ["'url', with one URL", "'urls', with a list of URLs"]
        sources += ["'uploads', with the ids of finished uploads"] if UPLOADS in self._sources else []
        return f"must have exactly one of these members: {'; '.join(sources)}"

    def _option(self, name: str, value: object) -> str:
        """Return the value of an option as the query would have it."""
        if name not in self._options:
            raise _refusal(name, say_unknown(name, sorted(self._options | self._sources), "option"))
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            return json.dumps(value)
        raise _refusal(name, "must be text, a number, true or false")


def _refusal(name: str | None, message: str) -> RequestValidationError:
    where = ("body",) if name is None else ("body", name[:MAX_SHOWN_CHARS])
    return RequestValidationError([{"loc": where, "msg": message}])
