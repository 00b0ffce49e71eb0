"""The queue in front of the engine: one caller uses the engine, a limited number wait, in order of arrival."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import EngineBusy


class CallQueue:
    """The callers that wait for one engine; at most `size` of them wait while one uses the engine."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._queue = asyncio.Lock()
        self._engine = asyncio.Lock()
        """Held by the caller that uses the engine. At most one queued caller waits for it, ahead of the supervisor."""
        self._waiting = 0

    @property
    def is_busy(self) -> bool:
        """Whether a caller uses the engine or is about to."""
        return self._queue.locked() or self._engine.locked()

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return self._waiting

    def require_queue_space(self) -> None:
        """Raise EngineBusy if the queue is full."""
        if self.is_busy and self._waiting >= self._size:
            raise EngineBusy(self._waiting)

    @asynccontextmanager
    async def acquire(self, *, bypass_limit: bool = False) -> AsyncIterator[None]:
        """Wait for the engine in order of arrival, then hold it alone. Raises EngineBusy at once if the queue is full.

        `bypass_limit` admits the caller to a full queue: it is for the later items of a job that was accepted.
        """
        if not bypass_limit:
            self.require_queue_space()
        async with contextlib.AsyncExitStack() as held:
            self._waiting += 1
            try:
                await held.enter_async_context(self._queue)
                await held.enter_async_context(self._engine)
            finally:
                self._waiting -= 1
            yield

    @asynccontextmanager
    async def acquire_first(self) -> AsyncIterator[None]:
        """Wait for the engine ahead of all queued callers, then hold it alone. For the supervisor only."""
        async with self._engine:
            yield
