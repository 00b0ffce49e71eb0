"""A process that has grown is replaced after a call, whatever the call was for."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.engine.process.process_memory import resident_bytes_of
from app.engine.states import EngineState
from tests.support.supervised import QUICK, supervised
from tests.support.waiting import eventually_async

LIMIT = 400 << 20


@pytest.mark.anyio
async def test_a_process_that_has_grown_in_a_call_is_replaced_after_it(tmp_path: Path) -> None:
    """A call that leaves nearly as much memory as the limit succeeds, and the next call gets another process."""
    async with supervised(tmp_path, limits=replace(QUICK, memory_bytes=LIMIT)) as engine:
        supervisor = await engine.until(EngineState.READY, within=60)
        pid = supervisor.pid
        assert pid is not None
        held = resident_bytes_of(pid)

        await supervisor.call("keep", {"size": LIMIT // 2, "seconds": 0}, seconds=60)
        assert supervisor.pid == pid
        more = int(LIMIT * 0.94) - LIMIT // 2 - held
        await supervisor.call("keep", {"size": more, "seconds": 0}, seconds=60)

        assert await supervisor.call("echo", {"text": "a"}, seconds=60) == "a"
        await eventually_async(lambda: supervisor.pid not in {pid, None}, within=60)
        assert [event for event, _ in engine.events].count("engine.recycled") == 1
        assert supervisor.last_exit is not None
        assert "OCR_ENGINE_MEMORY_LIMIT" in supervisor.last_exit.exit.reason
