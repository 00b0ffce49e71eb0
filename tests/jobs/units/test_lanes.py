"""The places of units that a service works on at once."""

import asyncio

import pytest

from app.jobs.units.lanes import MOST_WAITING, Lane, Place

pytestmark = pytest.mark.anyio


def taken(lane: Lane) -> Place:
    """Take a place that is free."""
    assert lane.has_room
    return lane.take()


async def test_a_paused_unit_gives_its_place_to_a_new_one() -> None:
    """A unit in `paused` has no place, and goes on only when it has one again."""
    lane = Lane(1, lambda: None)
    first = taken(lane)
    assert not lane.has_room
    over = asyncio.Event()

    async def wait() -> None:
        async with first.paused():
            await over.wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    second = taken(lane)
    over.set()
    await asyncio.sleep(0)
    lane.serve()
    await asyncio.sleep(0)
    assert not waiting.done()

    second.pause()
    lane.serve()
    await waiting
    assert first.is_held


async def test_a_new_unit_does_not_overtake_for_ever() -> None:
    """A unit that has asked for too long to get its place again is served before new units."""
    lane = Lane(1, lambda: None, patience_seconds=0)
    first = taken(lane)
    first.pause()
    second = taken(lane)
    first.ask()
    second.leave()

    assert not lane.has_room
    lane.serve()
    assert first.is_held


async def test_places_are_never_more_than_their_number() -> None:
    """Pausing twice, asking twice, and ending while asking neither make nor lose a place."""
    lane = Lane(2, lambda: None)
    first, second = taken(lane), taken(lane)
    first.pause()
    first.pause()
    third = taken(lane)
    first.ask()
    first.ask()
    first.pause()
    for place in (first, second, third):
        place.leave()
    lane.serve()

    assert not first.is_held
    assert lane.units == 0
    assert [taken(lane).is_held for _ in range(2)] == [True, True]
    assert not lane.has_room


async def test_a_service_leaves_units_to_others_when_many_are_paused() -> None:
    """Paused units free their places, but only a limited number of them: the others are left to other services."""
    lane = Lane(1, lambda: None)
    for _ in range(1 + MOST_WAITING):
        taken(lane).pause()

    assert not lane.has_room
