"""Works on the units of all jobs of the folder, a few at once, and ends the work when a job is cancelled."""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import CancelScope, to_thread
from anyio.abc import TaskGroup

from app.engine.queue import CALLER, JOB
from app.errors import JobNotFound, ServiceError, StoreError, UnitAbandoned, UnitDamaged
from app.events import EventName, OnEvent
from app.jobs.poll_loop import PollLoop
from app.jobs.progress import PROGRESS_INTERVAL_SECONDS
from app.jobs.recording import until_written
from app.jobs.records import Job
from app.jobs.units.processor_preference import ProcessorPreference
from app.jobs.units.records import Task
from app.jobs.units.unit_claims import Claim, Outcome
from app.jobs.units.unit_queue import UnitQueue, queue_name
from app.store.records.forms import RecordDamaged
from app.tracing import Attributes, linked_span

NOT_NOW_SECONDS = 5.0
"""The pause, in seconds, after a unit was given back because the engine or the folder is not available."""
MAX_ATTEMPTS = 3
"""How many services may end while they work on a unit, before the unit fails."""
DEFECT = "The work on it failed because of a defect in the service, which the service's log describes."


class NotNow(Exception):
    """The service cannot work on units at present, for a reason that is not the unit's, such as a stopped engine."""


class UnitWork(ABC):
    """The work on the units of one kind of job."""

    processors: Collection[str] = ()
    """The processors of AsposeAI that units may need, of which each job names one; empty if units need none."""

    @abstractmethod
    def understands(self, parameters: dict[str, Any]) -> bool:
        """Return False if the parameters of a job are those of a newer version. The job is left to other services."""

    @abstractmethod
    async def run(self, claim: Claim) -> Outcome:
        """Work on a unit and return its outcome; a failed unit has an outcome too.

        Raises NotNow if the service cannot work on units now. Any other exception is a defect. The work is cancelled,
        by an anyio scope, when the job is cancelled or the service stops.
        """

    @abstractmethod
    def failed(self, claim: Claim, error: Exception) -> Outcome:
        """Return the outcome of a unit that failed with an error."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """How many units a service works on at once."""

    local: int = 1
    """Of units whose data is in the folder. The engine works on one at a time; a second one could be done elsewhere."""
    downloads: int = 4
    """Of units that are downloaded first, since a source may be slow."""


class UnitRunner:
    """Works on the units of one service's folder."""

    def __init__(
        self,
        queue: UnitQueue,
        works: Mapping[str, UnitWork],
        on_event: OnEvent,
        *,
        on_written: Callable[[], None] = lambda: None,
        lanes: Lanes | None = None,
        preference: ProcessorPreference | None = None,
    ) -> None:
        """`works` has the work of each kind of job. `on_written` is called after a result was appended.

        Without `preference` the service loads any processor that a unit needs.
        """
        self.queue = queue
        self._claims = queue.claims
        self._works = works
        self._on_event = on_event
        self._on_written = on_written
        self._lanes = lanes or Lanes()
        self._preference = preference
        self._running = Counter[bool]()
        """How many units are worked on, by whether they are downloaded first."""
        self._loop = PollLoop(self._claim_some)
        self._finish_by = 0.0
        self._is_idle, self._stopped = asyncio.Event(), asyncio.Event()
        self._may_have_ended = asyncio.Event()
        """Set when a job may have been cancelled. It is replaced then."""

    async def run(self) -> None:
        """Work on units until `stop` is called. May be called again after an exception."""
        self._is_idle.clear()
        try:
            async with anyio.create_task_group() as serving:
                serving.start_soon(self.queue.run, self.wake, self._look_at_ends)
                await self._loop.run()
                self._is_idle.set()
                await self._stopped.wait()  # jobs may be created and cancelled until then
                serving.cancel_scope.cancel()
        finally:
            self._is_idle.set()

    def wake(self) -> None:
        """Look for units now, because a job was created."""
        self._loop.wake()

    def _look_at_ends(self) -> None:
        self._may_have_ended.set()
        self._may_have_ended = asyncio.Event()

    def drain(self, seconds: float = 0.0) -> None:
        """Claim no more units. Those that this service works on may be finished within `seconds` from now."""
        self._finish_by = time.monotonic() + seconds
        self._loop.drain()

    async def finish(self) -> None:
        """Wait, after `drain`, until the units are finished, or until the time for that is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), max(0.0, self._finish_by - time.monotonic()))

    def stop(self) -> None:
        """Give the units back, so that any service on the folder can work on them."""
        self._stopped.set()
        self._loop.stop()

    @property
    def running(self) -> int:
        """How many units this service works on."""
        return self._running.total()

    async def _claim_some(self, tasks: TaskGroup) -> None:
        """Claim units while this service may work on more, and start the work on them."""
        try:
            while not self._loop.is_draining and (names := self._free_queues()):
                claim = await self._claim_one(names)
                if claim is None:
                    break
                self._running[claim.job.is_downloaded] += 1
                tasks.start_soon(self._run_one, claim)
        except (StoreError, OSError):
            pass  # without the folder there are no units; requests report the reason
        except Exception as exc:  # noqa: BLE001 - units are looked for again at the next poll
            self._on_event(EventName.SERVICE_PART_RESTARTED, {"part": "jobs", "exc_info": exc})

    async def _claim_one(self, names: Collection[str]) -> Claim | None:
        groups = await self._preference.groups(names) if self._preference else [names]
        for group in groups:
            with CancelScope(shield=True):  # otherwise a claim that was made just now could get lost
                if claim := await self.queue.claim_next(group, self._understands):
                    return claim
        return None

    def _free_queues(self) -> Collection[str]:
        """Return the names of the queues of which this service may work on one more unit now."""
        lanes = {False: self._lanes.local, True: self._lanes.downloads}
        free = [is_downloaded for is_downloaded, most in lanes.items() if self._running[is_downloaded] < most]
        return {
            queue_name(kind, is_downloaded=each, processor=processor)
            for kind, work in self._works.items()
            for processor in (None, *work.processors)
            for each in free
        }

    def _understands(self, job: Job, task: Task) -> bool:
        return self._works[job.kind].understands(task.parameters)

    async def _run_one(self, claim: Claim) -> None:
        JOB.set(claim.job.id)
        CALLER.set(claim.job.created_by.name)
        try:
            attributes: Attributes = {
                "ocr.job.id": claim.job.id,
                "ocr.job.kind": claim.job.kind,
                "ocr.job.unit": claim.number,
                "ocr.job.attempts": claim.attempts,
            }
            with linked_span(f"job {claim.job.kind}", attributes, claim.job.traceparent) as span:
                outcome = await self._work(claim)
                ended = "failed" if outcome and outcome.failure else "succeeded" if outcome else "not_done"
                span.set({"ocr.job.unit_outcome": ended})
        except Exception as exc:  # noqa: BLE001 - a defect with one unit must not stop the others
            self._report_defect(claim, exc)
            await self._loop.pause(NOT_NOW_SECONDS)
        finally:
            with CancelScope(shield=True):
                await self.queue.release(claim)
            self._running[claim.job.is_downloaded] -= 1
            self._loop.wake()

    async def _work(self, claim: Claim) -> Outcome | None:
        """Work on a unit and append its outcome. Return None if there is none."""
        if claim.is_first:
            waited = round(time.time() - claim.job.created_at.timestamp(), 3)
            about = {"job_id": claim.job.id, "kind": claim.job.kind, "items": claim.job.units}
            self._on_event(EventName.JOB_STARTED, about | {"waited_seconds": max(waited, 0.0)})
        try:
            outcome = await self._outcome_of(claim)
        except asyncio.CancelledError:
            with CancelScope(shield=True):
                await self._give_back(claim)
            raise
        if outcome is not None:
            await self._append(claim, outcome)
        return outcome

    async def _outcome_of(self, claim: Claim) -> Outcome | None:
        """Work on a unit. Return None if its job has ended meanwhile, or if the unit was given back."""
        work = self._works[claim.job.kind]
        if claim.attempts > MAX_ATTEMPTS:
            return work.failed(claim, UnitAbandoned(claim.attempts - 1))
        if claim.damage:
            return work.failed(claim, UnitDamaged(claim.damage))
        outcome: Outcome | None = None
        is_deferred = False

        async def follow() -> None:
            while not await to_thread.run_sync(self._claims.is_ended, claim):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._may_have_ended.wait(), PROGRESS_INTERVAL_SECONDS)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            try:
                outcome = await work.run(claim)
            except NotNow:
                is_deferred = True
            except Exception as exc:  # noqa: BLE001 - a defect with one unit must not stop the others
                self._report_defect(claim, exc)
                outcome = work.failed(claim, ServiceError(DEFECT))
            tasks.cancel_scope.cancel()
        if is_deferred:
            await self._give_back(claim)
            await self._loop.pause(NOT_NOW_SECONDS)
        return outcome

    def _report_defect(self, claim: Claim, exc: Exception) -> None:
        about = {"job_id": claim.job.id, "kind": claim.job.kind, "unit": claim.number}
        self._on_event(EventName.JOB_CRASHED, about | {"exc_info": exc})

    async def _append(self, claim: Claim, outcome: Outcome) -> None:
        """Append a result. While the folder is away the result waits; after that the unit is done again."""

        def append() -> None:
            with contextlib.suppress(JobNotFound):
                self._claims.complete(claim, outcome)

        try:
            await until_written(append)
        except (StoreError, OSError, RecordDamaged) as exc:
            about = {"job_id": claim.job.id, "kind": claim.job.kind, "unit": claim.number}
            self._on_event(EventName.JOB_UNRECORDED, about | {"error": str(exc)})
        self._on_written()

    async def _give_back(self, claim: Claim) -> None:
        with contextlib.suppress(StoreError, OSError, RecordDamaged):  # then the attempt counts
            await to_thread.run_sync(self._claims.give_back, claim)
        await self.queue.release(claim)  # another service may work on the unit now
