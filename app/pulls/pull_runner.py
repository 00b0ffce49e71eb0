"""Runs pulls: new pulls that clients request, and pulls whose runner died, in this or another service."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TypeVar
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread

from app.errors import ServiceError, SourceUnavailable, StoreError
from app.events import EventName, OnEvent
from app.jobs.adopter import JobAdopter
from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.records import Job, JobState
from app.jobs.runner import run_job
from app.jobs.slots import Slot
from app.pulls.conditions import check_space
from app.pulls.pull import OnPublished, PullLimits, PullRun
from app.pulls.pull_jobs import PULL, PullJobs, request_of
from app.pulls.request import PullRequest
from app.pulls.sources.base import Source, resolve_files, source_for
from app.store import Actor, Store
from app.store.names import parts_of
from app.tracing import linked_span

T = TypeVar("T")

QUESTIONS_AT_ONCE = 8
"""How many threads may wait for answers of sources at once. Further requests for pulls wait for a free thread."""


class PullRunner:
    """Checks and creates the pulls that clients request, and runs up to `at_once` pulls at a time."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        sources: Sequence[Source],
        limits: PullLimits,
        *,
        at_once: int,
        on_published: OnPublished,
        on_event: OnEvent,
    ) -> None:
        self._store = store
        self._pull_jobs = PullJobs(store, jobs)
        self._sources = sources
        self._limits = limits
        self._on_published = on_published
        self._on_event = on_event
        self._threads = CapacityLimiter(QUESTIONS_AT_ONCE)
        self._adopter = JobAdopter(
            jobs,
            PULL,
            self.pull,
            at_once=at_once,
            accepts=lambda job: request_of(job) is not None,
            group_of=_host_of,
            on_defect=lambda exc: on_event(EventName.SERVICE_PART_RESTARTED, {"part": "pulls", "exc_info": exc}),
        )

    async def run(self) -> None:
        """Take the pulls that no process runs, and run them until `stop` is called."""
        await self._adopter.run()
        await self.close()

    async def close(self) -> None:
        """Close the connections to the sources."""
        for source in self._sources:
            await source.aclose()

    def stop(self) -> None:
        """Interrupt the running pulls and leave them unfinished, for any service on the folder to continue."""
        self._adopter.stop()

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

    async def ask_for(self, request: PullRequest, actor: Actor, webhook: str | None = None) -> tuple[Job, bool]:
        """Return the unfinished pull with an equal request, or else a new pull; and whether the pull is new.

        `webhook` is the URL that is told the end of the pull. Raises what `check` raises, InvalidModelName,
        PullConflict, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        if not request.files:
            parts_of(request.target)
        unfinished = await self._in_thread(self._pull_jobs.find_unfinished, request, webhook)
        if unfinished:
            return unfinished, False
        await self.check(request)
        job, is_new = await self._in_thread(self._pull_jobs.find_or_create, request, actor, webhook)
        self._adopter.wake()
        return job, is_new

    async def pull(self, held: HeldJob) -> None:
        """Run a pull that this process holds, and write its outcome, success or failure, to its record."""
        with linked_span("pull", {"ocr.job.id": held.job.id}, held.job.traceparent) as span:
            await self._pull(held)
            span.set({"ocr.job.outcome": str(held.job.state)})
            if held.job.state is JobState.FAILED:
                span.fail(held.job.failure.error if held.job.failure else "unknown")

    async def _pull(self, held: HeldJob) -> None:
        request = PullRequest.from_record(held.job.request)
        source = source_for(self._sources, request)
        about = {"job_id": held.job.id, "target": request.target}

        def on_retry(exc: SourceUnavailable, pause_seconds: float) -> None:
            self._on_event(
                EventName.PULL_RETRIED, about | {"error": str(exc), "pause_seconds": round(pause_seconds, 1)}
            )

        waiting = held.slot.released if held.slot else nullcontext
        run = PullRun(
            held.job, self._store, source, self._limits, self._on_published, waiting=waiting, on_retry=on_retry
        )
        self._on_event(EventName.PULL_STARTED, about)
        began = time.monotonic()
        watching = asyncio.create_task(give_slot_back_when_idle(run, held.slot, self._limits))
        try:
            if not await run_job(held, run):
                return
        except (StoreError, OSError) as exc:
            self._on_event(EventName.PULL_UNRECORDED, about | {"error": str(exc)})
        except Exception as exc:  # noqa: BLE001 - one pull must not end the service
            self._on_event(EventName.JOB_CRASHED, about | {"exc_info": exc})
            await self._fail(held)
        finally:
            watching.cancel()
        counts = {"bytes": run.done_bytes, "seconds": round(time.monotonic() - began, 3)}
        failure = held.job.failure.detail if held.job.failure else None
        self._on_event(EventName.PULL_FINISHED, about | {"outcome": str(held.job.state), "error": failure} | counts)

    async def _fail(self, held: HeldJob) -> None:
        """Mark a pull as failed after a defect in the service ended it. Otherwise services would try it for ever."""
        error = ServiceError("The pull failed because of a defect in the service, which the service's log describes.")
        with contextlib.suppress(StoreError, OSError):
            await self._in_thread(held.fail, error)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._threads)


async def give_slot_back_when_idle(run: PullRun, slot: Slot | None, limits: PullLimits) -> None:
    """Give a pull's slot back while its source sends less than the least rate, so that other pulls can use the slot."""
    while slot:
        before = run.done_bytes
        await asyncio.sleep(limits.idle_seconds)
        is_waiting = run.phase in {"resolving", "downloading"}
        if not is_waiting or run.done_bytes - before > limits.min_rate * limits.idle_seconds:
            slot.ask()
        elif slot.is_held:
            slot.release()


def _host_of(job: Job) -> str:
    """Return the host of a pull's URL, or `resources` for an OCR model; an empty string for a pull from the hub."""
    request = request_of(job)
    if request and request.resource:
        return "resources"
    return urlsplit(request.url).netloc if request and request.url else ""
