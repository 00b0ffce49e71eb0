"""Batches: jobs that work on items one after another, begun by a request and ended with the service."""

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
from app.store import Actor
from app.store.volume.volume import explaining_refusals

T = TypeVar("T")


class Results(Protocol):
    """The results of a batch, one for each item: a schema."""

    failed_count: int

    def model_dump_json(self) -> str:
        """Return the results as they are sent to a client."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a request asks to be done in a job."""

    kind: str
    """The kind of the job, which is not a resumable one."""
    request: dict[str, Any]
    """What was asked for, for the job's record."""
    total: int
    """How many items there are."""
    run: Callable[[Callable[[], None]], Coroutine[Any, Any, Results]]
    """Does the work, and calls its argument after each item. Raises a ServiceError when every item failed."""
    holding: AsyncExitStack
    """The resources that the work needs; closed before the job's record says that the job has ended."""


class BackgroundJobs:
    """Runs batches beside the requests of a service. The results of each lie in a file beside its job's record."""

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
        """Cancel the batches that still run, and wait until their jobs' records say so."""
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
                await holding.aclose()  # of a batch that was cancelled before its work began


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
    """Await a coroutine, and cancel it as asyncio does: once, so that it may wait for something while it cleans up."""
    task = asyncio.create_task(coroutine)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
        with CancelScope(shield=True):
            await asyncio.wait({task})
    return task.result()
