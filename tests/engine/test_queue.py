"""The queue in front of the engine: its places, its turns, and who is next."""

import asyncio

import pytest

from app.engine.queue import CALLER, CallQueue, Place
from app.errors import EngineBusy

pytestmark = pytest.mark.anyio


async def used(place: Place, name: str, times: int, order: list[str]) -> None:
    """Use the engine some times, and let the others go first between two uses."""
    with place:
        async with place.turn() as turn:
            for number in range(times):
                if number:
                    await turn.wait()
                order.append(name)
                await asyncio.sleep(0)


def test_a_place_is_reserved_before_its_use() -> None:
    """One caller and `size` more have places, whether they have begun or not; a place that is left is free again."""
    queue = CallQueue(2)
    places = [queue.reserve() for _ in range(3)]

    with pytest.raises(EngineBusy, match="2 calls already wait"):
        queue.reserve()
    places[0].leave()
    places[0].leave()
    queue.reserve()
    with pytest.raises(EngineBusy):
        queue.reserve()


async def test_callers_take_turns() -> None:
    """Between two uses of one caller, each of the others has one use, and the supervisor comes first."""
    queue, order = CallQueue(9), list[str]()
    callers = [asyncio.create_task(used(queue.reserve(), name, times, order)) for name, times in (("a", 3), ("b", 2))]
    await asyncio.sleep(0)

    async with queue.acquire_first():
        order.append("supervisor")
    await asyncio.gather(*callers, used(queue.reserve(), "c", 1, order))

    assert order == ["a", "supervisor", "b", "a", "c", "b", "a"]
    assert (queue.is_busy, queue.waiting) == (False, 0)


async def test_keys_alternate() -> None:
    """A key with many callers has no more turns than a key with one."""
    queue, order = CallQueue(9), list[str]()
    places = []
    for key in ("many", "many", "many", "one"):
        CALLER.set(key)
        places.append((queue.reserve(), key))

    await asyncio.gather(*(used(place, key, 3, order) for place, key in places))

    assert order[:6] == ["many", "one"] * 3
    assert order[6:] == ["many"] * 6


async def test_a_deferred_caller_waits_for_the_others_only() -> None:
    """A deferred caller lets later callers go first; without others it has its turn at once."""
    queue, order = CallQueue(9), list[str]()

    async def use(name: str, *, is_deferred: bool) -> None:
        async with queue.reserve().turn(lambda: is_deferred):
            order.append(name)
            await asyncio.sleep(0)

    await use("alone", is_deferred=True)
    async with queue.reserve().turn():
        waiting = [asyncio.create_task(use(name, is_deferred=name == "a")) for name in "abc"]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)

    assert order == ["alone", "b", "c", "a"]


@pytest.mark.parametrize("is_next", [True, False])
async def test_a_caller_that_is_cancelled_blocks_nobody(*, is_next: bool) -> None:
    """A caller that is cancelled while it waits, or in the moment of its turn, leaves the engine to the next."""
    queue, order = CallQueue(9), list[str]()
    async with queue.reserve().turn():
        gone = asyncio.create_task(used(queue.reserve(), "gone", 1, order))
        after = asyncio.create_task(used(queue.reserve(), "after", 1, order))
        await asyncio.sleep(0)
        if not is_next:
            gone.cancel()
    if is_next:
        gone.cancel()
    await asyncio.wait({gone, after}, timeout=30)

    assert order == ["after"]
    assert not queue.is_busy
