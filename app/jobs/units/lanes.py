"""Limits how many units a service works on at once: each unit takes a place in its lane.

A unit that pauses, as a pull between two attempts, gives its place to another unit, and later asks for one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

PATIENCE_SECONDS = 30.0
"""How long, in seconds, a paused unit may wait for a new place. After that time, new units get no place until the
paused one has one."""
MOST_WAITING = 32
"""How many units of a lane may be paused at once in this service. It leaves further units to other services."""


class LaneName(StrEnum):
    """Which units share their places."""

    LOCAL = "local"
    """Units whose data is in the folder."""
    DOWNLOADS = "downloads"
    """Units that are downloaded first."""
    PULLS = "pulls"
    """Pulls."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """How many units a service works on at once."""

    local: int = 1
    """Of units whose data is in the folder. The engine works on one at a time; a second one could be done elsewhere."""
    downloads: int = 4
    """Of units that are downloaded first, since a source may be slow."""
    pulls: int = 2
    """How many pulls run at once."""

    def build(self, on_free: Callable[[], None]) -> "dict[LaneName, Lane]":
        """Return the lanes. `on_free` is called when a place becomes free; it must arrange a call of `Lane.serve`."""
        return {name: Lane(getattr(self, name), on_free) for name in LaneName}


class Lane:
    """A fixed number of places.

    `serve` gives the free places to the units that have asked for one, in the order in which they asked.
    """

    def __init__(self, count: int, on_free: Callable[[], None], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`on_free` is called when a place becomes free or a unit asks for one; it must arrange a call of `serve`."""
        self._patience_seconds = patience_seconds
        self._free = count
        self._most = count + MOST_WAITING
        self._on_free = on_free
        self._asking: list[Place] = []
        self.units = 0
        """How many units are worked on, the paused ones included."""

    @property
    def has_room(self) -> bool:
        """True if a new unit may take a place.

        False if no place is free, or if the free places are kept for units that have waited for `patience_seconds`.
        """
        has_waited = bool(self._asking) and time.monotonic() - self._asking[0].asked_at >= self._patience_seconds
        return self._free > (len(self._asking) if has_waited else 0) and self.units < self._most

    def take(self) -> "Place":
        """Return a place for a new unit. The caller has seen `has_room`, and only `serve` took places since."""
        self._free -= 1
        self.units += 1
        return Place(self)

    def serve(self) -> None:
        """Give the free places to the units that have asked for one."""
        while self._free > 0 and self._asking:
            self._free -= 1
            self._asking.pop(0).grant()

    def ask(self, place: "Place") -> None:
        """Put a unit at the end of the queue of units that have asked for a place."""
        self._asking.append(place)
        self._on_free()

    def give_back(self, place: "Place", *, is_held: bool) -> None:
        """Free a place if its unit holds it, else remove the unit from the queue of units that have asked for one."""
        if is_held:
            self._free += 1
            self._on_free()
        elif place in self._asking:
            self._asking.remove(place)


class Place:
    """The place of one unit. The unit holds its place from the start."""

    def __init__(self, lane: Lane) -> None:
        self.is_held = True
        self.asked_at = 0.0
        """When the unit asked to get its place again, by the monotonic clock."""
        self._is_asking = False
        self._lane = lane
        self._granted = asyncio.Event()

    def grant(self) -> None:
        """Give the unit its place. Only `Lane` calls this."""
        self.is_held, self._is_asking = True, False
        self._granted.set()

    def pause(self) -> None:
        """Give the place back. May be called twice."""
        was_held, self.is_held, self._is_asking = self.is_held, False, False
        self._granted.clear()
        self._lane.give_back(self, is_held=was_held)

    def leave(self) -> None:
        """Give the place back for good, when the work on the unit has ended."""
        self._lane.units -= 1
        self.pause()

    def ask(self) -> None:
        """Ask for a place again for this unit, without waiting until it gets one."""
        if not self.is_held and not self._is_asking:
            self._is_asking, self.asked_at = True, time.monotonic()
            self._lane.ask(self)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Give the place back during the `with` block. At the end of the block, wait until the unit has one again."""
        self.pause()
        yield
        self.ask()
        if not self.is_held:
            await self._granted.wait()
