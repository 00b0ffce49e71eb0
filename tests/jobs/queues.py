"""The queues and runners of several services on one folder. The queue of each is the folder, or a database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from app.build import build_jobs
from app.events import EventName
from app.jobs.database.database_queue import DatabaseQueue
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.folder_queue import FolderQueue
from app.jobs.units.kinds import ItemJobKind
from app.jobs.units.unit_claims import Claim
from app.jobs.units.unit_queue import Understands, queue_name
from app.jobs.units.unit_runner import UnitRunner
from app.store.store import Store
from tests.support.held_jobs import store_on
from tests.support.unit_works import KIND, TestedWork, finish
from tests.support.waiting import eventually_async

QUEUES = {queue_name(kind, is_downloaded=False) for kind in (KIND, ItemJobKind.TEXTS)}


class Service:
    """One service: its view of the folder, its queue and its runner."""

    def __init__(
        self, store: Store, url: str | None, work: TestedWork | None = None, *, jobs: Jobs | None = None
    ) -> None:
        """Without `url`, the queue is the folder. Without `jobs`, the service has its own view of the jobs."""
        self.events: list[tuple[EventName, dict[str, Any]]] = []
        self.jobs = jobs or build_jobs(store_on(store.root))
        self.work = work or TestedWork()
        self.queue = DatabaseQueue(self.jobs, url, self._note) if url else FolderQueue(self.jobs)
        self.runner = UnitRunner(self.queue, {KIND: self.work}, self._note)

    def _note(self, event: EventName, fields: dict[str, Any]) -> None:
        self.events.append((event, fields))

    async def take(self, understands: Understands = lambda *_: True) -> Claim | None:
        """Claim the next unit of any job of the tests' kind, or of texts."""
        return await self.queue.claim_next(QUEUES, understands)

    async def finish_next(self) -> Claim | None:
        """Complete the next unit with its own text, and return its claim; None if there is none."""
        if claim := await self.take():
            try:
                await asyncio.to_thread(finish, self.jobs, claim)
            finally:
                await self.queue.release(claim)
        return claim

    def reported(self, *wanted: EventName) -> list[EventName]:
        """Return those of the reported events that are wanted."""
        return [event for event, _ in self.events if event in wanted]

    async def add(self, job: Job) -> Job:
        """Queue a job that was created, and look for its units, as a request does."""
        await self.queue.add(job)
        self.runner.wake()
        return job

    async def connected(self) -> None:
        """Wait until the database has answered."""
        await eventually_async(lambda: self.queue.problem is None)


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    """Run the runners of services until the end of the block."""
    tasks = [asyncio.create_task(service.runner.run()) for service in services]
    try:
        for service in services:
            await service.connected()
        yield
    finally:
        for service in services:
            service.runner.stop()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def serving(
    store: Store, url: str | None, *, jobs: Jobs | None = None, is_silent: bool = False
) -> AsyncIterator[Service]:
    """Run the queue of a service that works on nothing by itself until the end of the block.

    With `is_silent` it sends no heartbeats, as a killed service.
    """
    service = Service(store, url, jobs=jobs)
    if is_silent:
        service.queue._beat = lambda _: anyio.sleep_forever()  # type: ignore[union-attr, method-assign]
    task = asyncio.create_task(service.queue.run(lambda: None, lambda: None))
    try:
        await service.connected()
        yield service
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()  # raises the exception of a defect


def ended(jobs: Jobs, job: Job) -> Callable[[], Job | None]:
    """Return a probe for the end of a job."""

    def probe() -> Job | None:
        found = jobs.get(job.id)
        return found if found.is_finished else None

    return probe
