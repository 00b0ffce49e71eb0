"""Writes results to the model folder, and tries again while the folder is unavailable."""

import time
from collections.abc import Callable

import anyio
from anyio import CancelScope, to_thread

from app.errors import StoreError

RETRY_SECONDS = 600.0
"""For how many seconds a failed write is tried again, so that finished work is not lost. An unmounted or full folder
can usually be written again sooner."""
RETRY_PAUSE_SECONDS = 0.5


async def until_written(write: Callable[[], None]) -> None:
    """Call `write`, which writes to the model folder, in a thread until it succeeds.

    Raises the StoreError or OSError of `write` if it still fails after RETRY_SECONDS, and any other exception of
    `write`, such as RecordDamaged, at once. A cancellation interrupts only the pauses between two calls.
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
