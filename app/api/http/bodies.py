"""The bodies of requests as they come, whose senders may stall or go away."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect

from app.api.http.request_errors import BodyCutShort, UploadStalled


async def next_chunk(chunks: AsyncIterator[bytes], stall_seconds: float | None) -> bytes:
    """What came next; nothing at the end. Raises UploadStalled when nothing comes for so long, and BodyCutShort."""
    try:
        async with asyncio.timeout(stall_seconds):
            return await anext(chunks)
    except TimeoutError:
        raise UploadStalled(stall_seconds or 0) from None
    except ClientDisconnect:
        raise BodyCutShort from None
