"""Jobs that a request starts and this service runs at once. A job fails if the service stops before the job's end."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from anyio import CancelScope, to_thread

from app.errors import ServiceError, StoreError, StoreUnavailable
from app.events import EventName, OnEvent
from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.progress import Progress
from app.jobs.recording import until_written
from app.jobs.records import Job, JobState
from app.jobs.runner import Work, run_job
from app.store import Actor
from app.tracing import linked_span


class BackgroundJobs:
    """Runs jobs of any kind in the background of a service."""

    def __init__(self, jobs: Jobs, on_event: OnEvent = lambda *_: None) -> None:
        self._jobs = jobs
        self._on_event = on_event
        self._running: dict[asyncio.Task[None], CancelScope] = {}
        self._by_id: dict[str, asyncio.Task[None]] = {}

    async def begin(
        self, kind: str, request: dict[str, Any], work: Work, actor: Actor, *, webhook: str | None = None
    ) -> Job:
        """Create a job, start its work, and return the job. Raises StoreUnavailable, StoreReadOnly, StoreFull.

        `kind` must not be a resumable kind. `request` has the parts of the request that the job's record shows,
        and `webhook` the URL that is told the end of the job.
        """
        async with AsyncExitStack() as unless_begun:
            unless_begun.push_async_callback(work.release)
            progress = Progress(*work.count(), unit=work.unit)
            create = partial(self._jobs.begin, kind, request, actor, progress, webhook=webhook)
            held = await to_thread.run_sync(create)
            job, scope = held.job, CancelScope()
            task = asyncio.create_task(self._run_traced(held, work, scope))
            unless_begun.pop_all()
        self._running[task], self._by_id[job.id] = scope, task
        task.add_done_callback(self._running.pop)
        task.add_done_callback(lambda _: self._by_id.pop(job.id))
        return job

    async def ended(self, job_id: str) -> None:
        """Wait until a job that this service has begun has ended, and its outcome is written or given up."""
        if task := self._by_id.get(job_id):
            await asyncio.wait({task})

    async def close(self) -> None:
        """Cancel the running jobs, and wait until their records are written."""
        running = dict(self._running)
        for scope in running.values():
            scope.cancel()
        if running:
            await asyncio.wait(running)

    async def _run_traced(self, held: HeldJob, work: Work, scope: CancelScope) -> None:
        attributes = {"ocr.job.id": held.job.id, "ocr.job.kind": held.job.kind}
        with linked_span(f"job {held.job.kind}", attributes, held.job.traceparent) as span:
            await self._run(held, work, scope)
            span.set({"ocr.job.outcome": str(held.job.state)})
            if held.job.state is JobState.FAILED:
                span.fail(held.job.failure.error if held.job.failure else "unknown")

    async def _run(self, held: HeldJob, work: Work, scope: CancelScope) -> None:
        """Run a job that this process holds, and report its end.

        Raises nothing, because no caller awaits the result.
        """
        created_at = time.monotonic()
        about: dict[str, Any] = {"job_id": held.job.id, "kind": held.job.kind}

        def on_begun() -> None:
            waited_seconds = round(time.monotonic() - created_at, 3)
            self._on_event(EventName.JOB_STARTED, about | {"items": work.total, "waited_seconds": waited_seconds})

        try:
            with held, scope:
                await self._run_or_fail(held, work, on_begun, about)
        except (StoreError, OSError) as exc:
            self._jobs.unrecorded[held.job.id] = exc if isinstance(exc, StoreError) else StoreUnavailable(str(exc))
            self._on_event(EventName.JOB_UNRECORDED, about | {"error": str(exc)})
        job = held.job
        failure = job.failure.detail if job.failure else None
        counts = {"done": work.done, "seconds": round(time.monotonic() - created_at, 3)}
        self._on_event(EventName.JOB_FINISHED, about | {"outcome": str(job.state), "error": failure} | counts)

    async def _run_or_fail(
        self, held: HeldJob, work: Work, on_begun: Callable[[], None], about: dict[str, Any]
    ) -> None:
        try:
            await run_job(held, work, on_begun)
        except (StoreError, OSError):
            raise
        except Exception as exc:  # noqa: BLE001 - a defect; the job must not stay unfinished
            self._on_event(EventName.JOB_CRASHED, about | {"exc_info": exc})
            error = ServiceError(
                "The job failed because of a defect in the service, which the service's log describes."
            )
            await until_written(partial(held.fail, error))
