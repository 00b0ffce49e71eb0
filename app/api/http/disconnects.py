"""Detects callers that stall or disconnect while the service reads their body or processes their request."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.http.request_errors import BodyCutShort, CallerGone, UploadStalled

T = TypeVar("T")


async def next_chunk(chunks: AsyncIterator[bytes], stall_seconds: float | None) -> bytes:
    """Return the next chunk of a body, or b"" at its end.

    Raises UploadStalled if no chunk arrives within `stall_seconds`, and BodyCutShort if the caller disconnects.
    """
    try:
        async with asyncio.timeout(stall_seconds):
            return await anext(chunks)
    except TimeoutError:
        raise UploadStalled(stall_seconds or 0) from None
    except ClientDisconnect:
        raise BodyCutShort from None


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine; cancel it and raise CallerGone if the caller disconnects first.

    Call this only after the request's body has been read.
    """
    request.scope["ends_on_disconnect"] = True
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerGone
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.wait({working, gone})


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
