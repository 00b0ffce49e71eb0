"""Downloads of images from sources that are slow, endless, out of reach or not allowed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.api.images.downloads import ImageDownloads
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


async def test_an_endless_image_ends_at_the_limit(tmp_path: Path) -> None:
    """A source that states no size and never ends is left at OCR_MAX_IMAGE_BYTES."""
    with endless_server() as server:
        async with downloads_from(server.url) as downloads:
            with pytest.raises(ImageTooLarge, match="OCR_MAX_IMAGE_BYTES"):
                await downloads.fetch(f"{server.url}/a.png", tmp_path, None)
        sent_bytes = server.sent_bytes

    assert sent_bytes < 64 << 20  # the limit and the buffers of the connection
    assert sum(path.stat().st_size for path in tmp_path.rglob("image")) <= MAX_BYTES


async def test_a_source_below_the_least_rate_is_left(tmp_path: Path) -> None:
    """A source that sends less than OCR_PULL_MIN_RATE is left, though bytes come."""
    with running_hub() as hub:
        url = hub.put("/a.png", bytes(MAX_BYTES))
        hub.faults.append(Fault(pause_seconds=0.05))
        async with downloads_from(hub.cdn_url, least_rate=LeastRate(1 << 40, 0.1)) as downloads:
            with pytest.raises(SourceUnavailable, match="OCR_PULL_MIN_RATE"):
                await downloads.fetch(url, tmp_path, None)


async def test_what_is_late_has_an_error(tmp_path: Path, later: Callable[[], None]) -> None:
    """An image that has not arrived within OCR_IMAGE_DOWNLOAD_TIMEOUT has an error; a redirect is followed."""
    with running_hub() as hub:
        late = hub.put("/late.png", b"late")
        hub.put("/early.png", b"early")
        hub.redirects["/moved.png"] = "/early.png"
        hub.usual_at = lambda path: Fault(wait_after=2 if path == "/late.png" else None)  # type: ignore[method-assign]
        async with downloads_from(hub.cdn_url) as downloads:
            image = await downloads.fetch(f"{hub.cdn_url}/moved.png", tmp_path, "word")
            fetching = asyncio.create_task(downloads.fetch(late, tmp_path / "late", None))
            (tmp_path / "late").mkdir()
            await eventually_async(lambda: len(hub.seen) == 3, within=50)
            later()
            with pytest.raises(SourceUnavailable, match="OCR_IMAGE_DOWNLOAD_TIMEOUT"):
                await fetching

    assert image == Image(tmp_path / "0" / "image", f"{hub.cdn_url}/moved.png", "word")
    assert image.path.read_bytes() == b"early"


async def test_urls_that_are_not_requested(tmp_path: Path) -> None:
    """Without OCR_PULL_ALLOWED_URLS each URL is refused; an allowed server that does not listen is unavailable."""
    async with downloads_from() as downloads:
        with pytest.raises(SourceNotAllowed, match="OCR_PULL_ALLOWED_URLS allows no URL") as refused:
            await downloads.fetch("http://127.0.0.1:1/a.png?secret", tmp_path, None)
    async with downloads_from("http://127.0.0.1:1") as downloads:
        with pytest.raises(SourceUnavailable) as unreached:
            await downloads.fetch("http://127.0.0.1:1/a.png?secret", tmp_path, None)

    assert "secret" not in f"{refused.value} {unreached.value}"


async def test_what_is_no_image_is_judged_by_its_bytes(tmp_path: Path) -> None:
    """A page for a login in place of an image is refused as such, and an image is read, whatever types are stated."""
    with running_hub() as hub:
        hub.faults.append(Fault(headers={"Content-Type": "image/png"}))
        hub.faults.append(Fault(headers={"Content-Type": "text/html"}))
        urls = [hub.put("/a.png", b"<!DOCTYPE html><title>Log in</title>"), hub.put("/b.html", saved(PAGE, "PNG"))]
        for url in urls:
            (tmp_path / url[-1]).mkdir()
        async with downloads_from(hub.cdn_url) as downloads:
            page, image = [await downloads.fetch(url, tmp_path / url[-1], None) for url in urls]

    with pytest.raises(UnsupportedImage, match="an HTML page"):
        prepare(page.path, None, ImageLimits(1_000_000, 1))
    assert prepare(image.path, None, ImageLimits(1_000_000, 1))[0].size == PAGE.size


async def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """An image that cannot be written has the error of the state folder."""
    with running_hub() as hub:
        url = hub.put("/a.png", b"image")
        async with downloads_from(hub.cdn_url) as downloads:
            with pytest.raises(StateUnavailable):
                await downloads.fetch(url, tmp_path / "missing", None)
