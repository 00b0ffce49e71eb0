"""The pulls of one service, beside each other and beside the service's other work."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from anyio import CapacityLimiter, fail_after, to_thread

from app.build import build_jobs
from app.fetching.http_client import HttpClient
from app.pulls.pull import PullLimits
from app.pulls.pull_partials import partial_id
from app.pulls.pull_requests import QUESTIONS_AT_ONCE
from app.pulls.request import PullRequest
from app.pulls.sources.base import Source, SourceFile
from app.pulls.sources.hub import HubSource
from app.pulls.sources.url import UrlSource
from app.store.actor import Actor
from app.store.incoming.partials import PartialRecord
from app.store.store import Store
from tests.conftest import slow_on_postgres
from tests.support.held_jobs import create_pull
from tests.support.hub import Fault, Hub, running_hub
from tests.support.own_pulls import PullService
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

ME = Actor("me")
LIMITS = PullLimits(0, 0, timedelta(days=1))
MANY = 60
"""More than the number of threads that all requests share."""


class SilentHub(HubSource):
    """A hub that answers only after the test sets `answered`."""

    def __init__(self) -> None:
        super().__init__(HttpClient(5), endpoint=None, token=None)
        self.answered = threading.Event()
        self.asked: list[PullRequest] = []

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
        return await to_thread.run_sync(self._answer, request, limiter=threads)

    def _answer(self, request: PullRequest) -> list[SourceFile]:
        self.asked.append(request)
        self.answered.wait()
        return []


def pull_service(
    store: Store,
    jobs_url: str | None,
    *sources: Source,
    hub: Hub | None = None,
    limits: PullLimits = LIMITS,
    more_urls: tuple[str, ...] = (),
) -> PullService:
    """Return the parts of a service that pulls from `sources` and from the URLs of `hub`."""
    urls = UrlSource(HttpClient(0), (*more_urls, *((hub.cdn_url,) if hub else ())))
    return PullService(store, build_jobs(store), [*sources, urls], limits, at_once=2, jobs_url=jobs_url)


@asynccontextmanager
async def running(pulling: PullService) -> AsyncIterator[asyncio.Task[None]]:
    """Run a service's pulls inside a `with` block."""
    task = asyncio.create_task(pulling.runner.run())
    try:
        await eventually_async(lambda: pulling.queue.problem is None)
        yield task
    finally:
        pulling.runner.stop()
        await asyncio.wait({task})
        await pulling.requests.close()


async def test_a_silent_hub_delays_no_other_requests(store: Store) -> None:
    """While many requests wait for a silent hub, the shared threads are free for other work."""
    hub = SilentHub()
    pulling = pull_service(store, None, hub)
    requests = [PullRequest(repository="org/repo", file=f"{number}.bin") for number in range(MANY)]
    asking = [asyncio.create_task(pulling.ask_for(request, ME)) for request in requests]
    try:
        await eventually_async(lambda: len(hub.asked) >= QUESTIONS_AT_ONCE)
        with fail_after(100):
            for _ in range(MANY):
                assert await to_thread.run_sync(store.trash.entries) == []
        assert len(hub.asked) == QUESTIONS_AT_ONCE
    finally:
        hub.answered.set()
        await asyncio.wait(asking)
    await pulling.requests.close()


async def test_a_job_of_a_newer_service_is_left_alone(store: Store, jobs_url: str | None) -> None:
    """A pull with a field that this service does not know stays queued, and other pulls still run."""
    with running_hub() as hub:
        known = PullRequest(url=hub.put("/a.bin", b"model"))
        newer = create_pull(build_jobs(store), known.to_record() | {"name": "b.bin", "novelty": 1})
        pulling = pull_service(store, jobs_url, hub=hub)

        async with running(pulling) as task:
            job, is_new = await pulling.ask_for(known, ME)
            await eventually_async(lambda: build_jobs(store).get(job.id).is_finished)

            assert is_new
            assert not task.done()
    assert build_jobs(store).get(job.id).state == "succeeded"
    assert build_jobs(store).get(newer.id).state == "queued"


async def test_a_pull_that_fails_early_removes_its_partial_file(store: Store, jobs_url: str | None) -> None:
    """A resumed pull whose file is gone at the source fails and removes its partial file."""
    with running_hub() as hub:
        request = PullRequest(url=f"{hub.cdn_url}/gone.bin")
        job = create_pull(build_jobs(store), request.to_record())
        before = PartialRecord(
            id=partial_id(job.id, "gone.bin"),
            name="gone.bin",
            kind="pull",
            actor="me",
            expected_bytes=None,
            created_at=datetime.now(UTC),
            retention=timedelta(days=1),
            extra={"job_id": job.id},
        )
        store.incoming.begin(keep=before).release()
        pulling = pull_service(store, jobs_url, hub=hub)

        async with running(pulling):
            await eventually_async(lambda: build_jobs(store).get(job.id).state == "failed")
            await eventually_async(lambda: list(store.volume.staging_dir.iterdir()) == [])


@slow_on_postgres
@pytest.mark.parametrize(
    ("bad", "idle_seconds"), [(Fault(status=503), 1000), (Fault(wait_after=1000), 1)], ids=["failing", "silent"]
)
async def test_bad_sources_take_no_slots_from_good_ones(
    store: Store, jobs_url: str | None, bad: Fault, idle_seconds: float
) -> None:
    """Many pulls from a source that fails or falls silent do not delay pulls from another source."""
    limits = PullLimits(retries=50, pause_seconds=30, partial_retention=timedelta(days=1), idle_seconds=idle_seconds)
    with running_hub() as bad_hub, running_hub() as hub:
        bad_hub.faults.extend([bad] * 1000)
        pulling = pull_service(store, jobs_url, hub=hub, limits=limits, more_urls=(bad_hub.cdn_url,))
        jobs = build_jobs(store)
        for number in range(6):
            request = PullRequest(url=bad_hub.put(f"/bad{number}.bin", b"x" * 2000))
            create_pull(jobs, request.to_record())
        async with running(pulling):
            await eventually_async(lambda: len(bad_hub.seen) >= 2)
            good = [
                await pulling.ask_for(PullRequest(url=hub.put(f"/good{number}.bin", b"model")), ME)
                for number in range(5)
            ]
            await eventually_async(lambda: all(jobs.get(job.id).state == "succeeded" for job, _ in good), within=30)
        bad_hub.forget()
