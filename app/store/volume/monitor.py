"""Watches the volume for as long as a service runs: whether it answers, what it can do, and who else uses it."""

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
from app.store.volume.service_registry import BEAT_SECONDS, Services
from app.store.volume.volume import Volume

TRY_SECONDS = 60.0
"""How often everything is tried again."""
TRY_AGAIN_SECONDS = 5.0
"""How often while changes are refused."""
LIFTED = {CheckName.SHARED_LOCKS, CheckName.FILE_NUMBERS}
"""The checks that a service needs only beside others."""
HUNG_SECONDS = 3.0
"""A volume whose check takes longer than this is unavailable until it answers."""


class VolumeMonitor:
    """The checks of one volume. `start` and `look` block; the attributes may be read at any time."""

    def __init__(
        self, volume: Volume, on_event: OnEvent, *, is_single: bool = False, is_observer: bool = False
    ) -> None:
        """`is_single`: the operator states that no other service uses the folder (`OCR_SINGLE_SERVICE`).

        An observer changes nothing, so it only looks whether the volume answers.
        """
        self.checks: tuple[VolumeCheck, ...] = ()
        """As of the last look."""
        self._volume = volume
        self._on_event = on_event
        self._is_single = is_single
        self._is_observer = is_observer
        self._services = Services(volume.services_dir)
        self._report = VolumeReport((), 1)
        self._tried_at = -TRY_SECONDS
        self._beat_error: str | None = None
        self._asked_at: float | None = None

    @property
    def unanswered(self) -> StoreUnavailable | None:
        """Why the volume counts as unavailable, if it has not answered for too long."""
        asked_at = self._asked_at
        if asked_at is None or (seconds := time.monotonic() - asked_at) < HUNG_SECONDS:
            return None
        return StoreUnavailable(f"its file system has not answered for {seconds:.0f} s; is its server there?")

    def look(self) -> None:
        """Try the volume if it is time, show the other services that this one lives, and judge what was found.

        Raises StoreUnavailable and OSError.
        """
        with self._asking():
            self._volume.check()
            if self._is_observer or not self._volume.is_writable:
                return
            try:
                pause_seconds = TRY_SECONDS if self._volume.unsafe is None else TRY_AGAIN_SECONDS
                if time.monotonic() - self._tried_at >= pause_seconds:
                    self._try()
                self._beat()
            finally:
                self._judge()

    def _beat(self) -> None:
        if self._volume.is_shared:
            self._beat_error = "its services cannot be looked at"
            self._asked()
            self._services.beat()
            self._beat_error = None

    def look_before_changing(self) -> None:
        """For a command that changes the folder once: observe the other services until all are judged, about 4 s.

        Raises StoreUnavailable and OSError.
        """
        self._try()
        while self._volume.is_shared:
            self._services.look()
            if self._services.unreachable or not self._services.unjudged:
                break
            time.sleep(BEAT_SECONDS / 2)
        self._judge()

    def close(self) -> None:
        """Tell the other services that this one ends."""
        with contextlib.suppress(OSError):
            self._services.leave()

    def _asked(self) -> None:
        """A question to the volume begins: it has not been waiting for longer."""
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
        with contextlib.suppress(OSError):  # a full disk can be tried again when there is room; what was found holds
            self._report = try_volume(self._volume.store_dir, self._volume.file_system, self._asked)
            self._volume.time_step_ns = self._report.time_step_ns
            self._volume.has_file_numbers = self._report.has(CheckName.FILE_NUMBERS)
            self._volume.has_lock_queries = self._report.has(CheckName.LOCK_QUERIES)

    def _judge(self) -> None:
        checks = self._report.checks + ((self._shared_locks(),) if self._volume.is_shared else ())
        if self._is_single:
            checks = tuple(replace(check, required=check.required and check.name not in LIFTED) for check in checks)
        before = {check.name: check.ok for check in self.checks}
        self.checks = checks
        # On a local disk without room for a trial, what is known of local file systems holds.
        untried = "it could not be tried yet" if self._volume.is_shared and not self._report.checks else None
        self._volume.unsafe = next((check.reason for check in checks if check.required and not check.ok), untried)
        for check in checks:
            if check.ok != before.get(check.name, True):
                event = EventName.VOLUME_CHECK_PASSED if check.ok else EventName.VOLUME_CHECK_FAILED
                self._on_event(event, {"check": check.name.value, "required": check.required, "reason": check.reason})

    def _shared_locks(self) -> VolumeCheck:
        name, required = CheckName.SHARED_LOCKS, True
        if self._volume.file_system.keeps_locks_to_itself:
            reason = (
                "a client of CIFS does not tell its server of every lock, so that a model in use here could be deleted "
                "by another machine. Use another volume, or let one service alone use the folder and say so with "
                "OCR_SINGLE_SERVICE=true"
            )
            return VolumeCheck(name, ok=False, required=required, reason=reason)
        if self._beat_error:
            return VolumeCheck(name, ok=False, required=required, reason=self._beat_error)
        if self._services.unreachable:
            reason = (
                "another service uses this folder, and its locks do not reach this machine. Use a volume with locks "
                "that do, or let one service alone use the folder and say so with OCR_SINGLE_SERVICE=true"
            )
            return VolumeCheck(name, ok=False, required=required, reason=reason)
        if self._services.unjudged:
            reason = "another service has left a file in .store/services, and it is not known yet whether it lives"
            return VolumeCheck(name, ok=False, required=required, reason=reason)
        return VolumeCheck(name, ok=True, required=required)


async def monitor_volume(watch: VolumeMonitor, store: Store, on_event: OnEvent) -> None:
    """Look at the volume every second, and take lost leases again, until cancelled."""
    thread = CapacityLimiter(1)  # of its own: a volume that does not answer keeps nobody else waiting

    def look() -> None:
        watch.look()
        for lease in store.locks.retake_lost_leases() if store.volume.has_lock_queries else ():
            on_event(EventName.LEASE_LOST if lease.is_lost else EventName.LEASE_RETAKEN, {"name": lease.name})

    was_answered = True
    try:
        while True:
            looking = asyncio.ensure_future(to_thread.run_sync(look, limiter=thread, abandon_on_cancel=True))
            while not (await asyncio.wait({looking}, timeout=BEAT_SECONDS))[0]:
                if was_answered and (problem := watch.unanswered):
                    was_answered = False
                    on_event(EventName.VOLUME_UNANSWERED, {"reason": str(problem)})
            if not was_answered:
                on_event(EventName.VOLUME_ANSWERED, {})
            was_answered = True
            with contextlib.suppress(StoreError, OSError):  # the inventory reports what is unavailable
                looking.result()
            await asyncio.sleep(BEAT_SECONDS)
    finally:
        looking.cancel()


def require_safety(volume: Volume, on_event: OnEvent, *, is_single: bool) -> None:
    """For commands: judge the volume before it is changed. What is wrong is raised by the change itself."""
    with contextlib.suppress(StoreError, OSError):
        VolumeMonitor(volume, on_event, is_single=is_single).look_before_changing()
