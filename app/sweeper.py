"""Runs the sweeps of a service every few seconds."""

import asyncio
import time
from collections.abc import Callable, Sequence

from anyio import CapacityLimiter, to_thread

from app.errors import StoreError
from app.events import EventName, OnEvent
from app.store.volume.volume import explaining_refusals

PAUSE_SECONDS = 5.0
PAUSE_SHARE = 20
"""A pause is at least that many times as long as the sweep before it: a large trash does not keep a disk busy."""


async def keep_swept(sweeps: Sequence[Callable[[], object]], on_event: OnEvent) -> None:
    """Run the sweeps one after another every few seconds until cancelled; the first that fails ends the round.

    They share one folder: one that is missing or read-only is so for all of them.
    """

    def sweep() -> None:
        with explaining_refusals():
            for each in sweeps:
                each()

    thread = CapacityLimiter(1)  # of its own: a volume that does not answer makes no other work wait
    while True:
        began = time.monotonic()
        try:
            await to_thread.run_sync(sweep, limiter=thread, abandon_on_cancel=True)
        except (StoreError, OSError) as exc:
            on_event(EventName.TRASH_SWEEP_FAILED, {"error": str(exc)})
        await asyncio.sleep(max(PAUSE_SECONDS, PAUSE_SHARE * (time.monotonic() - began)))
