"""What is known of a site's offers: cached, bounded, and never lost because the site is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest

from app.fetching.http_client import HttpClient
from app.pulls.offer_list import OfferList, SiteAnswer
from app.pulls.sources.resources import Offer, ResourceSource
from tests.support.hub import Fault, Hub, running_hub
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio
LIST = "/ocr/RESOURCES.json"


@pytest.fixture
def site() -> Iterator[Hub]:
    """Run a site that offers two OCR models, one with its size in the list."""
    with running_hub() as hub:
        entries = [{"file": "aspose-ocr-b-v1"}, {"file": "aspose-ocr-a-v1", "size_bytes": 7}]
        hub.put(LIST, json.dumps({"actual": entries}).encode())
        hub.put("/ocr/aspose-ocr-b-v1.ocr", b"12345")
        yield hub


@pytest.fixture
async def offers(site: Hub) -> AsyncIterator[OfferList]:
    """Ask the site at each call, and wait for it."""
    found = offer_list(site, wait_seconds=30, fresh_seconds=0, retry_seconds=0)
    yield found
    await found.close()


def offer_list(site: Hub, **times: float) -> OfferList:
    return OfferList(ResourceSource(HttpClient(30), f"{site.cdn_url}/ocr", ()), **times)


def names(answer: SiteAnswer) -> list[str]:
    return [offer.name for offer in answer.offers or ()]


async def test_sizes_that_the_list_lacks_are_asked_for(site: Hub, offers: OfferList) -> None:
    """The offers are sorted; a size that the list lacks comes from the file's own headers, soon after."""
    first = await offers.current()

    assert names(first) == ["aspose-ocr-a-v1", "aspose-ocr-b-v1"]
    assert (first.error, first.asked_at is None) == (None, False)

    async def sizes() -> list[int | None]:
        return [offer.size_bytes for offer in (await offers.current()).offers or ()]

    async with asyncio.timeout(30):
        while await sizes() != [7, 5]:
            await asyncio.sleep(0.05)
    assert {seen.path for seen in site.asked("cdn", "HEAD")} == {"/ocr/aspose-ocr-b-v1.ocr"}


async def test_an_answer_is_used_until_it_is_too_old(site: Hub) -> None:
    """Many calls at once, and later calls, cause one request for the list."""
    found = offer_list(site, wait_seconds=30)
    await asyncio.gather(*(found.current() for _ in range(20)))
    await found.current()
    await found.close()

    assert len([seen for seen in site.asked("cdn") if seen.path.startswith(LIST)]) == 1


async def test_a_failure_keeps_the_last_list_and_is_remembered(site: Hub) -> None:
    """If the site fails, the last list stays with the error; the failure is remembered for a while."""
    found = offer_list(site, wait_seconds=30, fresh_seconds=0)
    await found.current()
    site.faults.append(Fault(status=503))
    await eventually_async(lambda: len(site.asked("cdn", "HEAD")) == 1, within=30)
    async with asyncio.timeout(30):
        while (answer := await found.current()).error is None:
            await asyncio.sleep(0.05)
    asked = len(site.seen)
    again = await found.current()
    await found.close()

    assert names(answer) == ["aspose-ocr-a-v1", "aspose-ocr-b-v1"]
    assert "503" in str(answer.error)
    assert again == answer
    assert len(site.seen) == asked


async def test_a_site_that_hangs_delays_no_answer(site: Hub) -> None:
    """A site that sends nothing gives an error after the wait; its answer is used when it comes."""
    fault = Fault(wait_after=10)
    site.faults.append(fault)
    found = offer_list(site, wait_seconds=0.2)
    early = await found.current()
    fault.gate.set()
    async with asyncio.timeout(30):
        while (late := await found.current()).offers is None:
            await asyncio.sleep(0.05)
    await found.close()

    assert (early.offers, early.asked_at) == (None, None)
    assert "has not answered within 0.2 s" in str(early.error)
    assert (late.error, late.offers and late.offers[0]) == (None, Offer("aspose-ocr-a-v1", 7))


async def test_closing_ends_a_request_that_waits(site: Hub) -> None:
    """A service that shuts down does not wait for the site."""
    site.faults.append(Fault(wait_after=10))
    found = offer_list(site, wait_seconds=0.1)
    await found.current()

    async with asyncio.timeout(30):
        await found.close()
