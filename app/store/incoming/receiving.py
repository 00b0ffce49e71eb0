"""Writes the bytes of an upload or a pull to a staged file while the next bytes arrive."""

import asyncio
import contextlib
from collections.abc import AsyncIterable

from anyio import CancelScope, CapacityLimiter, to_thread

from app.store.incoming.staged_file import StagedFile

WRITE_BUFFER_BYTES = 4 << 20
"""The size of a buffer. A thread writes and hashes one buffer while another fills, so a transfer takes two buffers."""
GATHER_SECONDS = 0.05
"""How long, in seconds, received bytes wait for further bytes before a thread writes them. So a thread is not called
for each few bytes."""


async def write_all(chunks: AsyncIterable[bytes], staged: StagedFile, threads: CapacityLimiter) -> None:
    """Write all chunks to a staged file. Raises StoreFull, StoreReadOnly, and what `chunks` raises.

    If `chunks` raises, the bytes that have arrived are written first, so that a later request can resume the transfer.
    """
    waiting = bytearray()
    writing: asyncio.Task[None] | None = None
    is_enough, was_taken = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        nonlocal waiting
        try:
            while waiting:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GATHER_SECONDS):
                        await is_enough.wait()
                data, waiting = waiting, bytearray()
                is_enough.clear()
                was_taken.set()
                await to_thread.run_sync(staged.write, data, limiter=threads)
        finally:
            was_taken.set()

    try:
        async for chunk in chunks:
            waiting += chunk
            if writing is None or writing.done():
                if writing:
                    writing.result()
                writing = asyncio.create_task(write())
            if len(waiting) >= WRITE_BUFFER_BYTES:
                was_taken.clear()
                is_enough.set()
                await was_taken.wait()
    finally:
        if writing:
            is_enough.set()
            with CancelScope(shield=True):
                await writing
