"""Watches the volume while a service runs: whether the volume answers, can be written and passes the checks."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace

from anyio import CapacityLimiter, to_thread

from app.errors import StoreError, StoreUnavailable
from app.events import EventName, OnEvent
from app.store.store import Store
from app.store.volume.checks import CheckName, VolumeCheck, VolumeReport, sweep_probes, try_volume
from app.store.volume.living_services import LivingServices
from app.store.volume.service_registry import HEARTBEAT_SECONDS, ServiceRegistry
from app.store.volume.shared_locks import SharedLocks
from app.store.volume.volume import Volume

TRY_SECONDS = 60.0
"""How often all checks are made, in seconds."""
TRY_AGAIN_SECONDS = 5.0
"""How often all checks are made while changes are refused, in seconds."""
REQUIRED_BESIDE_OTHERS = {CheckName.SHARED_LOCKS, CheckName.FILE_NUMBERS}
"""The checks that are required only if other services use the folder."""
HUNG_SECONDS = 3.0
"""A volume that has not answered a call for this long counts as unavailable until it answers."""


class VolumeMonitor:
    """Makes the checks of one volume. The methods block; the attributes may be read at any time."""

    def __init__(
        self, volume: Volume, on_event: OnEvent, *, is_single: bool = False, is_observer: bool = False
    ) -> None:
        """Create the monitor of one volume.

        `is_single`: the operator states that no other service uses the folder (`OCR_SINGLE_SERVICE`). `is_observer`:
        the service changes nothing, so that the monitor only checks whether the volume answers.
        """
        self.checks: tuple[VolumeCheck, ...] = ()
        """The results of all checks when they were last made."""
        self._volume = volume
        self._on_event = on_event
        self._is_single = is_single
        self.is_observer = is_observer
        self._registry = ServiceRegistry(volume.services_dir, is_shared=volume.is_shared)
        self._shared_locks = SharedLocks(volume, self._registry)
        self.services = LivingServices(volume, self._registry)
        """The living services on the folder, this one included."""
        self._report = VolumeReport((), 1)
        self._tried_at = -TRY_SECONDS
        self._asked_at: float | None = None

    @property
    def unanswered(self) -> StoreUnavailable | None:
        """The error to raise if the volume has not answered a call for HUNG_SECONDS; else None."""
        asked_at = self._asked_at
        if asked_at is None or (seconds := time.monotonic() - asked_at) < HUNG_SECONDS:
            return None
        return StoreUnavailable(f"its file system has not answered for {seconds:.0f} s; is its server there?")

    def check(self) -> None:
        """Check whether the volume is there and can be written; if so, make the checks that are due.

        The results set `Volume.unsafe`. On a shared volume, this method also shows the other services that this service
        is alive. Raises StoreUnavailable and OSError.
        """
        with self._asking():
            self._volume.check()
            if self.is_observer or self._volume.ask_writable():
                self._meet_services()
                return
            try:
                pause_seconds = TRY_SECONDS if self._volume.unsafe is None else TRY_AGAIN_SECONDS
                if time.monotonic() - self._tried_at >= pause_seconds:
                    self._try()
                if self._volume.is_shared:
                    self._asked()
                    self._shared_locks.beat()
            finally:
                self._judge()
                self._meet_services()

    def _meet_services(self) -> None:
        """Write this service's record and read those of the other services. No change depends on them.

        If that fails, what was read before stays: an unavailable folder is found and reported by the other checks.
        """
        self._asked()
        with contextlib.suppress(OSError, StoreError):
            self._registry.reads_only = self.is_observer or not self._volume.is_writable
            if self._registry.reads_only or not self._volume.is_shared:
                self._volume.check_folder(self._volume.services_dir)
                self._registry.beat()
            self.services.refresh()

    def check_before_change(self) -> None:
        """Make all checks.

        On a shared volume, first watch the other services until it is known which of them are alive.

        Watching other services takes up to about 4 s, so this method is for commands and not for services. The results
        set `Volume.unsafe`. Raises StoreUnavailable and OSError.
        """
        self._try()
        if self._volume.is_shared:
            self._shared_locks.observe()
        self._judge()

    def close(self) -> None:
        """Delete this service's record and its file in the registry."""
        with contextlib.suppress(OSError):
            self.services.leave()
        with contextlib.suppress(OSError):
            self._registry.leave()

    def _asked(self) -> None:
        """Note that a call to the volume begins now, so that `unanswered` measures the time from now on."""
        if self._asked_at is not None:
            self._asked_at = time.monotonic()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        self._asked_at = time.monotonic()
        try:
            yield
        finally:
            self._asked_at = None

    def _try(self) -> None:
        self._tried_at = time.monotonic()
        sweep_probes(self._volume.store_dir)
        # If the disk is full, or the folder of the checks was removed, the previous report stays valid.
        with contextlib.suppress(OSError, StoreError):
            self._report = try_volume(self._volume.store_dir, self._volume.file_system, self._asked)
            self._volume.time_step_ns = self._report.time_step_ns
            self._volume.has_file_numbers = self._report.has(CheckName.FILE_NUMBERS)
            self._volume.has_lock_queries = self._report.has(CheckName.LOCK_QUERIES)

    def _judge(self) -> None:
        checks = self._report.checks + ((self._shared_locks.check(),) if self._volume.is_shared else ())
        if self._is_single:
            checks = tuple(
                replace(check, required=check.required and check.name not in REQUIRED_BESIDE_OTHERS) for check in checks
            )
        before = {check.name: check.ok for check in self.checks}
        self.checks = checks
        # A local disk that is too full for the checks counts as safe, as local file systems are.
        untried = "it has not been checked yet" if self._volume.is_shared and not self._report.checks else None
        self._volume.unsafe = next((check.reason for check in checks if check.required and not check.ok), untried)
        for check in checks:
            if check.ok != before.get(check.name, True):
                event = EventName.VOLUME_CHECK_PASSED if check.ok else EventName.VOLUME_CHECK_FAILED
                self._on_event(event, {"check": check.name.value, "required": check.required, "reason": check.reason})


async def monitor_volume(watch: VolumeMonitor, store: Store, on_event: OnEvent) -> None:
    """Check the volume every second, and take lost leases again, until cancelled. Reports the results as events."""
    thread = CapacityLimiter(1)  # its own thread, so that a volume that does not answer blocks no other work

    def look() -> None:
        try:
            watch.check()
        finally:
            if store.volume.is_writable and not watch.is_observer:
                store.journal.retry()
        for lease in store.locks.retake_lost_leases() if store.volume.has_lock_queries else ():
            on_event(EventName.LEASE_LOST if lease.is_lost else EventName.LEASE_RETAKEN, {"name": lease.name})

    was_answered = True
    try:
        while True:
            looking = asyncio.ensure_future(to_thread.run_sync(look, limiter=thread, abandon_on_cancel=True))
            while not (await asyncio.wait({looking}, timeout=HEARTBEAT_SECONDS))[0]:
                if was_answered and (problem := watch.unanswered):
                    was_answered = False
                    on_event(EventName.VOLUME_UNANSWERED, {"reason": str(problem)})
            if not was_answered:
                on_event(EventName.VOLUME_ANSWERED, {})
            was_answered = True
            with contextlib.suppress(StoreError, OSError):  # the inventory watcher reports an unavailable folder
                looking.result()
            await asyncio.sleep(HEARTBEAT_SECONDS)
    finally:
        looking.cancel()


def require_safety(volume: Volume, on_event: OnEvent, *, is_single: bool) -> None:
    """Check the volume before a command changes it. If the volume is unsafe, the change itself raises StoreUnsafe."""
    with contextlib.suppress(StoreError, OSError):
        VolumeMonitor(volume, on_event, is_single=is_single).check_before_change()
