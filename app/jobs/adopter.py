"""Runs the resumable jobs of one kind: new jobs, and jobs whose runner died, in this or another service."""

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
    """Takes the jobs of a kind that no process holds, and runs up to `at_once` of them at the same time."""

    def __init__(
        self,
        jobs: Jobs,
        kind: str,
        run_held: Callable[[HeldJob], Awaitable[object]],
        *,
        at_once: int,
        accepts: Callable[[Job], bool] = lambda _: True,
        on_defect: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """`accepts` returns False for a job that a newer service created and this service does not understand.

        `on_defect` receives each error that is neither a StoreError nor an OSError; the adopter goes on.
        """
        self._jobs = jobs
        self._kind = kind
        self._run_held = run_held
        self._accepts = accepts
        self._on_defect = on_defect
        self._left: set[str] = set()
        """The ids of jobs whose run raised such an error here. They are left for another service, or a restart."""
        self._free = at_once
        self._scope = CancelScope()
        self._is_stopping = False
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Take jobs and run them until `stop` is called. May be called again if it raised."""
        self._scope = CancelScope()
        if self._is_stopping:
            return
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
        """Interrupt the running jobs and leave them unfinished, so that any service on the folder can continue them."""
        self._is_stopping = True
        self._scope.cancel()

    async def _take_some(self, tasks: TaskGroup) -> None:
        # If the model folder is missing, there are no jobs to take; requests for models report the reason.
        try:
            for job in await to_thread.run_sync(self._jobs.unheld, self._kind):
                if not self._free or job.id in self._left or not self._accepts(job):
                    continue
                if held := await to_thread.run_sync(self._jobs.take, job.id):
                    self._free -= 1
                    tasks.start_soon(self._run_one, held)
        except (StoreError, OSError):
            pass
        except Exception as exc:  # noqa: BLE001 - jobs are taken again at the next poll
            self._on_defect(exc)

    async def _run_one(self, held: HeldJob) -> None:
        try:
            with held:
                await self._run_held(held)
        except Exception as exc:  # noqa: BLE001 - one job must not stop the others
            self._left.add(held.job.id)
            self._on_defect(exc)
        finally:
            self._free += 1
            # A job whose outcome could not be written, as on a full disk, is retried only at the next poll.
            if held.job.is_finished:
                self.wake()
