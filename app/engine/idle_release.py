"""Releases an engine that is idle. The release frees the loaded model and the memory that recognition still holds."""

import asyncio
import contextlib

from app.engine.supervisor import Supervisor
from app.errors import EngineNotReady

CHECKS_PER_PERIOD = 10
"""How often within the idle time the engine is checked. So a release is late by at most 1/CHECKS_PER_PERIOD of that
time."""


async def release_when_idle(supervisor: Supervisor, seconds: float) -> None:
    """Release the engine whenever it was not used for `seconds` after its last use. Runs until cancelled.

    A process that was never used is not released, because it holds no model.
    """
    while True:
        await asyncio.sleep(seconds / CHECKS_PER_PERIOD)
        if not supervisor.is_busy and (idle := supervisor.idle_seconds) is not None and idle >= seconds:
            with contextlib.suppress(EngineNotReady):
                await supervisor.release(f"released after {seconds:g} s without use")
