"""The parts of a service: which failure of a part ends the service, and which does not."""

import asyncio
import errno
from typing import Any

import pytest

import app.lifespan
import app.sweeper
from app.events import EventName


@pytest.mark.anyio
@pytest.mark.parametrize(
    "lack",
    [
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
        RuntimeError("can't start new thread"),
        ExceptionGroup("of tasks", [OSError(errno.ENOMEM, "Cannot allocate memory")]),
    ],
    ids=repr,
)
async def test_a_part_that_lacks_a_resource_runs_again(lack: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that fails for lack of a descriptor, memory or a thread is run again, and the service goes on."""
    monkeypatch.setattr(app.lifespan, "AGAIN_SECONDS", 0.01)  # the service pauses for a second
    events: list[tuple[EventName, dict[str, Any]]] = []
    failures = [lack, lack]

    async def work() -> None:
        if failures:
            raise failures.pop()

    task = app.lifespan._start(
        "part", work, on_event=lambda *event: events.append(event), on_failed=lambda status: pytest.fail(f"{status}")
    )
    async with asyncio.timeout(60):
        await task

    assert [event for event, _ in events] == [EventName.RESOURCES_EXHAUSTED] * 2
    assert not failures


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [ValueError("a defect"), OSError(errno.EIO, "the disk failed")], ids=repr)
async def test_a_sweep_is_complete_only_if_no_step_failed(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the last sweep, which an alert looks at, does not move while a step of the sweep fails."""
    monkeypatch.setattr(app.sweeper, "SWEEP_PAUSE_SECONDS", 0.01)  # the service pauses for some seconds
    failures, steps, is_swept = [failure, failure], [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def step() -> None:
        steps.append("failed" if failures else "done")
        if failures:
            raise failures.pop()

    def on_swept() -> None:
        assert steps == ["failed", "failed", "done"]
        loop.call_soon_threadsafe(is_swept.set)

    sweeping = asyncio.create_task(app.sweeper.keep_swept([step], lambda *_: None, on_swept))
    async with asyncio.timeout(60):
        await is_swept.wait()
    sweeping.cancel()
