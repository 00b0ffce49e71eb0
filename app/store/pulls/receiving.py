"""Bytes that come over a network go into a staged file while the next ones come."""

import asyncio
from collections.abc import AsyncIterable

from anyio import CancelScope, CapacityLimiter, to_thread

from app.store.staged import StagedFile

BUFFER_BYTES = 4 << 20
"""So much may wait while a thread writes and hashes what came before it; then the other side has to wait."""


async def write_all(chunks: AsyncIterable[bytes], staged: StagedFile, threads: CapacityLimiter) -> None:
    """Write everything that comes, as soon as it comes; raises StoreFull, StoreReadOnly, and what the chunks raise.

    What came before an error is written before that is raised: whoever can goes on there.
    """
    waiting = bytearray()
    writing: asyncio.Task[None] | None = None

    async def write() -> None:
        nonlocal waiting
        while waiting:
            data, waiting = waiting, bytearray()
            await to_thread.run_sync(staged.write, data, limiter=threads)

    try:
        async for chunk in chunks:
            waiting += chunk
            if writing and len(waiting) >= BUFFER_BYTES:
                await asyncio.wait({writing})
            if writing is None or writing.done():
                if writing:
                    writing.result()
                writing = asyncio.create_task(write())
    finally:
        with CancelScope(shield=True):
            if writing:
                await writing
            await write()
