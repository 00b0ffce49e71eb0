"""Builds the parts of a service from its settings, for the service and for the command line."""

from datetime import timedelta

from app.events import OnEvent
from app.jobs.folder import Jobs
from app.pulls.pull import OnPublished, PullLimits
from app.pulls.request import PULL, PullRequest, Source
from app.pulls.runner import PullRunner
from app.pulls.sources.url import Fetcher
from app.settings import Settings
from app.store.store import Store

RESUMABLE = frozenset({PULL})
"""The kinds of job that another service goes on with when their runner dies."""


def build_jobs(store: Store) -> Jobs:
    """The jobs in a store's folder."""
    return Jobs(store, RESUMABLE)


def build_puller(
    settings: Settings, store: Store, jobs: Jobs, on_published: OnPublished, on_event: OnEvent
) -> PullRunner:
    """A puller for one store; raises SettingsError when the hub's token cannot be read."""
    token = settings.read_hub_token()

    def resolve(request: PullRequest) -> list[Source]:
        from app.pulls.sources import hub  # noqa: PLC0415 - a second that a service which pulls nothing need not spend

        return hub.resolve(request, settings.hub_endpoint, token)

    return PullRunner(
        store,
        jobs,
        Fetcher(
            token=token,
            allowed_urls=settings.pull_allowed_urls,
            stall_seconds=settings.pull_stall_timeout / timedelta(seconds=1),
        ),
        resolve,
        PullLimits(
            retries=settings.pull_retries,
            pause_seconds=settings.pull_retry_pause / timedelta(seconds=1),
            partial_retention=settings.partial_retention,
        ),
        at_once=settings.pulls_at_once,
        on_published=on_published,
        on_event=on_event,
    )
