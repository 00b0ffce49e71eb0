"""Bytes that come over a network, in an upload or a pull, go into a staged file while the next ones come."""

import asyncio
import contextlib
from collections.abc import AsyncIterable

from anyio import CancelScope, CapacityLimiter, to_thread

from app.store.incoming.staged_file import StagedFile

BUFFER_BYTES = 4 << 20
"""One is written and hashed by a thread while the next one fills: twice that is what a transfer takes of memory."""
LONGEST_SECONDS = 0.05
"""How long bytes wait for more to be written with: a thread for each few of them would cost more than they do."""


async def write_all(chunks: AsyncIterable[bytes], staged: StagedFile, threads: CapacityLimiter) -> None:
    """Write everything that comes, soon after it comes; raises StoreFull, StoreReadOnly, and what the chunks raise.

    What came before an error is written before that is raised: whoever can goes on there.
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
