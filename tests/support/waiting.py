"""Waiting for what must come, with a deadline."""

import asyncio
import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")

STEP_SECONDS = 0.01


def eventually(probe: Callable[[], T | Literal[False] | None], *, within: float = 5.0) -> T:
    """Ask until the answer is true, and return it; fail when it is not within that many seconds."""
    deadline = time.monotonic() + within
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not within {within} s: {probe}"
        time.sleep(STEP_SECONDS)
    return answer


async def eventually_async(probe: Callable[[], T | Literal[False] | None], *, within: float = 5.0) -> T:
    """The same on an event loop."""
    async with asyncio.timeout(within):
        while not (answer := probe()):
            await asyncio.sleep(STEP_SECONDS)
    return answer
