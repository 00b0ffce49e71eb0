"""Pulls that this very process runs, by the store's own puller and over real connections."""

import asyncio
from datetime import timedelta
from typing import Any

from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.pulls.pull import PullLimits
from app.pulls.pull_jobs import PULL
from app.pulls.pull_runner import PullRunner
from app.pulls.request import PullRequest
from app.pulls.sources.http import HttpClient
from app.pulls.sources.url import UrlSource
from app.store.actor import Actor
from app.store.inventory import Model
from app.store.store import Store

LIMITS = PullLimits(retries=3, pause_seconds=0.01, partial_retention=timedelta(hours=1))


class OwnPulls:
    """The pulls of one process, one after another."""

    def __init__(self, store: Store, jobs: Jobs, allowed_urls: tuple[str, ...]) -> None:
        self._jobs = jobs
        self._runner = asyncio.Runner()
        self._pull_runner = self._runner.run(_pull_runner(store, jobs, allowed_urls))

    def ask_for(self, request: PullRequest, actor: Actor) -> Job:
        """Bring it, unless somebody else was faster to take the job; as it is then.

        Raises what `Puller.ask_for` raises.
        """
        job, _ = self._runner.run(self._pull_runner.ask_for(request, actor))
        return self._run(job.id)

    def adopt(self) -> list[Job]:
        """Bring what nobody brings any more."""
        return [self._run(job.id) for job in self._jobs.unheld(PULL)]

    def close(self) -> None:
        """Give the connections back."""
        self._runner.run(self._pull_runner.close())
        self._runner.close()

    def _run(self, job_id: str) -> Job:
        if held := self._jobs.take(job_id):
            with held:
                self._runner.run(self._pull_runner.pull(held))
        return self._jobs.get(job_id)


async def _pull_runner(store: Store, jobs: Jobs, allowed_urls: tuple[str, ...]) -> PullRunner:
    """On the loop that it will run on."""
    sources = [UrlSource(HttpClient(10), allowed_urls)]
    return PullRunner(store, jobs, sources, LIMITS, at_once=1, on_published=_on_published, on_event=_on_event)


async def _on_published(_: Model) -> None:
    """Nobody lists."""


def _on_event(event: str, fields: dict[str, Any]) -> None:
    if event == "pull.unrecorded":
        raise AssertionError(fields)
