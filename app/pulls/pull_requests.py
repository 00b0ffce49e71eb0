"""The pulls that clients request: checks them, asks their source, and finds or creates their jobs."""

import contextlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from app.errors import QueueUnavailable, SourceUnavailable
from app.jobs.folder import Jobs
from app.jobs.idempotency import RequestKey
from app.jobs.records import Job
from app.jobs.units.unit_queue import UnitQueue
from app.pulls.conditions import check_space
from app.pulls.pull_jobs import PullJobs
from app.pulls.request import PullRequest
from app.pulls.retries import PullLimits
from app.pulls.sources.base import Source, resolve_files, source_for
from app.store import Actor, Store
from app.store.names import parts_of

T = TypeVar("T")

QUESTIONS_AT_ONCE = 8
"""How many threads may wait for answers of sources at once. Further requests for pulls wait for a free thread."""


class PullRequests:
    """Checks and creates the pulls that clients request."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        queue: UnitQueue,
        sources: Sequence[Source],
        limits: PullLimits,
        *,
        max_waiting: int,
    ) -> None:
        """`max_waiting` is how many units without a result the jobs of one API key may have."""
        self._store = store
        self._jobs = jobs
        self._pull_jobs = PullJobs(store, jobs, max_waiting)
        self._queue = queue
        self._sources = sources
        self._limits = limits
        self._threads = CapacityLimiter(QUESTIONS_AT_ONCE)

    async def close(self) -> None:
        """Close the connections to the sources."""
        for source in self._sources:
            await source.aclose()

    async def check(self, request: PullRequest) -> None:
        """Ask the source for a pull's files, and check that each file may be published.

        Raises what `check_space` raises, and all errors of the source except SourceUnavailable, after which the pull
        retries.
        """
        try:
            found = await resolve_files(source_for(self._sources, request), request, self._threads)
        except SourceUnavailable:
            return  # the pull will wait for the source
        await self._in_thread(check_space, self._store, found.files, request.if_exists, self._limits)

    async def ask_for(
        self, request: PullRequest, actor: Actor, webhook: str | None = None, key: RequestKey | None = None
    ) -> tuple[Job, bool]:
        """Return the unfinished pull with an equal request, or else a new pull; and whether the pull is new.

        `webhook` is the URL that is told the end of the pull. A `key` that was sent before gets its job. Raises what
        `check` raises, InvalidModelName, PullConflict, IdempotencyKeyReused, TooManyUnits, QueueUnavailable,
        StoreUnavailable, StoreReadOnly, StoreFull.
        """
        if key:
            job_of, get = self._jobs.units.keys.job_of, self._jobs.get
            if earlier := await self._in_thread(job_of, actor, key.text, key.fingerprint, get):
                return earlier, False
        if not request.files:
            parts_of(request.target)
        if unfinished := await self._in_thread(self._pull_jobs.find_unfinished, request, webhook):
            if key is None:
                return unfinished, False
        else:
            await self.check(request)
        await self._queue.check()
        job, is_new = await self._in_thread(self._pull_jobs.find_or_create, request, actor, webhook, key)
        if is_new:
            with contextlib.suppress(QueueUnavailable):  # the queue takes the job from the folder when it is back
                await self._queue.add(job)
        return job, is_new

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._threads)
