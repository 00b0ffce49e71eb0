"""Which queues of units a service leaves to the services that have loaded the queue's processor.

A load takes seconds to minutes and gigabytes of memory, so it should follow demand: while one service has a processor
loaded, the others leave it the units that need that processor, until units have waited for PATIENCE_SECONDS.
"""

import time
from collections.abc import Callable, Collection, Sequence
from enum import IntEnum

from anyio import to_thread

from app.jobs.units.unit_queue import processor_of
from app.store.volume.living_services import LivingService

PATIENCE_SECONDS = 5.0
"""How long, in seconds, the units of a queue wait before a service loads their processor although it has loaded another
one that is needed too, or although another service has their processor loaded."""


class Preference(IntEnum):
    """How a service prefers a queue. Lower values come first."""

    FIRST = 0
    """The queue comes first: its units need no processor, or this service has it loaded, or they have
    waited for long enough."""
    LOAD = 1
    """This service would load the processor. No other service has it loaded."""
    LEFT = 2
    """Another service has loaded the processor, or will load it."""


class ProcessorPreference:
    """The preferences of one service among the queues of units."""

    def __init__(
        self,
        living: Callable[[], Sequence[LivingService]],
        waiting: Callable[[], Collection[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`living` returns the living services on the folder, this one among them.

        `waiting` returns the names of the queues of all unfinished jobs. It may block; raises StoreError and OSError.
        """
        self._living = living
        self._waiting = waiting
        self._clock = clock
        self._waiting_since: dict[str, float] = {}
        """By the name of a queue that this service does not prefer, since when the queue has had units."""

    async def groups(self, names: Collection[str]) -> list[Collection[str]]:
        """Return the names of queues in the groups in which a service looks for units, the first group first.

        A queue that is left to another service is in no group. Raises what `waiting` raises.
        """
        living = self._living()
        found = {name: _preference(processor_of(name), living) for name in names}
        others = {name for name, preference in found.items() if preference is not Preference.FIRST}
        if len(set(found.values())) > 1 or Preference.LEFT in found.values():
            await self._promote(found, others)
        groups = ([name for name in names if found[name] is each] for each in (Preference.FIRST, Preference.LOAD))
        return [group for group in groups if group]

    async def _promote(self, found: dict[str, Preference], others: Collection[str]) -> None:
        """Prefer each queue whose units have waited for long enough."""
        now, waiting = self._clock(), await to_thread.run_sync(self._waiting)
        self._waiting_since = {name: self._waiting_since.get(name, now) for name in others if name in waiting}
        for name, since in self._waiting_since.items():
            if now - since >= PATIENCE_SECONDS:
                found[name] = Preference.FIRST


def _preference(processor: str | None, living: Sequence[LivingService]) -> Preference:
    own = next((each for each in living if each.is_self), None)
    if processor is None or own is None or own.record is None or own.has_loaded(processor):
        return Preference.FIRST  # a service that does not know itself yet knows nothing of others
    others = [each for each in living if not each.is_self and each.record and not each.record.is_read_only]
    if any(each.has_loaded(processor) or each.is_loading(processor) for each in others):
        return Preference.LEFT
    # All services see about the same list, so one of them loads the processor, and the others wait for that.
    able = [own, *(each for each in others if each.can_load)]
    first = min(able, key=lambda each: (each.is_busy, each.id))
    return Preference.LOAD if first.is_self else Preference.LEFT
