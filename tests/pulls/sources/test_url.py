"""Invalid answers of a source, and invalid URLs: they raise errors of the source and nothing else."""

import socket
from dataclasses import dataclass

import httpx
import pytest
from anyio import CapacityLimiter

from app.errors import SourceError, SourceMismatch, SourceNotAllowed, SourceNotFound, SourceUnavailable
from app.fetching.http_client import Hints, HttpClient, refusal
from app.pulls.request import PullRequest
from app.pulls.sources.base import Source, SourceFile
from app.pulls.sources.hub import HubSource
from app.pulls.sources.hub_files import find_files
from app.pulls.sources.url import UrlSource
from tests.support.hub import COMMIT, Fault, HubFile, running_hub

REPOSITORY = "org/repo"


def urls(*allowed_urls: str) -> UrlSource:
    """Return a source for plain URLs below the given URLs."""
    return UrlSource(HttpClient(5), allowed_urls)


async def error_of(source: Source, file: SourceFile, start: int = 0) -> type[SourceError]:
    """Return the class of the SourceError that downloading a file raises."""
    with pytest.raises(SourceError) as refused:
        async with source.open(file, start) as answer:
            _ = [chunk async for chunk in answer.chunks()]
    await source.aclose()
    return type(refused.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Sat, 21 Nov 2020 10:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2020 10:00:00 -0000", 0.0),
        ("Sat, 21 Nov 2020 10:00:00", 0.0),
        ("\u00b2", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_parsed_or_ignored(value: str, seconds: float | None) -> None:
    """Retry-After may be seconds or a date, also one without a time zone; any other value is ignored."""
    found = refusal("it", 429, httpx.Headers({b"retry-after": value.encode("latin-1")}), Hints("", ""))

    assert isinstance(found, SourceUnavailable)
    assert found.retry_after_seconds == seconds


@pytest.mark.anyio
async def test_each_source_says_what_to_do_about_a_missing_file() -> None:
    """A missing file of a repository hints at its spelling and the revision, and a missing URL at the URL."""
    with running_hub() as hub:
        url = f"{hub.cdn_url}/gone.bin"
        with pytest.raises(SourceNotFound) as of_url:
            await urls(hub.cdn_url).resolve(PullRequest(url=url), CapacityLimiter(1))
        with pytest.raises(SourceNotFound) as of_hub:
            find_files(PullRequest(repository=REPOSITORY, file="gone.gguf"), hub.url, None)

    assert str(of_url.value) == f"There is no {url}: the source answered 404. Check the URL."
    assert str(of_hub.value).endswith(" (404). Check its spelling and the revision.")


@pytest.mark.anyio
@pytest.mark.parametrize("total", ["9" * 5000, "\u00b2", "-1"])
async def test_an_invalid_content_range_raises_source_mismatch(total: str) -> None:
    """A Content-Range whose total is no number, or has thousands of digits, raises SourceMismatch."""
    with running_hub() as hub:
        url = hub.put("/a.bin", b"x" * 100)
        hub.faults.append(Fault(status=206, headers={"Content-Range": f"bytes 10-99/{total}"}))

        assert await error_of(urls(hub.cdn_url), SourceFile("a.bin", url), 10) is SourceMismatch


@pytest.mark.anyio
@pytest.mark.parametrize("url", ["https://xn--/a", "https:///a", "https://a.example:99999/a", "https://a.example:0/a"])
async def test_a_url_with_an_invalid_host_or_port_is_refused(url: str) -> None:
    """A URL with an invalid host or port raises SourceNotAllowed, also where httpx would accept it."""
    assert await error_of(urls("https://a.example"), SourceFile("a.bin", url)) is SourceNotAllowed


@pytest.mark.anyio
@pytest.mark.parametrize("location", ["http://127.0.0.1:99999/", "http://xn--/"])
async def test_a_redirect_to_an_invalid_url_raises_source_mismatch(location: str) -> None:
    """A redirect of the hub to an invalid host or port raises SourceMismatch."""
    with running_hub() as hub:
        hub.redirects["/a.bin"] = location

        assert (
            await error_of(
                HubSource(HttpClient(5), endpoint=hub.url, token=None), SourceFile("a.bin", f"{hub.url}/a.bin")
            )
            is SourceMismatch
        )


@pytest.mark.anyio
async def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    """A URL with a password is refused, and the error's message, which is logged, does not show the password."""
    for url in ("https://me:hunter2@a.example/x", "https://me:hunter2@a.example:no/x"):
        with pytest.raises(SourceNotAllowed) as refused:
            async with urls("https://a.example").open(SourceFile("a.bin", url)):
                pass
        assert "hunter2" not in str(refused.value)


@pytest.mark.anyio
async def test_a_source_that_cannot_be_reached_is_named_without_an_error_number() -> None:
    """The sentence says what the system's error means; its number says nothing to most readers."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x.bin"
        source = urls(url)
        with pytest.raises(SourceUnavailable, match=r"cannot be fetched now: [A-Z]") as failed:
            await source.resolve(PullRequest(url=url), CapacityLimiter(1))
        await source.aclose()
    assert "rrno" not in str(failed.value)


def test_an_answer_that_is_not_a_hubs_raises_source_mismatch() -> None:
    """An answer that is not a hub's, such as a web page, raises SourceMismatch that names OCR_HUB_ENDPOINT."""
    with running_hub() as hub:
        hub.add(REPOSITORY, "m.gguf", b"model")
        for page in (b"<html>", b"[]", b'{"siblings": 1}'):
            hub.redirects[f"/api/models/{REPOSITORY}/revision/main"] = hub.put("/page", page)

            with pytest.raises(SourceMismatch, match="OCR_HUB_ENDPOINT"):
                find_files(PullRequest(repository=REPOSITORY, files="*"), hub.url, None)


@dataclass
class OddFile(HubFile):
    """A file whose digest has the length of a SHA-256 but is not hexadecimal."""

    @property
    def sha256(self) -> str:
        return "z" * 64


def test_an_invalid_digest_of_the_hub_is_ignored() -> None:
    """A digest of the hub that is not a SHA-256 is ignored, for one file and for several."""
    with running_hub() as hub:
        hub.files[REPOSITORY, "m.gguf"] = OddFile(b"model")
        requests = [PullRequest(repository=REPOSITORY, file="m.gguf"), PullRequest(repository=REPOSITORY, files="*")]

        found = [source for request in requests for source in find_files(request, hub.url, None)]

    assert [source.sha256 for source in found] == [None, None]
    assert all(f"/resolve/{COMMIT}/" in source.url for source in found)
