"""The queue in front of the engine: its places, its turns, and who is next."""

import asyncio
import contextlib

import pytest

from app.engine.queue import CALLER, JOB, CallQueue, Place, TurnWork
from app.engine.turn_times import MOST_KINDS, RECENT, TurnTimes
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


def places_of(queue: CallQueue, key: str, count: int) -> list[Place]:
    """Reserve as many of `count` places for a key as the queue allows."""
    CALLER.set(key)
    places = []
    with contextlib.suppress(EngineBusy):
        for _ in range(count):
            places.append(queue.reserve())  # noqa: PERF401 - the loop ends with an exception
    return places


async def test_no_key_keeps_another_out() -> None:
    """One key may take every place. Each further key still gets its share, which is at least one place, and no more."""
    queue = CallQueue(7)
    first = places_of(queue, "first", 20)
    second = places_of(queue, "second", 20)
    others = [len(places_of(queue, f"key {number}", 20)) for number in range(9)]

    assert (len(first), len(second)) == (8, 4)
    assert others == [2, 2, 1, 1, 1, 1, 1, 1, 1]
    assert not places_of(queue, "first", 1)

    for place in first:
        place.leave()
    assert not places_of(queue, "second", 1)  # the places in excess are given up first
    for place in second:
        place.leave()
    assert len(places_of(queue, "first", 20)) == 1


@pytest.mark.parametrize(
    ("waiting", "text"), [(0, "it runs one now"), (1, "1 call already waits"), (2, "2 calls already wait")]
)
def test_a_full_queue_counts_in_words(waiting: int, text: str) -> None:
    """The refusal says how many calls wait, in the singular for one and without a count for none."""
    with pytest.raises(EngineBusy, match=f"and {text}"):
        places_of_full(waiting).reserve()


def places_of_full(waiting: int) -> CallQueue:
    """Return a queue for that many waiting callers whose places are all taken."""
    queue = CallQueue(waiting)
    for _ in range(waiting + 1):
        queue.reserve()
    return queue


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


async def test_the_longest_wait_is_that_of_the_caller_that_waits_longest() -> None:
    """While callers wait, the longest wait grows; the caller that has the engine does not count."""
    queue, order = CallQueue(2), list[str]()
    with queue.reserve() as place:
        async with place.turn():
            assert queue.longest_wait_seconds == 0
            waiting = [asyncio.create_task(used(queue.reserve(), name, 1, order)) for name in ("second", "third")]
            await asyncio.sleep(0.01)
            before = queue.longest_wait_seconds
            await asyncio.sleep(0.01)
            assert 0 < before < queue.longest_wait_seconds
    await asyncio.gather(*waiting)

    assert (order, queue.longest_wait_seconds) == (["second", "third"], 0)


async def test_the_wait_is_expected_from_the_mean_of_recent_turns() -> None:
    """Nothing is expected before the first turn has ended; then the rest of the running turn and those that wait."""
    queue, times = CallQueue(7), TurnTimes()
    times.note("recognise", 10.0)
    times.note("recognise", 20.0)
    ended = asyncio.Event()

    async def use(kind: str) -> None:
        with queue.reserve() as place:
            async with place.turn(kind=kind):
                await ended.wait()

    JOB.set("a job")
    callers = [asyncio.create_task(use("recognise"))]
    await asyncio.sleep(0)
    assert queue.running is not None
    assert (queue.running.work, queue.expected_seconds) == (TurnWork("recognise", "a job"), None)

    queue._times = times
    callers += [asyncio.create_task(use(kind)) for kind in ("recognise", "query")]
    await asyncio.sleep(0)
    assert queue.waiting_by_work == {"recognise": 1, "query": 1}
    assert queue.expected_seconds is not None
    assert queue.free_in_seconds is not None
    assert 0 <= queue.free_in_seconds <= 15
    assert queue.expected_seconds - queue.free_in_seconds == pytest.approx(30, abs=0.1)

    ended.set()
    await asyncio.gather(*callers)
    assert queue.running is None
    assert (queue.expected_seconds, queue.waiting_by_work) == (0.0, {})


def test_turn_times_are_those_of_the_last_turns_of_each_kind() -> None:
    """Old turns are forgotten, an unknown kind takes as long as all, and no number of kinds fills the memory."""
    times = TurnTimes()
    assert times.total(["recognise"]) is None
    for seconds in [1000.0] * 5 + [2.0] * RECENT:
        times.note("recognise", seconds)
    assert (times.expected("recognise"), times.expected("load"), times.total(["load", "recognise"])) == (2.0, 2.0, 4.0)
    for number in range(10 * MOST_KINDS):
        times.note(f"kind {number}", 1.0)
    assert len(times._recent) == MOST_KINDS
