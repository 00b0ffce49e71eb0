"""What a source puts into its answers: pauses, messages, paths, lists. Each is bounded, and cannot lead elsewhere."""

import asyncio
import contextlib
import json

import httpx
import pytest
from anyio import CapacityLimiter

from app.errors import SourceError, SourceMismatch, SourceNotAllowed, SourceNotFound, SourceUnavailable
from app.fetching.http_client import Hints, HttpClient, refusal
from app.fetching.rate_limits import pause_asked_for
from app.pulls.request import PullRequest
from app.pulls.sources import bounded_answers
from app.pulls.sources.base import SourceFile
from app.pulls.sources.hub_files import find_files, matching
from app.pulls.sources.url import UrlSource
from tests.support.defects.endless import endless_server
from tests.support.hub import COMMIT, Fault, running_hub
from tests.support.memory import kept_bytes

REPOSITORY = "org/repo"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"RateLimit": '"resolvers";r=0;t=240'}, 240),
        ({"RateLimit": '"api";r=10;t=5, "resolvers";t=240;r=0'}, 240),
        ({"RateLimit": '"api";r=0;t=5,"pages";r=0;t=7'}, 7),
        ({"RateLimit": '"a;r=0;t=9,b";r=3;t=5'}, None),
        ({"RateLimit": '"api";r=0'}, None),
        ({"RateLimit": '"api";r=0;t=-5'}, None),
        ({"RateLimit": '"api";r=0;t=' + "9" * 5000}, None),
        ({"RateLimit-Reset": "30"}, 30),
        ({"RateLimit-Reset": "soon"}, None),
        ({"RateLimit": '"api";r=0;t=240', "Retry-After": "3"}, 3),
        ({"RateLimit": '"api";r=0;t=240', "Retry-After": "soon"}, 240),
        ({"Retry-After": "Sat, 21 Nov 2020 10:00:00 +999999999999999999"}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({}, None),
    ],
)
def test_the_pause_that_a_source_asks_for(fields: dict[str, str], seconds: float | None) -> None:
    """Retry-After, RateLimit with an exhausted policy, and RateLimit-Reset are respected; nonsense is ignored."""
    assert pause_asked_for(httpx.Headers(fields)) == seconds
    refused = refusal("it", 429, httpx.Headers(fields), Hints("", ""))
    assert isinstance(refused, SourceUnavailable)
    assert refused.retry_after_seconds == seconds


@pytest.mark.parametrize("status", [401, 404])
def test_a_message_of_a_source_is_short_and_plain(status: int) -> None:
    """A long message of a source is cut, and its control characters cannot reach a terminal or begin a line."""
    headers = httpx.Headers({b"x-error-message": b"\x1b[2Jgone\x85" + b"x" * 5000})

    message = str(refusal("it", status, headers, Hints("Check it", "Check it")))

    assert len(message) < 500
    assert message.isprintable()
    assert message.endswith("Check it.")


UP = [
    "..%5csecret",
    "..%5Csecret",
    "%2e%2e%5csecret",
    "..;/secret",
    "..;a=b/secret",
    "%252e%252e/secret",
    "%25252e%25252e%25255csecret",
    "..%2fsecret",
    "..%252fsecret",
    "%c0%ae%c0%ae/secret",
    "%ef%bc%8e%ef%bc%8e/secret",
    "..%20/secret",
    ".../secret",
    "x%00/secret",
    "..\\secret",
]


@pytest.mark.anyio
@pytest.mark.parametrize("path", UP)
@pytest.mark.parametrize("is_redirect", [True, False], ids=["redirect", "url"])
async def test_no_reading_of_a_path_leads_up(path: str, *, is_redirect: bool) -> None:
    """A URL or a redirect whose path leads above the allowed one, as any server may read it, is never requested."""
    with running_hub() as hub:
        url = f"{hub.cdn_url}/ok/{path}"
        if is_redirect:
            hub.redirects["/ok/a.bin"] = url
            url = f"{hub.cdn_url}/ok/a.bin"
        source = UrlSource(HttpClient(5), (f"{hub.cdn_url}/ok/",))

        with pytest.raises(SourceNotAllowed):
            await source.resolve(PullRequest(url=url, name="a.bin"), CapacityLimiter(1))
        await source.aclose()
        assert [seen.path for seen in hub.seen] == (["/ok/a.bin"] if is_redirect else [])


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path", ["a.bin", "a%20b/c.bin", "v1..2/a.bin", "a..b.bin", "group%2Frepo/a.bin", "100%25.bin"]
)
async def test_other_paths_are_requested(path: str) -> None:
    """A path with dots, blanks or encoded slashes that leads nowhere else is requested."""
    with running_hub() as hub:
        url = f"{hub.cdn_url}/ok/{path}"
        hub.put(httpx.URL(url).path, b"model")
        source = UrlSource(HttpClient(5), (f"{hub.cdn_url}/ok",))

        (file,) = await source.resolve(PullRequest(url=url, name="a.bin"), CapacityLimiter(1))
        await source.aclose()
    assert file.size_bytes == 5


@pytest.mark.anyio
async def test_an_encoded_slash_does_not_end_the_allowed_part() -> None:
    """`/ok%2fx` is not below `/ok/`: a server may take it for one part with another name."""
    source = UrlSource(HttpClient(5), ("http://127.0.0.1:9/ok/",))

    with pytest.raises(SourceNotAllowed):
        await source.resolve(PullRequest(url="http://127.0.0.1:9/ok%2fx/a.bin"), CapacityLimiter(1))


@pytest.mark.parametrize("revision", ["..", ".", "a/../b", "/a", "a/", "a\\b", "a b", "a\n", "a?b", "a..b"])
def test_a_revision_that_leads_elsewhere_is_refused(revision: str) -> None:
    """A revision that git would not allow is no valid request; a pull request's is one."""
    with pytest.raises(ValueError, match="revision"):
        PullRequest(repository=REPOSITORY, file="a.bin", revision=revision)
    assert PullRequest(repository=REPOSITORY, file="a.bin", revision="refs/pr/1").revision == "refs/pr/1"


@pytest.mark.parametrize("repository", ["..", "../repo", "org/..", "./repo"])
def test_a_repository_of_dots_is_not_requested(repository: str) -> None:
    """A repository of dots is not found, without a request to the hub."""
    with running_hub() as hub:
        with pytest.raises(SourceNotFound):
            find_files(PullRequest(repository=repository, file="a.bin"), hub.url, None)
        assert hub.seen == []


def test_an_endless_list_of_a_hub_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub whose list does not end is given up at the bound, before it fills the memory; so is a compressed list."""
    monkeypatch.setattr(bounded_answers, "MAX_ANSWER_BYTES", 1 << 20)  # to parse 32 MiB twice would take seconds
    request = PullRequest(repository=REPOSITORY, files="*")
    with endless_server() as server:
        with pytest.raises(SourceMismatch):
            find_files(request, server.url, None)
        assert server.sent_bytes < 64 << 20
        server.headers, server.sent_bytes = {"Content-Encoding": "gzip"}, 0
        with pytest.raises(SourceMismatch):
            find_files(request, server.url, None)
        assert server.sent_bytes < 64 << 20


def test_a_list_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub whose list takes too long as a whole is given up, though each of its bytes comes in time."""
    monkeypatch.setattr(bounded_answers, "MAX_ANSWER_SECONDS", 0.0)  # the service waits for a minute
    with endless_server() as server, pytest.raises(SourceUnavailable):
        find_files(PullRequest(repository=REPOSITORY, files="*"), server.url, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"siblings": [{"rfilename": "a.bin", "size": -1}]},
        {"siblings": [{"rfilename": "a.bin", "size": "many"}]},
        {"siblings": [{"rfilename": "a.bin", "size": 1 << 70}]},
        {"siblings": [{"rfilename": 1, "size": 1}]},
        {"siblings": [{"rfilename": "a.bin", "size": 1, "lfs": {"sha256": 1, "size": 1, "pointerSize": 1}}]},
        {"sha": "../../other"},
        {"sha": "x" * 5000},
        {"siblings": []},
        {"siblings": [{"rfilename": f"{'n' * 5000}{number}\x1b"} for number in range(50)]},
    ],
)
def test_nonsense_in_a_list_is_an_error_of_the_source(changed: dict[str, object]) -> None:
    """Sizes, names and commits of a hub that none can be raise a SourceError with a short message, and no other."""
    with running_hub() as hub:
        hub.add(REPOSITORY, "a.bin", b"model")
        listed = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": "a.bin", "size": 5}]} | changed
        hub.redirects[f"/api/models/{REPOSITORY}/revision/main"] = hub.put("/list", json.dumps(listed).encode())

        with pytest.raises(SourceError) as refused:
            find_files(PullRequest(repository=REPOSITORY, files="a.*"), hub.url, None)
    assert len(str(refused.value)) < 3000
    assert str(refused.value).isprintable()


@pytest.mark.anyio
async def test_a_head_that_drips_is_given_up() -> None:
    """A source whose head comes byte by byte, each in time, is given up when the head as a whole takes too long."""
    enough, ended = asyncio.Event(), asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        with contextlib.suppress(OSError):
            while not enough.is_set():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        ended.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.bin"
    source = UrlSource(HttpClient(60, head_seconds=0.5), (url,))
    with pytest.raises(SourceUnavailable, match="too slowly"):
        await source.resolve(PullRequest(url=url), CapacityLimiter(1))
    enough.set()
    await ended.wait()
    await source.aclose()
    server.close()


@pytest.mark.anyio
async def test_a_long_etag_is_not_used() -> None:
    """An ETag that is longer than any server's, or not printable, counts as none."""
    with running_hub() as hub:
        url = hub.put("/a.bin", b"model")
        for etag in ('"' + "x" * 5000 + '"', 'W/"1"', '"\xff"', "1"):
            hub.faults.append(Fault(headers={"ETag": etag}))
            source = UrlSource(HttpClient(5), (hub.cdn_url,))
            async with source.open(SourceFile("a.bin", url)) as answer:
                assert answer.etag is None
            await source.aclose()


def test_the_patterns_of_pulls_are_not_kept() -> None:
    """A caller may send a new pattern with each pull. The expressions of only some of them stay in memory."""

    def match(numbers: range) -> None:
        for number in numbers:
            assert matching([f"b/{number}.bin", f"a/{number}.bin", "c.bin"], f"*/{number}.bin") == [
                f"a/{number}.bin",
                f"b/{number}.bin",
            ]

    match(range(600))  # Python keeps the last 512 expressions
    assert kept_bytes(lambda: match(range(600, 3600))) < 300_000
