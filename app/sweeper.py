"""Runs the sweeps of a service every few seconds."""

import asyncio
import time
from collections.abc import Callable, Sequence

from anyio import CapacityLimiter, to_thread

from app.errors import StoreError
from app.events import EventName, OnEvent
from app.store import explaining_refusals

SWEEP_PAUSE_SECONDS = 5.0
SWEEP_PAUSE_SHARE = 20
"""A pause is at least this many times as long as the sweep before it, so that long sweeps do not keep a disk busy."""


async def keep_swept(sweeps: Sequence[Callable[[], object]], on_event: OnEvent, on_swept: Callable[[], None]) -> None:
    """Run all sweeps one after another, every few seconds, until cancelled. Call `on_swept` if none of them failed.

    If a sweep raises a StoreError or OSError, the remaining sweeps wait for the next round: they use the same folder,
    which is missing or read-only for them too. If a sweep has a defect, the remaining sweeps still run.
    """

    def sweep() -> None:
        is_complete = True
        with explaining_refusals():
            for each in sweeps:
                try:
                    each()
                except (StoreError, OSError):
                    raise
                except Exception as exc:  # noqa: BLE001 - a defect, which is logged
                    is_complete = False
                    on_event(EventName.SERVICE_PART_RESTARTED, {"part": "sweeper", "exc_info": exc})
        if is_complete:
            on_swept()

    thread = CapacityLimiter(1)  # not a shared thread, so that a volume that does not answer delays no other work
    while True:
        began = time.monotonic()
        try:
            await to_thread.run_sync(sweep, limiter=thread, abandon_on_cancel=True)
        except (StoreError, OSError) as exc:
            on_event(EventName.TRASH_SWEEP_FAILED, {"error": str(exc)})
        await asyncio.sleep(max(SWEEP_PAUSE_SECONDS, SWEEP_PAUSE_SHARE * (time.monotonic() - began)))
