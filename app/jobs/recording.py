"""Writes what must not be lost to the model folder, again and again while the folder is away."""

import time
from collections.abc import Callable

import anyio
from anyio import CancelScope, to_thread

from app.errors import StoreError

RETRY_SECONDS = 600.0
"""How long to try. The work is done by then, and a folder that is unmounted or full usually comes back sooner."""
RETRY_PAUSE_SECONDS = 0.5


async def until_written(write: Callable[[], None]) -> None:
    """Call a function that writes to the model folder in a thread, until it succeeds.

    Raises its StoreError or OSError if it still fails after RETRY_SECONDS. A cancellation interrupts only the pauses.
    """
    give_up_at = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            with CancelScope(shield=True):
                await to_thread.run_sync(write)
        except (StoreError, OSError):
            if time.monotonic() >= give_up_at:
                raise
        else:
            return
        await anyio.sleep(RETRY_PAUSE_SECONDS)
