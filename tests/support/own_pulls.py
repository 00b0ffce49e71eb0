"""Pulls that run in the test's own process, with the service's PullRunner and real connections."""

import asyncio
from datetime import timedelta
from typing import Any

from app.fetching.http_client import HttpClient
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.pulls.pull import PullLimits
from app.pulls.pull_jobs import PULL
from app.pulls.pull_runner import PullRunner
from app.pulls.request import PullRequest
from app.pulls.sources.base import Source
from app.pulls.sources.hub import HubSource
from app.pulls.sources.url import UrlSource
from app.store.actor import Actor
from app.store.inventory import Model
from app.store.store import Store

LIMITS = PullLimits(retries=3, pause_seconds=0.01, partial_retention=timedelta(hours=1))


class OwnPulls:
    """Runs the pulls of this process, one after another."""

    def __init__(
        self, store: Store, jobs: Jobs, allowed_urls: tuple[str, ...], *, limits: PullLimits = LIMITS, hub: str = ""
    ) -> None:
        """`hub` is the URL of a hub, for pulls from repositories."""
        self._jobs = jobs
        self._runner = asyncio.Runner()
        self._pull_runner = self._runner.run(_pull_runner(store, jobs, allowed_urls, limits, hub))

    def ask_for(self, request: PullRequest, actor: Actor) -> Job:
        """Create a pull and run it, unless another process takes it first. Return the job.

        Raises what `PullRunner.ask_for` raises.
        """
        job, _ = self._runner.run(self._pull_runner.ask_for(request, actor))
        return self._run(job.id)

    def adopt(self) -> list[Job]:
        """Run the unfinished pulls that no process holds, and return their jobs."""
        return [self._run(job.id) for job in self._jobs.unheld(PULL)]

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._pull_runner.close())
        self._runner.close()

    def _run(self, job_id: str) -> Job:
        if held := self._jobs.take(job_id):
            with held:
                self._runner.run(self._pull_runner.pull(held))
        return self._jobs.get(job_id)


async def _pull_runner(
    store: Store, jobs: Jobs, allowed_urls: tuple[str, ...], limits: PullLimits, hub: str
) -> PullRunner:
    """Create the runner on the event loop that it will use."""
    http = HttpClient(10)
    sources: list[Source] = [HubSource(http, endpoint=hub, token=None), UrlSource(http, allowed_urls)]
    return PullRunner(store, jobs, sources, limits, at_once=1, on_published=_on_published, on_event=_on_event)


async def _on_published(_: Model) -> None:
    """Do nothing with a published model."""


def _on_event(event: str, fields: dict[str, Any]) -> None:
    if event == "pull.unrecorded":
        raise AssertionError(fields)
