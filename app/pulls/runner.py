"""Runs pulls: new ones that this service is asked for, and those whose runner died, whichever service that was."""

import time
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from app.errors import SourceUnavailable, StoreError
from app.events import EventName, OnEvent
from app.jobs.adopter import JobAdopter
from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.records import Job
from app.jobs.runner import run_job
from app.pulls import request as pulls
from app.pulls.pull import OnPublished, PullLimits, PullRun, Resolve, find_sources
from app.pulls.request import PULL, PullRequest
from app.pulls.sources.url import Fetcher
from app.store.actor import Actor
from app.store.names import parts_of
from app.store.store import Store

T = TypeVar("T")

QUESTIONS_AT_ONCE = 8
"""How many threads may wait for a source's answer. Further requests for pulls wait, and no other requests do."""


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
        self._on_published = on_published
        self._on_event = on_event
        self._threads = CapacityLimiter(QUESTIONS_AT_ONCE)
        self._adopter = JobAdopter(
            jobs, PULL, self.pull, at_once=at_once, accepts=lambda job: pulls.request_of(job) is not None
        )

    async def run(self) -> None:
        """Take the pulls that no process runs, and run them, until stopped."""
        await to_thread.run_sync(self._fetcher.connect)
        await self._adopter.run()
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._fetcher.aclose()

    def stop(self) -> None:
        """Stop every pull where it is. Another service, or this one after its next start, goes on with it."""
        self._adopter.stop()

    async def check(self, request: PullRequest) -> None:
        """Check whether a pull could be done now, as far as its source answers.

        Raises errors of the source, and what `Incoming.plan` raises.
        """
        try:
            sources = await find_sources(request, self._fetcher, self._resolve, self._threads)
        except SourceUnavailable:
            return  # the pull waits for it
        for source in sources:
            await self._in_thread(pulls.plan, self._store, source, request.if_exists)

    async def ask_for(self, request: PullRequest, actor: Actor) -> tuple[Job, bool]:
        """Return the unfinished pull of the same request, or a new one, and whether it is new.

        Raises what `check` raises, InvalidModelName, PullConflict, StoreUnavailable, StoreReadOnly and StoreFull.
        """
        if not request.files:
            parts_of(request.target)
        running = await self._in_thread(pulls.find_running, self._jobs, request)
        if running:
            return running, False
        await self.check(request)
        job, is_new = await self._in_thread(pulls.join_or_create, self._store, self._jobs, request, actor)
        self._adopter.wake()
        return job, is_new

    async def pull(self, held: HeldJob) -> None:
        """Run one pull to its end and write the outcome, also a failure, to its record."""
        run = PullRun(held.job, self._store, self._fetcher, self._resolve, self._limits, self._on_published)
        about = {"job_id": held.job.id, "target": PullRequest.from_record(held.job.request).target}
        self._on_event(EventName.PULL_STARTED, about)
        began = time.monotonic()
        try:
            if not await run_job(held, run):
                return
        except (StoreError, OSError) as exc:
            self._on_event(EventName.PULL_UNRECORDED, about | {"error": str(exc)})
        counts = {"bytes": run.done_bytes, "seconds": round(time.monotonic() - began, 3)}
        failure = held.job.failure.detail if held.job.failure else None
        self._on_event(EventName.PULL_FINISHED, about | {"outcome": str(held.job.state), "error": failure} | counts)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._threads)
