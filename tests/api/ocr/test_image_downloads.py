"""Downloads of images from sources that are slow, endless, out of reach or not allowed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.api.images.downloads import AT_ONCE, ImageDownloads
from app.api.images.received import Image
from app.engine.child.images.preparation import prepare
from app.engine.contract.recognition_call import ImageLimits
from app.errors import ImageTooLarge, SourceNotAllowed, SourceUnavailable, StateUnavailable, UnsupportedImage
from app.fetching.allowed_urls import AllowedUrls
from app.fetching.checked_chunks import LeastRate
from app.fetching.http_client import HttpClient
from tests.corpus.case import PAGE, saved
from tests.support.defects.endless import endless_server
from tests.support.hub import Fault, running_hub
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio
ANY_RATE = LeastRate(0, 1.0)
MAX_BYTES = 1 << 20


@asynccontextmanager
async def downloads_from(*allowed: str, least_rate: LeastRate = ANY_RATE) -> AsyncIterator[ImageDownloads]:
    """Yield downloads of at most a mebibyte from the allowed URLs."""
    downloads = ImageDownloads(HttpClient(60), AllowedUrls(allowed), least_rate, max_bytes=MAX_BYTES, seconds=600)
    try:
        yield downloads
    finally:
        await downloads.aclose()


@pytest.fixture
def anyio_backend() -> str:
    """Run these tests on asyncio's own event loop, whose clock a test can set."""
    return "asyncio"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that sets the clock of the running event loop an hour ahead."""

    def later() -> None:
        loop = asyncio.get_running_loop()
        clock = loop.time
        monkeypatch.setattr(loop, "time", lambda: clock() + 3600)

    return later


def downloads_running() -> int:
    """Return how many downloads of one image run."""
    return sum(getattr(task.get_coro(), "__name__", "") == "_fetch" for task in asyncio.all_tasks())


async def test_an_endless_image_ends_at_the_limit(tmp_path: Path) -> None:
    """A source that states no size and never ends is left at OCR_MAX_IMAGE_BYTES."""
    with endless_server() as server:
        async with downloads_from(server.url) as downloads:
            (image,) = await downloads.fetch([f"{server.url}/a.png"], tmp_path, None)
        sent_bytes = server.sent_bytes

    assert isinstance(image.error, ImageTooLarge)
    assert "OCR_MAX_IMAGE_BYTES" in str(image.error)
    assert sent_bytes < 64 << 20  # the limit and the buffers of the connection
    assert sum(path.stat().st_size for path in tmp_path.rglob("image")) <= MAX_BYTES


async def test_a_source_below_the_least_rate_is_left(tmp_path: Path) -> None:
    """A source that sends less than OCR_PULL_MIN_RATE is left, though bytes come."""
    with running_hub() as hub:
        url = hub.put("/a.png", bytes(MAX_BYTES))
        hub.faults.append(Fault(pause_seconds=0.05))
        async with downloads_from(hub.cdn_url, least_rate=LeastRate(1 << 40, 0.1)) as downloads:
            (image,) = await downloads.fetch([url], tmp_path, None)

    assert isinstance(image.error, SourceUnavailable)
    assert "OCR_PULL_MIN_RATE" in str(image.error)


async def test_what_is_late_has_an_error(tmp_path: Path, later: Callable[[], None]) -> None:
    """When the time for all images of a request is over, those that have arrived are kept, in the requested order."""
    with running_hub() as hub:
        late, early = hub.put("/late.png", b"late"), hub.put("/early.png", b"early")
        hub.redirects["/moved.png"] = "/early.png"
        hub.usual_at = lambda path: Fault(wait_after=2 if path == "/late.png" else None)  # type: ignore[method-assign]
        async with downloads_from(hub.cdn_url) as downloads:
            urls = [late, early, f"{hub.cdn_url}/moved.png"]
            fetching = asyncio.create_task(downloads.fetch(urls, tmp_path, "word"))
            await eventually_async(lambda: len(hub.seen) == 4 and downloads_running() == 1, within=50)
            later()
            images = await fetching

    assert isinstance(images[0].error, SourceUnavailable)
    assert "OCR_IMAGE_DOWNLOAD_TIMEOUT" in str(images[0].error)
    assert images[1:] == [
        Image(tmp_path / "1" / "image", early, "word"),
        Image(tmp_path / "2" / "image", f"{hub.cdn_url}/moved.png", "word"),
    ]
    assert [image.path.read_bytes() for image in images[1:]] == [b"early"] * 2


async def test_a_few_images_are_downloaded_at_once(tmp_path: Path, later: Callable[[], None]) -> None:
    """No more than a few images of one request are downloaded at once, so that a source is not flooded."""
    with running_hub() as hub:
        url = hub.put("/a.png", b"image")
        hub.faults.extend([Fault(wait_after=2)] * AT_ONCE)
        async with downloads_from(hub.cdn_url) as downloads:
            fetching = asyncio.create_task(downloads.fetch([url] * (AT_ONCE + 3), tmp_path, None))
            await eventually_async(lambda: len(hub.seen) == AT_ONCE, within=50)
            later()
            images = await fetching

    assert all(isinstance(image.error, SourceUnavailable) for image in images)
    assert len(hub.seen) == AT_ONCE


async def test_urls_that_are_not_requested(tmp_path: Path) -> None:
    """Without OCR_PULL_ALLOWED_URLS each URL is refused; an allowed server that does not listen is unavailable."""
    async with downloads_from() as downloads:
        (refused,) = await downloads.fetch(["http://127.0.0.1:1/a.png?secret"], tmp_path, None)
    async with downloads_from("http://127.0.0.1:1") as downloads:
        (unreached,) = await downloads.fetch(["http://127.0.0.1:1/a.png?secret"], tmp_path, None)

    assert isinstance(refused.error, SourceNotAllowed)
    assert "OCR_PULL_ALLOWED_URLS allows no URL" in str(refused.error)
    assert isinstance(unreached.error, SourceUnavailable)
    assert "secret" not in f"{refused} {unreached} {refused.error} {unreached.error}"


async def test_what_is_no_image_is_judged_by_its_bytes(tmp_path: Path) -> None:
    """A page for a login in place of an image is refused as such, and an image is read, whatever types are stated."""
    with running_hub() as hub:
        hub.faults.append(Fault(headers={"Content-Type": "image/png"}))
        hub.faults.append(Fault(headers={"Content-Type": "text/html"}))
        urls = [hub.put("/a.png", b"<!DOCTYPE html><title>Log in</title>"), hub.put("/b.html", saved(PAGE, "PNG"))]
        for url in urls:
            (tmp_path / url[-1]).mkdir()
        async with downloads_from(hub.cdn_url) as downloads:
            (page,), (image,) = [await downloads.fetch([url], tmp_path / url[-1], None) for url in urls]

    with pytest.raises(UnsupportedImage, match="an HTML page"):
        prepare(page.path, None, ImageLimits(1_000_000, 1))
    assert prepare(image.path, None, ImageLimits(1_000_000, 1))[0].size == PAGE.size


async def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """An image that cannot be written has the error of the state folder."""
    with running_hub() as hub:
        url = hub.put("/a.png", b"image")
        async with downloads_from(hub.cdn_url) as downloads:
            (image,) = await downloads.fetch([url], tmp_path / "missing", None)

    assert isinstance(image.error, StateUnavailable)
