"""Limits how many jobs run at once: each running job needs a slot.

A job that pauses gives its slot to another job, and later asks for a slot.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

PATIENCE_SECONDS = 30.0
"""How long, in seconds, a paused job may wait for a new slot. After that time, new jobs get no slot until the paused
job has one."""


class Slots:
    """A fixed number of slots.

    `serve` gives the free slots to the jobs that have asked for one, in the order in which they asked.
    """

    def __init__(self, count: int, on_free: Callable[[], None], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`on_free` is called when a slot becomes free or a job asks for one; it must arrange a call of `serve`."""
        self._patience_seconds = patience_seconds
        self._free = count
        self._on_free = on_free
        self._asking: list[Slot] = []

    def take(self) -> "Slot | None":
        """Return a slot for a new job.

        Returns None if no slot is free, or if the free slots are kept for jobs that have waited for `patience_seconds`.
        """
        has_waited = bool(self._asking) and time.monotonic() - self._asking[0].asked_at >= self._patience_seconds
        if not self._free or (has_waited and self._free <= len(self._asking)):
            return None
        self._free -= 1
        return Slot(self)

    def serve(self) -> None:
        """Give the free slots to the jobs that have asked for one."""
        while self._free and self._asking:
            self._free -= 1
            self._asking.pop(0).grant()

    def ask(self, slot: "Slot") -> None:
        """Put a slot's job at the end of the queue of jobs that have asked for a slot."""
        self._asking.append(slot)
        self._on_free()

    def give_back(self, slot: "Slot", *, is_held: bool, is_quiet: bool) -> None:
        """Free a slot if its job holds it, else remove the job from the queue of jobs that have asked for a slot."""
        if is_held:
            self._free += 1
            if not is_quiet:
                self._on_free()
        elif slot in self._asking:
            self._asking.remove(slot)


class Slot:
    """The slot of one job. The job holds its slot from the start."""

    def __init__(self, slots: Slots) -> None:
        self.is_held = True
        self.asked_at = 0.0
        """When the job asked to get its slot again, by the monotonic clock."""
        self._is_asking = False
        self._slots = slots
        self._granted = asyncio.Event()

    def grant(self) -> None:
        """Give the job its slot. Only `Slots` calls this."""
        self.is_held, self._is_asking = True, False
        self._granted.set()

    def release(self, *, is_quiet: bool = False) -> None:
        """Give the slot back. May be called twice. If `is_quiet`, no job gets it before the next `serve`."""
        was_held, self.is_held, self._is_asking = self.is_held, False, False
        self._granted.clear()
        self._slots.give_back(self, is_held=was_held, is_quiet=is_quiet)

    def ask(self) -> None:
        """Ask for a slot again for this job, without waiting until it gets one."""
        if not self.is_held and not self._is_asking:
            self._is_asking, self.asked_at = True, time.monotonic()
            self._slots.ask(self)

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Give the slot back during the `with` block. At the end of the block, wait until the job has a slot again."""
        self.release()
        yield
        self.ask()
        if not self.is_held:
            await self._granted.wait()
