"""Batches: jobs that process items one after another. A request starts a batch; a batch fails if the service stops."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from anyio import CancelScope, to_thread

from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.records import Job
from app.jobs.runner import Work, run_job
from app.store import Actor, explaining_refusals

T = TypeVar("T")


class Results(Protocol):
    """The results of a batch, one for each item: a pydantic schema of the API."""

    failed_count: int

    def model_dump_json(self) -> str:
        """Return the results as they are sent to a client."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The work that a request starts as a job."""

    kind: str
    """The kind of the job; it must not be a resumable kind."""
    request: dict[str, Any]
    """The request's parameters, as the job's record shows them."""
    total: int
    """The number of items."""
    run: Callable[[Callable[[], None]], Coroutine[Any, Any, Results]]
    """Processes the items and calls its argument after each of them. Raises ServiceError if every item failed."""
    holding: AsyncExitStack
    """The resources that the work needs; closed before the job's outcome is written."""


class BackgroundJobs:
    """Runs batches in the background of a service. The results of a batch are in a file beside its job's record."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._running: dict[asyncio.Task[None], CancelScope] = {}

    async def begin(self, batch: Batch, actor: Actor) -> Job:
        """Start a job for a batch and return it. Raises StoreUnavailable, StoreReadOnly, StoreFull."""
        async with batch.holding as holding:
            held = await to_thread.run_sync(self._jobs.begin, batch.kind, batch.request, actor)
            job, scope = held.job, CancelScope()
            task = asyncio.create_task(self._run(held, batch, holding.pop_all(), scope))
        self._running[task] = scope
        task.add_done_callback(self._running.pop)
        return job

    async def close(self) -> None:
        """Cancel the running batches, and wait until the records of their jobs are written."""
        running = dict(self._running)
        for scope in running.values():
            scope.cancel()
        if running:
            await asyncio.wait(running)

    @staticmethod
    async def _run(held: HeldJob, batch: Batch, holding: AsyncExitStack, scope: CancelScope) -> None:
        with held:
            try:
                with scope:
                    await run_job(held, _BatchWork(batch, holding, held.result_file))
            finally:
                await holding.aclose()  # needed if the batch was cancelled before its work began


class _BatchWork(Work):
    def __init__(self, batch: Batch, holding: AsyncExitStack, result_file: Path) -> None:
        self.phase = "waiting"
        self.total = batch.total
        self._batch = batch
        self._holding = holding
        self._result_file = result_file

    async def run(self) -> dict[str, Any]:
        results = await _cancelled_once(self._results())
        await to_thread.run_sync(self._write, results)
        return {"failed_count": results.failed_count}

    async def _results(self) -> Results:
        async with self._holding:
            return await self._batch.run(self._on_done)

    def _on_done(self) -> None:
        self.phase = "working"
        self.done += 1

    def _write(self, results: Results) -> None:
        with explaining_refusals():
            self._result_file.write_text(results.model_dump_json())


async def _cancelled_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine, and cancel it only once, as asyncio does, so that it may wait while it cleans up.

    An anyio scope would cancel it again at each `await`.
    """
    task = asyncio.create_task(coroutine)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
        with CancelScope(shield=True):
            await asyncio.wait({task})
    return task.result()
