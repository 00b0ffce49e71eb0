"""Replaces an engine process that has grown, so that the next call does not exceed the memory limit for that reason."""

import asyncio

from app.engine.process.engine_process import EngineProcess
from app.engine.process.process_memory import resident_bytes_of
from app.events import EventName, OnEvent

RECYCLE_SHARE = 7 / 8
"""A process that holds more than this share of its memory limit after a call is replaced."""
STOP_SECONDS = 5.0
"""How many seconds the process may take to end."""


async def recycle_if_grown(process: EngineProcess, memory_limit_bytes: int, on_event: OnEvent) -> None:
    """End a process that holds more than RECYCLE_SHARE of its memory limit (0 for no limit).

    The next call then waits for a new process. In the old process the call could exceed the limit because of memory
    that earlier calls, for texts or images, did not free. Call this only while holding the engine.
    """
    if not memory_limit_bytes or process.is_ending:
        return
    resident_bytes = await asyncio.to_thread(resident_bytes_of, process.pid)
    if resident_bytes > memory_limit_bytes * RECYCLE_SHARE:
        reason = f"it held {resident_bytes} bytes, nearly as much as OCR_ENGINE_MEMORY_LIMIT or more"
        await process.stop(reason, seconds=STOP_SECONDS)
        on_event(EventName.ENGINE_RECYCLED, {"reason": reason, "pid": process.pid, "resident_bytes": resident_bytes})
