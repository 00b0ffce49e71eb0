"""Releases an idle engine, which frees the loaded model and the memory that recognition keeps."""

import asyncio
import contextlib

from app.engine.supervisor import Supervisor
from app.errors import EngineNotReady

CHECKS_PER_PERIOD = 10
"""How many checks are made within the idle time; a release is late by at most the time between two checks."""


async def release_when_idle(supervisor: Supervisor, seconds: float) -> None:
    """Release the engine each time it has been idle for `seconds` after a use. Runs until cancelled.

    A process that was never used is not released: it holds no model.
    """
    while True:
        await asyncio.sleep(seconds / CHECKS_PER_PERIOD)
        if not supervisor.is_busy and (idle := supervisor.idle_seconds) is not None and idle >= seconds:
            with contextlib.suppress(EngineNotReady):
                await supervisor.release(f"released after {seconds:g} s without use")
