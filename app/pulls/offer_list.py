"""The list of OCR models that a site offers: requested in the background, cached, and returned without a long wait."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from app.errors import SourceError, SourceUnavailable
from app.pulls.sources.resources import Offer, ResourceSource

FRESH_SECONDS = 600.0
"""How long, in seconds, an answer of the site is used. The vendor adds an OCR model a few times a year."""
RETRY_SECONDS = 30.0
"""How long, in seconds, a failure is remembered, so that not every request asks a site that cannot be reached."""
WAIT_SECONDS = 5.0
"""How many seconds a request waits for the site at most."""
REFRESH_SECONDS = 120.0
"""How many seconds the site may take for its list and the sizes of all files together."""
SIZES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class SiteAnswer:
    """What is known of the site's offers."""

    offers: tuple[Offer, ...] | None = None
    """The OCR models in the site's last answer, sorted by name; None if the site has not answered yet."""
    asked_at: datetime | None = None
    """When the site gave its last answer; None if the site has not answered yet."""
    error: str | None = None
    """Why the site's present offers are not known; None if they are."""


class OfferList:
    """The offers of one site."""

    def __init__(
        self,
        source: ResourceSource,
        *,
        wait_seconds: float = WAIT_SECONDS,
        fresh_seconds: float = FRESH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._source = source
        self._wait_seconds = wait_seconds
        self._fresh_seconds = fresh_seconds
        self._retry_seconds = retry_seconds
        self._answer = SiteAnswer()
        self._due = float("-inf")
        """When the site is asked again, by the clock of the event loop."""
        self._listed = asyncio.Event()
        """Set when the present refresh has the site's list or has failed."""
        self._refresh: asyncio.Task[None] | None = None

    @property
    def site_url(self) -> str | None:
        """The URL of the site; None if there is none."""
        return self._source.site_url

    async def current(self) -> SiteAnswer:
        """Return what the site offers, and ask the site if the last answer is too old.

        Waits `wait_seconds` at most. If the site has not answered by then, returns the offers of its last answer and an
        error; the new answer is awaited in the background.
        """
        is_running = self._refresh is not None and not self._refresh.done()
        if not is_running and asyncio.get_running_loop().time() >= self._due:
            self._listed.clear()
            self._refresh = asyncio.create_task(self._ask())
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._listed.wait()
        except TimeoutError:
            waited = f"the site has not answered within {self._wait_seconds:g} s. Try again later"
            return replace(self._answer, error=self._answer.error or f"{self.site_url}: {waited}.")
        return self._answer

    async def close(self) -> None:
        """Stop asking, and close the connections."""
        if self._refresh:
            self._refresh.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refresh
        await self._source.aclose()

    async def _ask(self) -> None:
        """Ask the site for its list, then for the sizes that the list lacks. Raises nothing but CancelledError."""
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                sizes = {offer.name: offer.size_bytes for offer in self._answer.offers or ()}
                offers = [
                    replace(offer, size_bytes=offer.size_bytes or sizes.get(offer.name))
                    for offer in await self._source.offers()
                ]
                self._answer = SiteAnswer(tuple(offers), datetime.now(UTC))
                self._due = now() + self._fresh_seconds
                self._listed.set()
                await self._ask_for_sizes(offer.name for offer in offers if offer.size_bytes is None)
        except SourceError as exc:
            self._answer, self._due = replace(self._answer, error=str(exc)), now() + self._retry_seconds
        except TimeoutError:  # of the sizes, which are optional
            pass
        finally:
            self._listed.set()

    async def _ask_for_sizes(self, names: Iterable[str]) -> None:
        """Ask for the sizes of files. Stops at the first sign that the site is overloaded or away."""
        waiting = list(names)

        async def ask() -> None:
            while waiting:
                name = waiting.pop(0)
                try:
                    self._note_size(name, await self._source.size_of(name))
                except SourceUnavailable:
                    waiting.clear()
                except SourceError:  # such as a file that is in the list only
                    continue

        async with asyncio.TaskGroup() as group:
            for _ in range(SIZES_AT_ONCE):
                group.create_task(ask())

    def _note_size(self, name: str, size_bytes: int | None) -> None:
        offers = self._answer.offers or ()
        noted = tuple(replace(each, size_bytes=size_bytes) if each.name == name else each for each in offers)
        self._answer = replace(self._answer, offers=noted)
