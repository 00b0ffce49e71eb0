"""The services that `units.py` measures: ours on either backend, and plain workers of procrastinate.

Each service is a process that does nothing but work on units. The work sleeps for the seconds that a unit's text says,
and notes when it begins and ends, so that the figures show the cost of the queue and the results, and not that of an
engine.
"""

import asyncio
import json
import multiprocessing
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.tasks import Task as ProcrastinateTask
from procrastinate.types import JSONValue

from app.build import build_jobs
from app.jobs.database.database_queue import DatabaseQueue
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.folder_queue import FolderQueue
from app.jobs.units.lanes import Place
from app.jobs.units.records import Task, Unit, failure_of
from app.jobs.units.unit_claims import Claim, Outcome
from app.jobs.units.unit_queue import UnitQueue
from app.jobs.units.unit_runner import UnitRunner
from app.jobs.units.unit_work import PlainRun, UnitRun, UnitWork
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store

KIND = "benchmark"
SPAWN = multiprocessing.get_context("spawn")
T = TypeVar("T")


class Notes:
    """A file in which services note when their work on a unit begins and ends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, what: str) -> None:
        """Note that this process begins (`begun`) or ends (`over`) its work on a unit."""
        with self._path.open("a") as file:
            file.write(json.dumps([what, os.getpid(), time.time()]) + "\n")

    def read(self) -> list[tuple[str, int, float]]:
        """Return the notes: what happened, in which process, and when."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [(str(what), int(process), float(at)) for what, process, at in map(json.loads, lines)]

    def count(self) -> int:
        """Return how many notes there are."""
        return self._path.read_bytes().count(b"\n") if self._path.exists() else 0

    def wait_for(self, place: int) -> tuple[str, int, float]:
        """Wait for a note, by its place, and return it."""
        return until(lambda: self.read()[place:])[0]

    async def sleep(self, seconds: float) -> None:
        """Work: sleep between two notes."""
        self.add("begun")
        try:
            await anyio.sleep(seconds)
        finally:
            self.add("over")


class Sleeping(UnitWork):
    """Our work on a unit."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def understands(self, _: dict[str, Any]) -> bool:
        return True

    def begin(self, claim: Claim, place: Place) -> UnitRun:  # noqa: ARG002 - it does not pause
        return PlainRun(self._run, claim)

    async def _run(self, claim: Claim) -> Outcome:
        await self._notes.sleep(float(claim.unit.text or 0))
        return Outcome("{}")

    def failed(self, _: Claim, error: Exception) -> Outcome:
        return Outcome("{}", failure_of(error))


class Backend(ABC):
    """Makes and cancels jobs of units, and has the function of its services."""

    serve: Callable[..., None]
    """Works on units until the process is killed."""
    arguments: tuple[Any, ...]
    """The arguments of `serve`."""

    @abstractmethod
    def create(self, *texts: str) -> Any:  # noqa: ANN401 - the backend's own handle
        """Create a job of units, and return it."""

    @abstractmethod
    def cancel(self, job: Any) -> None:  # noqa: ANN401 - the backend's own handle
        """Cancel a job."""


class Ours(Backend):
    """The model folder, with the queue in the folder or in a database."""

    def __init__(self, root: Path, notes: Notes, url: str | None, work_of: ExitStack) -> None:
        self.serve, self.arguments = serve_ours, (root, notes, url)
        self._jobs = opened(root)
        self._portal = work_of.enter_context(start_blocking_portal())
        self._queue = self._portal.call(queue_of, self._jobs, url)
        running = self._portal.start_task_soon(self._queue.run, lambda: None, lambda: None)
        work_of.callback(running.cancel)
        until(lambda: url is None or self._queue.problem is None)

    def create(self, *texts: str) -> Job:
        with self._jobs.units.new() as new:
            new.add_all(Unit(text=text) for text in texts)
            job = self._jobs.units.create(new, KIND, {}, Actor("benchmark"), Task({}))
            self._portal.call(self._queue.add, job)
        return job

    def cancel(self, job: Job) -> None:
        self._portal.call(self._queue.cancelled, self._jobs.cancel(job.id))


def opened(root: Path) -> Jobs:
    """Open the jobs of a folder."""
    store = Store(root, Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    return build_jobs(store)


async def queue_of(jobs: Jobs, url: str | None) -> UnitQueue:
    """Return the queue of a service."""
    return DatabaseQueue(jobs, url, lambda *_: None) if url else FolderQueue(jobs)


def serve_ours(root: Path, notes: Notes, url: str | None) -> None:
    """Work on units until this process is killed."""

    async def run() -> None:
        queue = await queue_of(opened(root), url)
        await UnitRunner(queue, {KIND: Sleeping(notes)}, lambda *_: None).run()

    asyncio.run(run())


class Plain(Backend):
    """Workers of procrastinate with one task, which takes over the jobs of killed workers as its documentation says."""

    def __init__(self, notes: Notes, url: str, work_of: ExitStack) -> None:
        self.serve, self.arguments = serve_plain, (notes, url)
        self._portal = work_of.enter_context(start_blocking_portal())
        self._app, self._task = plain_app(url, notes)
        work_of.enter_context(self._portal.wrap_async_context_manager(self._app.open_async()))
        self._portal.call(self._app.schema_manager.apply_schema_async)

    def create(self, *texts: str) -> list[int]:
        return list(self._portal.call(self._defer, texts))

    async def _defer(self, texts: tuple[str, ...]) -> list[int]:
        return await self._task.batch_defer_async(*[dict[str, JSONValue](seconds=float(text)) for text in texts])

    def cancel(self, job: list[int]) -> None:
        for row in job:
            self._portal.call(self._cancel, row)

    async def _cancel(self, row: int) -> None:
        await self._app.job_manager.cancel_job_by_id_async(row, abort=True)


def plain_app(url: str, notes: Notes) -> tuple[App, ProcrastinateTask[Any, Any, Any]]:
    """Return an application of procrastinate, and its task that sleeps."""
    app = App(connector=PsycopgConnector(conninfo=url))

    @app.task(name="sleep")
    async def sleep(seconds: float) -> None:
        await notes.sleep(seconds)

    @app.periodic(cron="* * * * *")
    @app.task(name="retry_stalled_jobs", queueing_lock="retry_stalled_jobs", pass_context=True)
    async def retry_stalled_jobs(context: JobContext, timestamp: int) -> None:  # noqa: ARG001 - procrastinate's
        for job in await app.job_manager.get_stalled_jobs():
            await app.job_manager.retry_job(job)

    return app, sleep


def serve_plain(notes: Notes, url: str) -> None:
    """Work on the task's jobs until this process is killed."""

    async def run() -> None:
        app, _ = plain_app(url, notes)
        async with app.open_async():
            await app.run_worker_async(concurrency=1, install_signal_handlers=False)

    asyncio.run(run())


@contextmanager
def services(backend: Backend, notes: Notes, count: int) -> Iterator[None]:
    """Run services, each of which has worked on a unit when the block begins."""
    running: list[BaseProcess] = [SPAWN.Process(target=backend.serve, args=backend.arguments) for _ in range(count)]
    try:
        for process in running:
            process.start()
        while len({pid for _, pid, _ in notes.read()}) < count:
            before = notes.count()
            backend.create(*["0.3"] * count)
            until(lambda before=before: notes.count() >= before + 2 * count, every=0.05)  # type: ignore[misc]
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def until(probe: Callable[[], T], every: float = 0.002) -> T:
    """Wait until a probe is true, and return what it returned."""
    while not (found := probe()):
        time.sleep(every)
    return found
