"""Jobs that a request starts and that this service runs at once; they fail if the service stops before their end."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from anyio import CancelScope, to_thread

from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.records import Job
from app.jobs.runner import Work, run_job
from app.store import Actor


class BackgroundJobs:
    """Runs jobs of any kind in the background of a service."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._running: dict[asyncio.Task[None], CancelScope] = {}

    async def begin(self, kind: str, request: dict[str, Any], work: Work, actor: Actor) -> Job:
        """Create a job, start its work and return the job. Raises StoreUnavailable, StoreReadOnly, StoreFull.

        `kind` must not be a resumable kind. `request` is what the job's record shows of the request.
        """
        async with AsyncExitStack() as unless_begun:
            unless_begun.push_async_callback(work.release)
            held = await to_thread.run_sync(self._jobs.begin, kind, request, actor)
            job, scope = held.job, CancelScope()
            task = asyncio.create_task(_run(held, work, scope))
            unless_begun.pop_all()
        self._running[task] = scope
        task.add_done_callback(self._running.pop)
        return job

    async def close(self) -> None:
        """Cancel the running jobs, and wait until their records are written."""
        running = dict(self._running)
        for scope in running.values():
            scope.cancel()
        if running:
            await asyncio.wait(running)


async def _run(held: HeldJob, work: Work, scope: CancelScope) -> None:
    with held, scope:
        await run_job(held, work)
