"""Work of minutes as a job: it goes on when its caller has left, and is followed and cancelled as any job."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from anyio import to_thread

from app import errors
from app.jobs.folder import HeldJob, Jobs
from app.jobs.progress import Meter
from app.jobs.records import Job
from app.store.actor import Actor

LOOK_SECONDS = 0.25
"""How often progress is written, and how soon the wish to cancel is heard."""


class Results(Protocol):
    """What came of the items of a job: a schema."""

    failed_count: int

    def model_dump_json(self) -> str:
        """As it goes over the wire."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a job does."""

    kind: str
    """Jobs of this kind end with the process that runs them."""
    request: dict[str, Any]
    """What was asked for, for the record."""
    total: int
    """How many items there are."""
    run: Callable[[Callable[[], None]], Coroutine[Any, Any, Results]]
    """Does it, and calls what it is given after each item. Raises a ServiceError when nothing came of any."""
    holding: AsyncExitStack
    """What it needs meanwhile; closed before anybody reads that the job ended."""


class BackgroundJobs:
    """Runs them, each in its turn before the engine like any request. The results lie in a file beside the record."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._running: set[asyncio.Task[None]] = set()

    async def begin(self, work: Work, actor: Actor) -> Job:
        """A job for it. Raises StoreUnavailable, StoreReadOnly, StoreFull."""
        async with work.holding as holding:
            held = await to_thread.run_sync(self._jobs.begin, work.kind, work.request, actor)
            running = asyncio.create_task(self._run(held, work, holding.pop_all()))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return held.job

    async def close(self) -> None:
        """End what still runs; its records say so."""
        running = set(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _run(self, held: HeldJob, work: Work, holding: AsyncExitStack) -> None:
        with held:
            try:
                async with holding:
                    results = await self._results(held, work)
                if results is None:
                    await to_thread.run_sync(held.cancel)
                    return
                await to_thread.run_sync(lambda: held.result_file.write_text(results.model_dump_json()))
                await to_thread.run_sync(held.succeed, {"failed_count": results.failed_count})
            except asyncio.CancelledError:
                held.fail(errors.JobAbandoned(work.kind, held.job.owner))
                raise
            except errors.ServiceError as exc:
                await to_thread.run_sync(held.fail, exc)

    async def _results(self, held: HeldJob, work: Work) -> Results | None:
        """Work, and write how far it is; None when somebody cancelled it meanwhile."""
        done = 0

        def count() -> None:
            nonlocal done
            done += 1

        working = asyncio.create_task(work.run(count))
        meter, written = Meter("items"), -1
        try:
            while not working.done() or done != written:
                if done != written:
                    written = done
                    phase, progress = "working" if done else "waiting", meter.at(done, work.total)
                    await to_thread.run_sync(partial(held.update, phase=phase, progress=progress))
                await asyncio.wait({working}, timeout=LOOK_SECONDS)
                if await to_thread.run_sync(held.is_cancelled):
                    return None
            return working.result()
        finally:
            working.cancel()
            await asyncio.wait({working})
