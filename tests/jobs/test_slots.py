"""The slots of jobs that run at once."""

import asyncio

import pytest

from app.jobs.slots import Slot, Slots

pytestmark = pytest.mark.anyio


def taken(slots: Slots) -> Slot:
    """Take a slot that is free."""
    slot = slots.take()
    assert slot
    return slot


async def test_a_waiting_job_gives_its_slot_to_a_new_one() -> None:
    """A job in `released` has no slot, and goes on only when it has one again."""
    slots = Slots(1, lambda: None)
    first = taken(slots)
    assert slots.take() is None
    over = asyncio.Event()

    async def wait() -> None:
        async with first.released():
            await over.wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    second = taken(slots)
    over.set()
    await asyncio.sleep(0)
    slots.serve()
    await asyncio.sleep(0)
    assert not waiting.done()

    second.release()
    slots.serve()
    await waiting
    assert first.is_held


async def test_a_new_job_does_not_overtake_for_ever() -> None:
    """A job that has asked for too long to get its slot again is served before new jobs."""
    slots = Slots(1, lambda: None, patience_seconds=0)
    first = taken(slots)
    first.release()
    second = taken(slots)
    first.ask()
    second.release()

    assert slots.take() is None
    slots.serve()
    assert first.is_held


async def test_slots_are_never_more_than_their_number() -> None:
    """Releasing twice, asking twice, and ending while asking neither make nor lose a slot."""
    slots = Slots(2, lambda: None)
    first, second = taken(slots), taken(slots)
    first.release()
    first.release()
    third = taken(slots)
    first.ask()
    first.ask()
    first.release()
    second.release()
    third.release()
    slots.serve()

    assert not first.is_held
    assert [slots.take() is not None for _ in range(3)] == [True, True, False]
