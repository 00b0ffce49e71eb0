"""Writes the bytes of an upload or a pull to a staged file while the next ones arrive."""

import asyncio
import contextlib
from collections.abc import AsyncIterable

from anyio import CancelScope, CapacityLimiter, to_thread

from app.store.incoming.staged_file import StagedFile

BUFFER_BYTES = 4 << 20
"""The size of a buffer. A thread writes and hashes one while the next one fills, so a transfer takes two of memory."""
LONGEST_SECONDS = 0.05
"""How long bytes wait for more before they are written: a call of a thread for each few bytes would cost more."""


async def write_all(chunks: AsyncIterable[bytes], staged: StagedFile, threads: CapacityLimiter) -> None:
    """Write all chunks to a staged file. Raises StoreFull, StoreReadOnly, and what the chunks raise.

    Bytes that arrived before an error are written before it is raised, so that the transfer can be resumed after them.
    """
    waiting = bytearray()
    writing: asyncio.Task[None] | None = None
    is_enough, was_taken = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        nonlocal waiting
        try:
            while waiting:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_SECONDS):
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
            if len(waiting) >= BUFFER_BYTES:
                was_taken.clear()
                is_enough.set()
                await was_taken.wait()
    finally:
        if writing:
            is_enough.set()
            with CancelScope(shield=True):
                await writing
