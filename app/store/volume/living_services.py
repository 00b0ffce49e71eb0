"""The living services on one folder, and what each of them is and does.

Which services live is known from their locks (`app.store.volume.service_registry`); what they do, from their records
(`app.store.volume.service_records`). The thread of the volume's monitor writes and reads the records. Everything else
asks for what was last read, so no request and no scheduler ever waits for the volume.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.store.volume.service_records import (
    MOST_WORKS,
    SERVICE,
    ServiceRecord,
    delete_leftover,
    newest_numbers,
    owner_of,
    record_path,
    remove_service_record,
    write_service_record,
)
from app.store.volume.service_registry import FORGOTTEN_SECONDS, ServiceRegistry
from app.store.volume.volume import Volume

LEAST_SECONDS = 2.0
"""A service writes its record when it has changed, but not sooner than this many seconds after the last time."""
MOST_SECONDS = 5.0
"""A service writes its record at least this often, in seconds, as a sign that it works."""
SILENT_SECONDS = 15.0
"""A living service whose record was not written anew for this many seconds counts as silent: it is stopped or hangs, or
cannot write to the folder."""
MOST_SERVICES = 500
"""How many other services are shown. Each read of a record takes a call to the volume."""


@dataclass(frozen=True, slots=True)
class LivingService:
    """One living service on the folder."""

    id: str
    """Tells services apart; a service has a new id after each start."""
    record: ServiceRecord | None
    """What the service is and does; None if its record is damaged."""
    age_seconds: float
    """The time since this service saw a new record of it; 0 for this service itself."""
    is_self: bool = False

    @property
    def is_silent(self) -> bool:
        """True if the service lives but has written no record for a while, so that nothing should be left to it."""
        return self.age_seconds >= SILENT_SECONDS

    def has_loaded(self, processor: str) -> bool:
        """Return whether the service works and has a processor loaded."""
        record = self.record
        return (
            not self.is_silent and record is not None and bool(record.loaded and record.loaded.processor == processor)
        )

    def is_loading(self, processor: str) -> bool:
        """Return whether the service works and is loading a processor."""
        record = self.record
        return (
            not self.is_silent and record is not None and bool(record.loading and record.loading.processor == processor)
        )

    @property
    def can_load(self) -> bool:
        """Return whether the service works and its engine runs, so that it could load a processor."""
        return not self.is_silent and self.record is not None and self.record.engine_state == "ready"

    @property
    def is_busy(self) -> bool:
        """Return whether the engine of the service works, or calls wait for it."""
        return self.record is not None and bool(self.record.works or self.record.waiting)


@dataclass(frozen=True, slots=True)
class _Read:
    """The last record that was read of another service."""

    number: int
    record: ServiceRecord | None
    at: float
    """When this number was first seen, on the monotonic clock."""


class LivingServices:
    """Writes the record of this service, and reads the others'. `describe` and `living_services` never block."""

    def __init__(
        self, volume: Volume, registry: ServiceRegistry, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._volume = volume
        self._registry = registry
        self._clock = clock
        self._own: ServiceRecord | None = None
        self._written: ServiceRecord | None = None
        self._written_at = -MOST_SECONDS
        self._number = 0
        self._read: dict[str, _Read] = {}
        self._leftovers: dict[str, float] = {}
        """The records of services that do not live, by name, and when each was first seen so."""

    def describe(self, record: ServiceRecord) -> None:
        """Set what this service is and does now, from any thread. Before the first call no record is written."""
        self._own = replace(record, works=record.works[:MOST_WORKS])

    def living_services(self) -> tuple[LivingService, ...]:
        """Return the living services as of the last look, a second ago: this one first, the others ordered by id.

        A service of a version that writes no record is left out.
        """
        now, own = self._clock(), self._own
        others = [LivingService(each, read.record, now - read.at) for each, read in sorted(self._read.items())]
        return (LivingService(self._registry.id, own, 0.0, is_self=True), *others) if own else tuple(others)

    def refresh(self) -> None:
        """Write this service's record if it is due, and read the others' after a look of the registry.

        Blocks. Raises OSError.
        """
        try:
            own = self._own
            if own and not self._registry.reads_only and self._is_due(own):
                self._write(own)
        finally:
            self._look()

    def leave(self) -> None:
        """Delete this service's record. Blocks; raises OSError."""
        if self._number:
            remove_service_record(self._volume.services_dir, self._registry.id, self._number)

    def _is_due(self, own: ServiceRecord) -> bool:
        seconds = self._clock() - self._written_at
        is_changed = self._written is None or own != replace(self._written, written_at=own.written_at)
        return seconds >= MOST_SECONDS or (seconds >= LEAST_SECONDS and is_changed)

    def _write(self, own: ServiceRecord) -> None:
        now = self._clock()
        write_service_record(self._volume.services_dir, self._registry.id, self._number + 1, own)
        self._number += 1
        self._written, self._written_at = own, now

    def _look(self) -> None:
        now, numbers = self._clock(), newest_numbers(self._registry.names)
        read = dict[str, _Read]()
        for service in sorted(self._registry.living)[:MOST_SERVICES]:
            number, before = numbers.get(service), self._read.get(service)
            if before and before.number == number:
                read[service] = before
            elif number is not None:
                path = record_path(self._volume.services_dir, service, number)
                record = self._volume.records.read(path, SERVICE)
                # If the record was replaced since the listing, the former one is kept until the next look.
                is_missed = record is None and not os.path.lexists(path)
                if before or not is_missed:
                    read[service] = before if before and is_missed else _Read(number, record, now)
        self._read = read
        if not self._registry.reads_only:
            self._delete_leftovers(now)

    def _delete_leftovers(self, now: float) -> None:
        owners = {name: owner for name in self._registry.names if (owner := owner_of(name))}
        alive = {*self._registry.living, self._registry.id}
        dead = [name for name, owner in owners.items() if owner not in alive]
        self._leftovers = {name: self._leftovers.get(name, now) for name in dead}
        for name in [name for name, since in self._leftovers.items() if now - since > FORGOTTEN_SECONDS]:
            delete_leftover(self._volume.services_dir, name)
            del self._leftovers[name]
