"""Gives everything back when nobody has used the engine for long: a loaded model, and what a recognition left."""

import asyncio
import contextlib

from app.engine.supervisor import Supervisor
from app.errors import EngineNotReady

LOOKS = 10
"""How often to look in the time after which it is released: so much later than that it may be."""


async def release_when_idle(supervisor: Supervisor, seconds: float) -> None:
    """Release an engine that was used, and then not for that long; until cancelled. A fresh one has nothing to give."""
    while True:
        await asyncio.sleep(seconds / LOOKS)
        if not supervisor.is_busy and (idle := supervisor.idle_seconds) is not None and idle >= seconds:
            with contextlib.suppress(EngineNotReady):
                await supervisor.release(f"released after {seconds:g} s without use")
