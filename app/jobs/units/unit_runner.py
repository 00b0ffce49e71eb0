"""Works on the units of all jobs of the folder, a few at once, and ends the work when a job is cancelled."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping

import anyio
from anyio import CancelScope, to_thread
from anyio.abc import TaskGroup

from app.engine.queue import CALLER, JOB
from app.errors import JobNotFound, ServiceError, StoreError, UnitAbandoned, UnitDamaged
from app.events import EventName, OnEvent
from app.jobs.poll_loop import PollLoop
from app.jobs.progress import PROGRESS_INTERVAL_SECONDS
from app.jobs.recording import until_written
from app.jobs.records import Job, JobState
from app.jobs.units.lanes import Lane, Lanes, Place
from app.jobs.units.processor_preference import ProcessorPreference
from app.jobs.units.records import Task
from app.jobs.units.unit_claims import Claim, JobEnded, Outcome
from app.jobs.units.unit_queue import UnitQueue, queue_name
from app.jobs.units.unit_work import MAX_ATTEMPTS, Ended, NotNow, UnitRun, UnitWork
from app.store.records.forms import RecordDamaged
from app.tracing import Attributes, linked_span

NOT_NOW_SECONDS = 5.0
"""The pause, in seconds, after a unit was given back because the engine or the folder is not available."""
DEFECT = "The work on it failed because of a defect in the service, which the service's log describes."


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
        """`works` has the work of each kind of job. `on_written` is called after a result was appended, or could
        not be appended.

        Without `preference` the service loads any processor that a unit needs.
        """
        self.queue = queue
        self._claims = queue.claims
        self._works = works
        self._on_event = on_event
        self._on_written = on_written
        self._preference = preference
        self._loop = PollLoop(self._claim_some)
        self._lanes = (lanes or Lanes()).build(self._loop.wake)
        self.running = dict.fromkeys(works, 0)
        """How many units this service works on now, by the kind of job. A pull that waits for its source counts."""
        self._continued = set[CancelScope]()
        """The running work on units that any service can continue where it was left."""
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
        """Let each running unit look now whether its job has ended."""
        self._may_have_ended.set()
        self._may_have_ended = asyncio.Event()

    def drain(self, seconds: float = 0.0) -> None:
        """Claim no more units. Those that this service works on may be finished within `seconds` from now."""
        self._finish_by = time.monotonic() + seconds
        self._loop.drain()

    async def finish(self) -> None:
        """Wait, after `drain`, until the units are finished, or until the time for that is over.

        Units that any service can continue are given back at once.
        """
        for scope in self._continued:
            scope.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), max(0.0, self._finish_by - time.monotonic()))

    def stop(self) -> None:
        """Give the units back, so that any service on the folder can work on them."""
        self._stopped.set()
        self._loop.stop()

    async def work_on(self, job: Job) -> None:
        """Work on the next unit of a job, if no service works on it. `run` need not run."""
        with CancelScope(shield=True):
            claim = await to_thread.run_sync(self._claims.claim, job, self._understands)
        if claim:
            # A lane of its own, since `run` does not serve the others. It does not exist yet in its own call.
            lane = Lane(1, lambda: lane.serve())  # noqa: PLW0108
            await self._run_one(claim, lane.take())

    async def _claim_some(self, tasks: TaskGroup) -> None:
        """Claim units while this service may work on more, and start the work on them."""
        try:
            while not self._loop.is_draining and (names := self._free_queues()):
                claim = await self._claim_one(names)
                if claim is None:
                    break
                tasks.start_soon(self._run_one, claim, self._lane_of(claim.job).take())
        except (StoreError, OSError):
            pass  # without the folder there are no units; requests report the reason
        except Exception as exc:  # noqa: BLE001 - units are looked for again at the next poll
            self._on_event(EventName.SERVICE_PART_RESTARTED, {"part": "jobs", "exc_info": exc})
        for lane in self._lanes.values():
            lane.serve()

    async def _claim_one(self, names: Collection[str]) -> Claim | None:
        groups = await self._preference.groups(names) if self._preference else [names]
        for group in groups:
            with CancelScope(shield=True):  # otherwise a claim that was made just now could get lost
                if claim := await self.queue.claim_next(group, self._understands):
                    return claim
        return None

    def _free_queues(self) -> Collection[str]:
        """Return the names of the queues of which this service may work on one more unit now."""
        return {
            queue_name(kind, is_downloaded=each, processor=processor)
            for kind, work in self._works.items()
            for each in (False, True)
            if self._lanes[work.lane_of(is_downloaded=each)].has_room
            for processor in (None, *work.processors)
        }

    def _lane_of(self, job: Job) -> Lane:
        return self._lanes[self._works[job.kind].lane_of(is_downloaded=job.is_downloaded)]

    def _understands(self, job: Job, task: Task) -> bool:
        return self._works[job.kind].understands(task.parameters)

    async def _run_one(self, claim: Claim, place: Place) -> None:
        """Work on a unit. If this service cannot, give the unit back and keep the place for NOT_NOW_SECONDS."""
        JOB.set(claim.job.id)
        CALLER.set(claim.job.created_by.name)
        try:
            with self._counted(claim.job.kind):
                is_done = await self._work_and_release(claim, place)
            if not is_done:
                await self._loop.pause(NOT_NOW_SECONDS)
        finally:
            place.leave()

    @contextlib.contextmanager
    def _counted(self, kind: str) -> Iterator[None]:
        self.running[kind] += 1
        try:
            yield
        finally:
            self.running[kind] -= 1

    async def _work_and_release(self, claim: Claim, place: Place) -> bool:
        """Work on a unit and end its claim. Return False if the unit could not be worked on."""
        job, work, ended = claim.job, self._works[claim.job.kind], None
        try:
            attributes: Attributes = {
                "ocr.job.id": job.id,
                "ocr.job.kind": job.kind,
                "ocr.job.unit": claim.number,
                "ocr.job.attempts": claim.attempts,
            }
            name = job.kind if job.counts_bytes else f"job {job.kind}"
            with linked_span(name, attributes, job.traceparent) as span, self._interruptible(work):
                ended = await self._work(claim, work.begin(claim, place))
                span.set(_span_end(job, ended))
                if ended and ended.failure and job.counts_bytes:
                    span.fail(ended.failure.error)
        except Exception as exc:  # noqa: BLE001 - a defect with one unit must not stop the others
            self._report_defect(claim, exc)
        finally:
            with CancelScope(shield=True):
                await self.queue.release(claim)  # once: this service may claim the unit again during a pause
        return ended is not None

    @contextlib.contextmanager
    def _interruptible(self, work: UnitWork) -> Iterator[None]:
        with CancelScope() as scope:
            if work.is_continued:
                self._continued.add(scope)
            try:
                yield
            finally:
                self._continued.discard(scope)

    async def _work(self, claim: Claim, run: UnitRun) -> Ended | None:
        """Work on a unit and append its outcome. Return None if the unit was given back."""
        if claim.is_first and not claim.job.counts_bytes:
            waited = round(time.time() - claim.job.created_at.timestamp(), 3)
            about = {"job_id": claim.job.id, "kind": claim.job.kind, "items": claim.job.units}
            self._on_event(EventName.JOB_STARTED, about | {"waited_seconds": max(waited, 0.0)})
        try:
            outcome = await self._outcome_of(claim, run)
            if outcome is None and not run.is_cancelled:
                await self._give_back(claim)
                return None
            ended = await self._append(claim, outcome) if outcome else Ended(claim.open_job.log.end)
        except asyncio.CancelledError:  # also while a result waits for the folder: then it is lost
            await self._give_back(claim)
            raise
        with CancelScope(shield=True):
            await to_thread.run_sync(run.on_ended, ended)
        return ended

    async def _outcome_of(self, claim: Claim, run: UnitRun) -> Outcome | None:
        """Work on a unit. Return None if its job has ended meanwhile, or if the unit cannot be worked on now."""
        work = self._works[claim.job.kind]
        if error := _refusal(work, claim):
            return work.failed(claim, error)
        outcome: Outcome | None = None

        def look() -> bool:
            if progress := run.progress():
                self._claims.report(claim, *progress)
            return self._claims.is_ended(claim)

        async def follow() -> None:
            while not await to_thread.run_sync(look):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._may_have_ended.wait(), PROGRESS_INTERVAL_SECONDS)
            run.is_cancelled = True
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            with contextlib.suppress(NotNow):
                outcome = await self._attempt(claim, run)
            tasks.cancel_scope.cancel()
        if outcome:
            with CancelScope(shield=True):
                await to_thread.run_sync(look)  # the last progress
        return outcome

    async def _attempt(self, claim: Claim, run: UnitRun) -> Outcome | None:
        try:
            return await run.run()
        except NotNow:
            raise
        except JobEnded:
            run.is_cancelled = True
            return None
        except Exception as exc:  # noqa: BLE001 - a defect with one unit must not stop the others
            self._report_defect(claim, exc)
            return self._works[claim.job.kind].failed(claim, ServiceError(DEFECT))

    def _report_defect(self, claim: Claim, exc: Exception) -> None:
        about = {"job_id": claim.job.id, "kind": claim.job.kind, "unit": claim.number}
        self._on_event(EventName.JOB_CRASHED, about | {"exc_info": exc})

    async def _append(self, claim: Claim, outcome: Outcome) -> Ended:
        """Append a result. While the folder is away the result waits; after that the unit is done again."""
        ended = Ended(None, outcome.failure)

        def append() -> None:
            nonlocal ended
            with contextlib.suppress(JobNotFound):
                ended = Ended(self._claims.complete(claim, outcome).state, outcome.failure)

        try:
            await until_written(append)
        except (StoreError, OSError, RecordDamaged) as exc:
            ended = Ended(None, outcome.failure, unrecorded=exc)
            if not claim.job.counts_bytes:
                about = {"job_id": claim.job.id, "kind": claim.job.kind, "unit": claim.number}
                self._on_event(EventName.JOB_UNRECORDED, about | {"error": str(exc)})
        self._on_written()
        return ended

    async def _give_back(self, claim: Claim) -> None:
        with (
            CancelScope(shield=True),
            contextlib.suppress(StoreError, OSError, RecordDamaged),
        ):  # then the attempt counts
            await to_thread.run_sync(self._claims.give_back, claim)


def _refusal(work: UnitWork, claim: Claim) -> ServiceError | None:
    """Return why a unit is not worked on; None if it is."""
    if claim.attempts > MAX_ATTEMPTS and not work.is_continued:
        return UnitAbandoned(claim.attempts - 1)
    return UnitDamaged(f"its description cannot be read: {claim.damage}") if claim.damage else None


def _span_end(job: Job, ended: Ended | None) -> Attributes:
    """Return the attributes of a span that say how the work on a unit has ended."""
    if job.counts_bytes:
        return {"ocr.job.outcome": str(ended.state if ended and ended.state else job.state)}
    if ended is None or ended.state is JobState.CANCELLED:
        return {"ocr.job.unit_outcome": "not_done"}
    return {"ocr.job.unit_outcome": "failed" if ended.failure else "succeeded"}
