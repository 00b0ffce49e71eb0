"""The parts of a service: which failure of a part ends the service, and which does not."""

import asyncio
import errno
from typing import Any

import pytest

import app.lifespan
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
