"""Collects chunks into larger blocks, because each write of a block takes a thread."""

from collections.abc import AsyncIterator

BLOCK_BYTES = 1 << 20


async def in_blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the bytes of the chunks in blocks of at least BLOCK_BYTES; the last block may be smaller, or empty."""
    filling = bytearray()
    async for chunk in chunks:
        filling += chunk
        if len(filling) >= BLOCK_BYTES:
            yield bytes(filling)
            filling.clear()
    yield bytes(filling)
