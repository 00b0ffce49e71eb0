"""Releases the engine when it has not been used for a while: the loaded model, and the memory that recognition kept."""

import asyncio
import contextlib

from app.engine.supervisor import Supervisor
from app.errors import EngineNotReady

CHECKS_PER_PERIOD = 10
"""How often to check within the idle time: the release is late by at most that fraction of it."""


async def release_when_idle(supervisor: Supervisor, seconds: float) -> None:
    """Release the engine whenever it was used and then idle for that long, until cancelled.

    A fresh process that was never used is left alone: it has nothing to give back.
    """
    while True:
        await asyncio.sleep(seconds / CHECKS_PER_PERIOD)
        if not supervisor.is_busy and (idle := supervisor.idle_seconds) is not None and idle >= seconds:
            with contextlib.suppress(EngineNotReady):
                await supervisor.release(f"released after {seconds:g} s without use")
