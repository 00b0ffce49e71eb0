"""`timed_call`: a call to the engine that is reported as an event with its name, outcome and seconds."""

import asyncio
from typing import Any

from app import tracing
from app.engine.process.engine_process import EngineProcess
from app.errors import EngineCallFailed, EngineDied, EngineError, EngineOutOfMemory, EngineTimedOut
from app.events import EventName, OnEvent

OUTCOMES: dict[type[EngineError], str] = {
    EngineCallFailed: "failed",
    EngineTimedOut: "timed_out",
    EngineDied: "died",
    EngineOutOfMemory: "out_of_memory",
}
"""The `outcome` in the event `engine.called` for a call that raised an error, by the error's class. Other calls have
the outcome `ok`, `refused` (the answer says why there is no result) or `abandoned` (the call was cancelled)."""
NO_RESULT = ("refused", "lacks")
"""The members that only an answer without a result has: `refused` if the image is not usable, `lacks` if a capability
is missing."""


async def timed_call(
    process: EngineProcess,
    name: str,
    params: dict[str, Any] | None,
    *,
    seconds: float,
    on_event: OnEvent,
    work: str | None = None,
) -> Any:  # noqa: ANN401 - a JSON value
    """Call an engine process, return the call's result, and report the event `engine.called`.

    `work` names the work in the event, by default the call's name. If the process holds more memory than its limit
    during the call, the process is killed. Raises what `EngineProcess.call` raises.
    """
    began, outcome = asyncio.get_running_loop().time(), "abandoned"
    with tracing.span(f"engine {work or name}", {"ocr.engine.work": work or name}) as span:
        try:
            result = await process.call(name, params, seconds=seconds, watches_memory=True)
            outcome = "refused" if isinstance(result, dict) and not result.keys().isdisjoint(NO_RESULT) else "ok"
        except EngineError as exc:
            outcome = OUTCOMES[type(exc)]
            raise
        finally:
            span.set({"ocr.engine.outcome": outcome, "ocr.engine.pid": process.pid})
            elapsed = round(asyncio.get_running_loop().time() - began, 3)
            on_event(EventName.ENGINE_CALLED, {"work": work or name, "outcome": outcome, "seconds": elapsed})
    return result
