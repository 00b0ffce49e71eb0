"""Runs the resumable jobs of one kind: new ones, and those whose runner died, whichever service that was."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import anyio
from anyio import CancelScope, to_thread
from anyio.abc import TaskGroup

from app.errors import StoreError
from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.records import Job

POLL_INTERVAL_SECONDS = 1.0
"""How often to look for jobs that no process runs."""


class JobAdopter:
    """Takes the jobs of a kind that no process holds, and runs so many of them at once."""

    def __init__(
        self,
        jobs: Jobs,
        kind: str,
        run_held: Callable[[HeldJob], Awaitable[object]],
        *,
        at_once: int,
        accepts: Callable[[Job], bool] = lambda _: True,
    ) -> None:
        """`accepts` tells whether this service understands a job, which a newer one may have made."""
        self._jobs = jobs
        self._kind = kind
        self._run_held = run_held
        self._accepts = accepts
        self._free = at_once
        self._scope = CancelScope()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Take jobs and run them until stopped."""
        with self._scope:
            async with anyio.create_task_group() as tasks:
                while True:
                    self._wake.clear()
                    await self._take_some(tasks)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), POLL_INTERVAL_SECONDS)

    def wake(self) -> None:
        """Look for jobs now."""
        self._wake.set()

    def stop(self) -> None:
        """Cancel the running jobs where they are. Another service, or this one after its next start, takes them."""
        self._scope.cancel()

    async def _take_some(self, tasks: TaskGroup) -> None:
        # Without its folder there is nothing to take; requests for the models are told why.
        with contextlib.suppress(StoreError, OSError):
            for job in await to_thread.run_sync(self._jobs.unheld, self._kind):
                if self._free and self._accepts(job) and (held := await to_thread.run_sync(self._jobs.take, job.id)):
                    self._free -= 1
                    tasks.start_soon(self._run_one, held)

    async def _run_one(self, held: HeldJob) -> None:
        try:
            with held:
                await self._run_held(held)
        finally:
            self._free += 1
            if held.job.is_finished:  # one whose outcome cannot be written, as on a full disk, waits for the next look
                self.wake()
