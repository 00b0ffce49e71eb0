"""Sweeps the trash now and then, for as long as the service lives."""

import asyncio
import time

from anyio import CapacityLimiter, to_thread

from app.errors import StoreError
from app.events import EventName, OnEvent
from app.store.store import Store

PAUSE_SECONDS = 5.0
PAUSE_SHARE = 20
"""A pause is at least that many times as long as the sweep before it: a large trash does not keep a disk busy."""


async def keep_swept(store: Store, on_event: OnEvent) -> None:
    """Purge what has expired, within seconds of its time, until cancelled."""
    thread = CapacityLimiter(1)  # of its own: a volume that does not answer keeps nobody else waiting
    while True:
        began = time.monotonic()
        try:
            await to_thread.run_sync(store.sweep, limiter=thread, abandon_on_cancel=True)
        except (StoreError, OSError) as exc:
            on_event(EventName.TRASH_SWEEP_FAILED, {"error": str(exc)})
        await asyncio.sleep(max(PAUSE_SECONDS, PAUSE_SHARE * (time.monotonic() - began)))
