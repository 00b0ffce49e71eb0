"""Units go to the services that have their processor loaded, and a further service loads it only if they wait."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.engine.contract.processors import Processor
from app.jobs.units.processor_preference import PATIENCE_SECONDS, ProcessorPreference
from app.jobs.units.unit_queue import queue_name
from app.store.volume.living_services import SILENT_SECONDS, LivingService
from app.store.volume.service_records import LoadedRecord, LoadingRecord, ServiceRecord

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
SPELLING, KEYWORDS = Processor.SPELL_CHECK, Processor.KEYWORDS
IMAGES = queue_name("images", is_downloaded=False)
SPELLED, WORDED = (queue_name("texts", is_downloaded=False, processor=each) for each in (SPELLING, KEYWORDS))
ALL = (IMAGES, SPELLED, WORDED)
LOADED = {each: LoadedRecord(each, "a.gguf", NOW, 0) for each in (SPELLING, KEYWORDS)}


def service(id_: str, *, age_seconds: float = 0.0, is_self: bool = False, **fields: Any) -> LivingService:
    """Return a service as the others see it, whose engine is ready."""
    return LivingService(id_, ServiceRecord(NOW, **{"engine_state": "ready"} | fields), age_seconds, is_self)


class Clock:
    """A clock that tests set."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def groups(*living: LivingService) -> list[list[str]]:
    """Return the groups of the first service."""
    preference = ProcessorPreference(lambda: living, lambda: ALL)
    return [list(group) for group in await preference.groups(ALL)]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, [[IMAGES], [SPELLED, WORDED]]),
        ({"loaded": LOADED[SPELLING]}, [[IMAGES, SPELLED], [WORDED]]),
        ({"loaded": LOADED[KEYWORDS]}, [[IMAGES, WORDED], [SPELLED]]),
    ],
)
async def test_a_single_service_first_uses_what_it_has_loaded(own: dict[str, Any], expected: list[list[str]]) -> None:
    """Units of its own processor come before units for which it would load another one."""
    assert await groups(service("a", is_self=True, **own)) == expected


@pytest.mark.parametrize(
    "fields", [{"loaded": LOADED[SPELLING]}, {"loading": LoadingRecord(SPELLING, "a.gguf", 1)}, {"waiting": 3}]
)
async def test_units_are_left_to_the_service_that_has_their_processor(fields: dict[str, Any]) -> None:
    """While another service has a processor loaded or is loading it, this one does not load it too."""
    is_left = "waiting" not in fields
    found = await groups(service("a", is_self=True), service("b", **fields))
    assert found == [[IMAGES], [WORDED] if is_left else [SPELLED, WORDED]]


@pytest.mark.parametrize("other", [{"is_read_only": True}, {"age_seconds": SILENT_SECONDS}])
async def test_nothing_is_left_to_a_service_that_cannot_work(other: dict[str, Any]) -> None:
    """A service that only reads, or that is stopped, has a processor in vain."""
    found = await groups(service("a", is_self=True), service("b", loaded=LOADED[SPELLING], **other))
    assert found == [[IMAGES], [SPELLED, WORDED]]


async def test_one_of_several_idle_services_loads_a_processor() -> None:
    """If no service has it loaded, the others wait for the first one that is idle and whose engine runs."""
    assert await groups(service("b", is_self=True), service("a")) == [[IMAGES]]
    assert await groups(service("b", is_self=True), service("c")) == [[IMAGES], [SPELLED, WORDED]]
    assert await groups(service("b", is_self=True), service("a", waiting=1)) == [[IMAGES], [SPELLED, WORDED]]
    assert await groups(service("b", is_self=True), service("a", engine_state="failed")) == [
        [IMAGES],
        [SPELLED, WORDED],
    ]


async def test_units_that_wait_are_left_to_nobody() -> None:
    """After PATIENCE_SECONDS a second service loads the processor too; the wait begins anew when the queue is empty."""
    clock, waiting = Clock(), {SPELLED}
    living = (service("a", is_self=True), service("b", loaded=LOADED[SPELLING]))
    preference = ProcessorPreference(lambda: living, lambda: waiting, clock=clock)

    async def is_left() -> bool:
        return not any(SPELLED in group for group in await preference.groups(ALL))

    assert await is_left()
    clock.seconds += PATIENCE_SECONDS - 0.1
    assert await is_left()
    clock.seconds += 0.1
    assert not await is_left()
    waiting.clear()
    assert await is_left()
    waiting.add(SPELLED)
    assert await is_left()
    clock.seconds += PATIENCE_SECONDS - 0.1
    assert await is_left()


async def test_a_service_that_does_not_know_itself_leaves_nothing() -> None:
    """Before its first description, and if its own record is damaged, it takes every unit."""
    other = service("a", loaded=LOADED[SPELLING])
    assert await groups(other) == [[*ALL]]
    assert await groups(LivingService("b", None, 0.0, is_self=True), other) == [[*ALL]]
