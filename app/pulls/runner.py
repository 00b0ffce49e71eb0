"""Runs pulls: those that somebody asks this service for, and those whose runner died, on whichever replica that was."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread
from anyio.abc import TaskGroup

from app.errors import ServiceError, SourceUnavailable, StoreError, StoreUnavailable
from app.events import EventName, OnEvent
from app.jobs.folder import HeldJob, Jobs
from app.jobs.progress import Meter
from app.jobs.records import Job
from app.pulls import request as pulls
from app.pulls.pull import OnPublished, PullLimits, PullRun, Resolve, find_sources
from app.pulls.request import PULL, PullRequest
from app.pulls.sources.url import Fetcher
from app.store.actor import Actor
from app.store.names import parts_of
from app.store.store import Store

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""How often to look for pulls that nobody runs."""
BEAT_SECONDS = 0.25
"""How often a pull's progress is written, and whether it is to end is asked."""
QUESTIONS_AT_ONCE = 8
"""A hub that does not answer keeps a thread for many seconds; whoever asks for more pulls waits, and nobody else."""


class PullRunner:
    """The pulls of one service, so many at once."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        fetcher: Fetcher,
        resolve: Resolve,
        limits: PullLimits,
        *,
        at_once: int,
        on_published: OnPublished,
        on_event: OnEvent,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._fetcher = fetcher
        self._resolve = resolve
        self._limits = limits
        self._free = at_once
        self._on_published = on_published
        self._on_event = on_event
        self._threads = CapacityLimiter(QUESTIONS_AT_ONCE)
        self._scope = CancelScope()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Take what nobody runs, and run it, until stopped."""
        await to_thread.run_sync(self._fetcher.connect)
        with self._scope:
            async with anyio.create_task_group() as tasks:
                while True:
                    self._wake.clear()
                    await self._take_some(tasks)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Give its connections back."""
        await self._fetcher.aclose()

    def stop(self) -> None:
        """End every pull where it is: it goes on on another replica, or after the next start."""
        self._scope.cancel()

    async def check(self, request: PullRequest) -> None:
        """Insist that a pull could be done now, as far as anybody can tell while the other side is available.

        Raises errors of the source, and what `Incoming.plan` raises.
        """
        try:
            sources = await find_sources(request, self._fetcher, self._resolve, self._threads)
        except SourceUnavailable:
            return  # the pull waits for it
        for source in sources:
            await self._in_thread(pulls.plan, self._store, source, request.if_exists)

    async def ask_for(self, request: PullRequest, actor: Actor) -> tuple[Job, bool]:
        """The pull that brings this already, or a new one, and whether it is new.

        Raises what `check` raises, InvalidModelName, PullConflict, StoreUnavailable, StoreReadOnly and StoreFull.
        """
        if not request.files:
            parts_of(request.target)
        running = await self._in_thread(pulls.find_running, self._jobs, request)
        if running:
            return running, False
        await self.check(request)
        job, is_new = await self._in_thread(pulls.join_or_create, self._store, self._jobs, request, actor)
        self._wake.set()
        return job, is_new

    async def pull(self, held: HeldJob) -> None:
        """Run one pull to its end, and write what came of it; what goes wrong is in its record then."""
        run = PullRun(held.job, self._store, self._fetcher, self._resolve, self._limits, self._on_published)
        about = {"job_id": held.job.id, "target": PullRequest.from_record(held.job.request).target}
        self._on_event(EventName.PULL_STARTED, about)
        began, beat = time.monotonic(), partial(_beat, run, held, Meter("bytes"))
        finish = await self._finish_of(run, held, beat)
        if finish is None:
            return
        try:
            with CancelScope(shield=True):
                await to_thread.run_sync(beat)
                await to_thread.run_sync(finish)
                await to_thread.run_sync(run.forget)
                # What an earlier run left, when this one ended before it came to that.
                await to_thread.run_sync(pulls.forget_partials, self._store, held.job.id)
        except (StoreError, OSError) as exc:
            self._on_event(EventName.PULL_UNRECORDED, about | {"error": str(exc)})
        counts = {"bytes": run.done_bytes, "seconds": round(time.monotonic() - began, 3)}
        failure = held.job.failure.detail if held.job.failure else None
        self._on_event(EventName.PULL_FINISHED, about | {"outcome": str(held.job.state), "error": failure} | counts)

    async def _finish_of(self, run: PullRun, held: HeldJob, beat: Callable[[], bool]) -> Callable[[], None] | None:
        """Run it, and say how it is to be finished; None when it is left for later."""
        finish: Callable[[], None] | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_follow, run, beat, tasks.cancel_scope)
            try:
                finish = partial(held.succeed, await run.run())
            except StoreUnavailable:
                finish = None  # so is its record: whoever has the folder back goes on
            except ServiceError as exc:
                finish = partial(held.fail, exc)
            except OSError as exc:
                finish = partial(held.fail, StoreUnavailable(str(exc)))
            tasks.cancel_scope.cancel()
        # Cancelled by itself, the group ends here; from outside, it raises.
        return held.cancel if finish is None and run.is_abandoned else finish

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._threads)

    async def _take_some(self, tasks: TaskGroup) -> None:
        # Without its folder there is nothing to take; whoever asks for the models is told why.
        with contextlib.suppress(StoreError, OSError):
            for job in await to_thread.run_sync(self._jobs.unheld, PULL):
                if self._free and pulls.request_of(job) and (held := await to_thread.run_sync(self._jobs.take, job.id)):
                    self._free -= 1
                    tasks.start_soon(self._serve, held)

    async def _serve(self, held: HeldJob) -> None:
        try:
            with held:
                await self.pull(held)
        finally:
            self._free += 1
            if held.job.is_finished:  # one that could not be, as on a full disk, is tried again with the next look
                self._wake.set()


async def _follow(run: PullRun, beat: Callable[[], bool], scope: CancelScope) -> None:
    """Write how far it is, and end it when somebody asked for that."""
    while not await to_thread.run_sync(beat):  # noqa: ASYNC110 - others do what it waits for
        await anyio.sleep(BEAT_SECONDS)
    run.is_abandoned = True
    scope.cancel()


def _beat(run: PullRun, held: HeldJob, meter: Meter) -> bool:
    """Write what has changed since the last time; True when the job is to end."""
    progress = meter.at(run.done_bytes, run.total_bytes)
    if (run.phase, progress) != (held.job.phase, held.job.progress):
        with contextlib.suppress(StoreError, OSError):  # the next one may be written
            held.update(phase=run.phase, progress=progress)
    return held.is_cancelled()
