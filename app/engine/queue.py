"""Whose turn it is: one user of the engine at a time, in the order in which they came, and only a few may wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import EngineBusy


class CallQueue:
    """The queue before one engine."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._queue = asyncio.Lock()
        self._engine = asyncio.Lock()
        """Only the first of the queue waits for this one, so that the supervisor never waits behind more than one."""
        self._waiting = 0

    @property
    def is_taken(self) -> bool:
        """Whether somebody uses the engine, or is the next to."""
        return self._queue.locked() or self._engine.locked()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._waiting

    def require_queue_space(self) -> None:
        """Raise EngineBusy when too many wait already."""
        if self.is_taken and self._waiting >= self._size:
            raise EngineBusy(self._waiting)

    @asynccontextmanager
    async def take(self, *, bypass_limit: bool = False) -> AsyncIterator[None]:
        """Wait for a turn, and have it; raises EngineBusy at once when too many wait already.

        Who was admitted before, and comes back for more, is not refused.
        """
        if not bypass_limit:
            self.require_queue_space()
        async with contextlib.AsyncExitStack() as turn:
            self._waiting += 1
            try:
                await turn.enter_async_context(self._queue)
                await turn.enter_async_context(self._engine)
            finally:
                self._waiting -= 1
            yield

    @asynccontextmanager
    async def acquire_first(self) -> AsyncIterator[None]:
        """Have a turn before all who wait, and count as nobody's waiting: for the supervisor itself."""
        async with self._engine:
            yield
