"""Whose turn it is: one user of the engine at a time, in the order in which they came, and only a few may wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import EngineBusy


class Turns:
    """The queue before one engine."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = asyncio.Lock()
        self._waiting = 0

    @property
    def is_taken(self) -> bool:
        """Whether somebody uses the engine."""
        return self._lock.locked()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._waiting

    def insist_on_room(self) -> None:
        """Raise EngineBusy when too many wait already."""
        if self._lock.locked() and self._waiting >= self._size:
            raise EngineBusy(self._waiting)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it; raises EngineBusy at once when too many wait already."""
        self.insist_on_room()
        self._waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._lock.release()

    @asynccontextmanager
    async def slip_in(self) -> AsyncIterator[None]:
        """Have a turn that counts as nobody's waiting: for the supervisor itself."""
        async with self._lock:
            yield
