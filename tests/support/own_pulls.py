"""Pulls that run in the test's own process, with the service's UnitRunner and real connections."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from app.events import OnEvent
from app.fetching.http_client import HttpClient
from app.jobs.database.database_queue import DatabaseQueue
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.folder_queue import FolderQueue
from app.jobs.units.lanes import Lanes
from app.jobs.units.unit_runner import UnitRunner
from app.pulls.pull import OnPublished, PullLimits
from app.pulls.pull_jobs import PULL
from app.pulls.pull_requests import PullRequests
from app.pulls.pull_units import PullUnits
from app.pulls.request import PullRequest
from app.pulls.sources.base import Source
from app.pulls.sources.hub import HubSource
from app.pulls.sources.url import UrlSource
from app.store.actor import Actor
from app.store.inventory import Model
from app.store.store import Store

LIMITS = PullLimits(retries=3, pause_seconds=0.01, partial_retention=timedelta(hours=1))


async def on_published(_: Model) -> None:
    """Do nothing with a published model."""


class PullService:
    """What a service has of pulls: it takes requests, and runs pulls."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        sources: Sequence[Source],
        limits: PullLimits = LIMITS,
        *,
        at_once: int = 1,
        on_published: OnPublished = on_published,
        on_event: OnEvent = lambda *_: None,
        jobs_url: str | None = None,
    ) -> None:
        """Without `jobs_url`, the queue is the folder. Otherwise it is away until `runner.run` has connected."""
        self.queue = queue = DatabaseQueue(jobs, jobs_url, on_event) if jobs_url else FolderQueue(jobs)
        self.requests = PullRequests(store, jobs, queue, sources, limits, max_waiting=1000)
        units = PullUnits(store, jobs.units.claims, sources, limits, on_published=on_published, on_event=on_event)
        self.runner = UnitRunner(queue, {PULL: units}, on_event, lanes=Lanes(pulls=at_once))

    async def ask_for(self, request: PullRequest, actor: Actor) -> tuple[Job, bool]:
        """Create a pull, as the API does."""
        job, is_new = await self.requests.ask_for(request, actor)
        self.runner.wake()
        return job, is_new


class OwnPulls:
    """Runs the pulls of this process, one after another."""

    def __init__(
        self, store: Store, jobs: Jobs, allowed_urls: tuple[str, ...], *, limits: PullLimits = LIMITS, hub: str = ""
    ) -> None:
        """`hub` is the URL of a hub, for pulls from repositories."""
        self._jobs = jobs
        self._runner = asyncio.Runner()
        self._service = self._runner.run(_service(store, jobs, allowed_urls, limits, hub))

    def ask_for(self, request: PullRequest, actor: Actor) -> Job:
        """Create a pull and run it, unless another process takes it first. Return the job.

        Raises what `PullRequests.ask_for` raises.
        """
        job, _ = self._runner.run(self._service.ask_for(request, actor))
        return self._run(job.id)

    def adopt(self) -> list[Job]:
        """Run the unfinished pulls that no process holds, and return their jobs."""
        return [self._run(job.id) for job in self._jobs.unfinished(PULL)]

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._service.requests.close())
        self._runner.close()

    def _run(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if not job.is_finished:
            self._runner.run(self._service.runner.work_on(job))
        return self._jobs.get(job_id)


async def _service(
    store: Store, jobs: Jobs, allowed_urls: tuple[str, ...], limits: PullLimits, hub: str
) -> PullService:
    """Create the parts on the event loop that they will use."""
    http = HttpClient(10)
    sources: list[Source] = [HubSource(http, endpoint=hub, token=None), UrlSource(http, allowed_urls)]
    return PullService(store, jobs, sources, limits, on_event=_on_event)


def _on_event(event: str, fields: dict[str, Any]) -> None:
    if event == "pull.unrecorded":
        raise AssertionError(fields)
