"""Looks for work again and again, at once when woken, until it is stopped. The work runs in one group of tasks."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup

POLL_INTERVAL_SECONDS = 1.0
"""The pause, in seconds, between two looks for work that no process does."""


class PollLoop:
    """The loop of a part that takes work from the folder."""

    def __init__(self, look: Callable[[TaskGroup], Awaitable[None]]) -> None:
        """`look` takes the work that is there, and starts it in the group of tasks."""
        self._look = look
        self._scope = CancelScope()
        self._is_stopping = False
        self._draining = asyncio.Event()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look for work until `stop` or `drain` is called. May be called again after an exception."""
        self._scope = CancelScope()
        if self._is_stopping:
            return
        with self._scope:
            async with anyio.create_task_group() as tasks:
                while not self._draining.is_set():
                    self._wake.clear()
                    await self._look(tasks)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), POLL_INTERVAL_SECONDS)

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    @property
    def is_draining(self) -> bool:
        """True after `drain`: the loop takes no more work."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Take no more work. `run` returns when the tasks that it has started have ended."""
        self._draining.set()
        self._wake.set()

    async def pause(self, seconds: float) -> None:
        """Wait, in a task that `look` has started, for some seconds or until `drain` is called."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), seconds)

    def stop(self) -> None:
        """Cancel the loop and the tasks that it has started."""
        self._is_stopping = True
        self._draining.set()  # asyncio.wait_for may lose a cancellation; without this, work would be taken again then
        self._scope.cancel()
