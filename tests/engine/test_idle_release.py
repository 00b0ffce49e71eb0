"""The release of an idle engine."""

import asyncio
from pathlib import Path

import pytest

from app.engine.idle_release import release_when_idle
from app.engine.states import EngineState
from tests.support.supervised import supervised

pytestmark = pytest.mark.anyio


async def test_it_is_released_once_it_was_used_and_then_not(tmp_path: Path) -> None:
    """A used engine is released after the idle time, not during a call; the unused process after it stays."""
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        watching = asyncio.create_task(release_when_idle(supervisor, 0.3))
        first = supervisor.pid

        await supervisor.call("sleep", {"seconds": 0.9}, seconds=60)
        assert supervisor.pid == first
        await engine.until_replaced(first)

        assert supervisor.idle_seconds is None
        assert supervisor.last_exit is not None
        assert "without use" in supervisor.last_exit.exit.reason
        watching.cancel()
