"""A pull by a command: it creates a job, as `POST /pulls` does, and runs it unless a service takes it first."""

import asyncio
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import to_thread

from app.build import build_jobs, build_pulls
from app.cli.backends.base import Json, PullWatch
from app.cli.backends.open_store import actor
from app.events import EventName
from app.jobs.folder import Jobs
from app.jobs.progress import PROGRESS_INTERVAL_SECONDS
from app.jobs.records import Job
from app.jobs.units.folder_queue import FolderQueue
from app.jobs.units.unit_runner import UnitRunner
from app.pulls.pull_jobs import PULL, PullJobs
from app.pulls.pull_partials import keep_partials
from app.pulls.request import PullRequest
from app.settings import Settings
from app.store import Model, Store


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a pull into the folder: the job's record, None after Ctrl-C, and the models published before that."""

    job: Job | None
    published: list[Json]


def pull_into(settings: Settings, store: Store, request: PullRequest, watch: PullWatch) -> Ended:
    """Create the pull and wait until it is finished. Ctrl-C cancels it. Raises what `PullRequests.ask_for` raises."""
    jobs = build_jobs(store)
    following = _Following(settings, store, jobs, request, watch)
    try:
        return Ended(asyncio.run(following.run()), following.published)
    except KeyboardInterrupt:
        if following.job_id:
            keep_partials(store, following.job_id)  # so that the same command continues these files
            PullJobs(store, jobs).cancel(following.job_id)
        return Ended(None, following.published)


class _Following:
    """One pull whose record is polled for progress, whether this process or a service runs the pull."""

    def __init__(self, settings: Settings, store: Store, jobs: Jobs, request: PullRequest, watch: PullWatch) -> None:
        self.job_id: str | None = None
        self.published: list[dict[str, Any]] = []
        """The models that this process has published; a service that runs the pull lists them in its journal."""
        self._settings = settings
        self._store = store
        self._jobs = jobs
        self._request = request
        self._watch = watch

    async def run(self) -> Job:
        """Create the pull, wait until it is finished, and return its job. Raises what `PullRequests.ask_for` raises."""
        queue = FolderQueue(self._jobs)
        pulls = build_pulls(self._settings, self._store, self._jobs, queue, self._on_published, self._on_event)
        try:
            job, _ = await pulls.requests.ask_for(self._request, actor())
            self.job_id = job.id
            following = asyncio.create_task(self._finished(job.id))
            await UnitRunner(queue, {PULL: pulls.units}, self._on_event).work_on(job)
            return await following
        finally:
            await pulls.requests.close()

    async def _on_published(self, model: Model) -> None:
        self.published.append({"name": model.name, "size_bytes": model.size_bytes, "outcome": "pulled"})

    def _on_event(self, event: EventName, fields: dict[str, Any]) -> None:
        if event is EventName.PULL_RETRIED:
            self._watch.on_retry(fields["error"], fields["pause_seconds"])

    async def _finished(self, job_id: str) -> Job:
        while not (job := await to_thread.run_sync(self._jobs.get, job_id)).is_finished:
            self._watch.on_progress(job.progress.done, job.progress.total)
            await anyio.sleep(PROGRESS_INTERVAL_SECONDS)
        self._watch.on_progress(job.progress.done, job.progress.total)
        return job
