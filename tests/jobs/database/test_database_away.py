"""The database of the queue is stopped, killed, emptied or exchanged: no unit is lost, and none is done twice."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import psutil
import pytest
from psycopg import AsyncConnection

from app.errors import QueueUnavailable
from app.events import EventName
from app.jobs.database import database_queue
from app.jobs.database.connection import DatabaseAway, QueueDatabase, connection_info, rows_of
from app.jobs.database.database_queue import BUSY, DatabaseQueue
from app.jobs.database.unit_rows import BEGIN_TO_DEFER
from app.jobs.folder import Jobs
from app.jobs.records import JobState
from app.jobs.units.unit_claims import Claim
from app.store.actor import Actor
from app.store.store import Store
from tests.jobs.queues import Service, ended, running, serving
from tests.support.deployed.postgres import Postgres, is_installed
from tests.support.unit_works import TestedWork, create, finish, log_lines, numbers_of
from tests.support.waiting import eventually_async

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="postgresql is not installed; .ci/run installs it"),
]
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ocr\\_%'"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as running_server:
        yield running_server


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    yield server.new_database()
    if not server.is_running:
        server.start()


def attempts_of(server: Postgres, url: str) -> str:
    """Return how many times the rows that services work on were put back, one line for each row."""
    schema = server.run(SCHEMAS, url)
    return server.run(f"SELECT attempts FROM {schema}.procrastinate_jobs WHERE status = 'doing'", url)  # noqa: S608


class Paused:
    """Work that waits for the test at the first unit."""

    def __init__(self) -> None:
        self.begun, self.goes_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, claim: Claim) -> None:
        if claim.number == 0:
            self.begun.set()
            await self.goes_on.wait()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_what_runs_goes_on_without_the_database(
    server: Postgres, url: str, store: Store, jobs: Jobs, end: str
) -> None:
    """The unit that runs gets its result, no job can be created, and all goes on when the database is back."""
    service = Service(store, url, TestedWork(paused := Paused()))
    async with running(service):
        job = await service.add(create(jobs, *"abc"))
        await paused.begun.wait()
        await asyncio.to_thread(getattr(server, end))
        await eventually_async(lambda: service.queue.problem)

        paused.goes_on.set()
        await eventually_async(lambda: numbers_of(jobs, job) == [0])
        with pytest.raises(QueueUnavailable, match="OCR_JOBS_URL"):
            await service.queue.check()
        with pytest.raises(QueueUnavailable):
            await service.queue.add(job)
        assert not jobs.get(job.id).is_finished

        await asyncio.to_thread(server.start)
        assert (await eventually_async(ended(jobs, job), within=60)).state == JobState.SUCCEEDED
        later = await service.add(create(jobs, "d"))
        assert (await eventually_async(ended(jobs, later))).state == JobState.SUCCEEDED

    assert numbers_of(jobs, job) == [0, 1, 2]
    assert log_lines(store, job).count("begun") == 3
    about = service.reported(EventName.QUEUE_AWAY, EventName.QUEUE_BACK, EventName.SERVICE_PART_RESTARTED)
    assert about == [EventName.QUEUE_AWAY, EventName.QUEUE_BACK], service.events


async def test_a_database_that_hangs_is_away(server: Postgres, url: str, store: Store, jobs: Jobs) -> None:
    """A server that takes connections and answers nothing delays the service by the time limit of an operation only."""
    service = Service(store, url)
    async with running(service):
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(QueueUnavailable):
                await service.queue.add(create(jobs, "a"))
            assert service.queue.problem
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)
        await service.connected()
        job = await service.add(create(jobs, "b"))
        assert (await eventually_async(ended(jobs, job), within=60)).state == JobState.SUCCEEDED


@pytest.mark.parametrize(
    "lost",
    [
        "SCHEMA {}",
        "TABLE {}.procrastinate_jobs",
        "TABLE {}.procrastinate_events",
        "TABLE {}.procrastinate_workers",
        "FUNCTION {}.procrastinate_fetch_job_v2",
    ],
)
async def test_a_database_without_tables_or_functions_is_filled_again(
    server: Postgres, url: str, store: Store, jobs: Jobs, lost: str
) -> None:
    """All or some are dropped while units wait and one runs: each unit is done, once."""
    service = Service(store, url, TestedWork(paused := Paused()))
    async with running(service):
        job = await service.add(create(jobs, *"abcd"))
        await paused.begun.wait()
        schema = await asyncio.to_thread(server.run, SCHEMAS, url)
        await asyncio.to_thread(server.run, f"DROP {lost.format(schema)} CASCADE", url)
        paused.goes_on.set()
        assert (await eventually_async(ended(jobs, job), within=60)).state == JobState.SUCCEEDED
        later = create(jobs, "e")
        with contextlib.suppress(QueueUnavailable):  # if the service has not noticed the loss before
            await service.queue.add(later)
        assert (await eventually_async(ended(jobs, later), within=60)).state == JobState.SUCCEEDED

    assert numbers_of(jobs, job) == [0, 1, 2, 3]
    assert log_lines(store, job).count("begun") == 4


async def test_a_service_that_queues_for_long_does_not_make_the_database_away(
    server: Postgres, url: str, store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another service queues units of a key, a job of this key is refused; the queue and other keys work.

    The other service is paused, and the database ends its transaction after some seconds.
    """
    service = Service(store, url)
    async with running(service):
        schema = await asyncio.to_thread(server.run, SCHEMAS, url)
        other = await AsyncConnection.connect(connection_info(url, schema))
        await rows_of(other, BEGIN_TO_DEFER, key="busy")
        monkeypatch.setattr(database_queue, "TURN_SECONDS", 0.5)
        busy = create(jobs, "a", actor=Actor("busy"))
        with pytest.raises(QueueUnavailable) as refusal:
            await service.queue.add(busy)
        assert refusal.value.reason == BUSY
        free = await service.add(create(jobs, "b", actor=Actor("free")))
        assert (await eventually_async(ended(jobs, free))).state == JobState.SUCCEEDED
        assert (await eventually_async(ended(jobs, busy), within=60)).state == JobState.SUCCEEDED  # filled later
        await other.close()

    assert service.reported(EventName.QUEUE_AWAY) == []


async def test_lost_rows_are_made_again(
    server: Postgres, url: str, store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are gone as after a restored backup, and the service that would have queued a job was killed."""
    monkeypatch.setattr(database_queue, "FILL_SECONDS", 0.2)
    service = Service(store, url, TestedWork(paused := Paused()))
    async with running(service):
        job = await service.add(create(jobs, *"abcd"))
        await paused.begun.wait()
        schema = await asyncio.to_thread(server.run, SCHEMAS, url)
        await asyncio.to_thread(server.run, f"TRUNCATE {schema}.procrastinate_jobs CASCADE", url)  # restored
        unqueued = create(jobs, "e")  # killed
        paused.goes_on.set()
        for each in (job, unqueued):
            assert (await eventually_async(ended(jobs, each), within=60)).state == JobState.SUCCEEDED

    assert log_lines(store, job).count("begun") == 4


async def test_a_unit_of_a_service_that_fell_silent_is_done_by_another(
    server: Postgres, url: str, store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service was killed at a unit: its lock is free, so another service takes the unit long before STALLED_SECONDS.

    While the lock is held, as by a service that is only slow, the unit's row is left as it is.
    """
    monkeypatch.setattr(database_queue, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(database_queue, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(database_queue, "STALLED_SECONDS", 3600.0)
    looked, job = list[bool](), create(jobs, "a", "b")
    async with serving(store, url, is_silent=True) as silent:
        await silent.queue.add(job)
        claim = await silent.take()
        assert claim
        other = Service(store, url)
        is_locked = other.queue.claims.is_locked

        def look(job_id: str, number: int) -> bool:
            looked.append(is_locked(job_id, number))
            return looked[-1]

        monkeypatch.setattr(other.queue.claims, "is_locked", look)
        async with running(other):
            await eventually_async(lambda: looked.count(True) > 2 and numbers_of(jobs, job) == [1])
            assert await asyncio.to_thread(attempts_of, server, url) == "0"
            claim.release()  # as the system does at the end of a process
            assert (await eventually_async(ended(jobs, job), within=60)).state == JobState.SUCCEEDED

    assert sorted(other.work.seen) == [(job.id, 0), (job.id, 1)]


async def test_new_rows_outlast_a_killed_database(server: Postgres, url: str, store: Store, jobs: Jobs) -> None:
    """Services remember the ids of rows, so the database must not give an id again that it has given before."""
    async with serving(store, url) as service:
        job = create(jobs, *"abc")
        await service.queue.add(job)
        await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    schema = await asyncio.to_thread(server.run, SCHEMAS, url)
    assert await asyncio.to_thread(server.run, f"SELECT count(*) FROM {schema}.procrastinate_jobs", url) == "3"  # noqa: S608


async def test_a_unit_given_back_while_its_service_connects_is_queued(
    url: str, store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work on a unit ends between the settling of what is owed to the database and the end of the connecting."""
    async with serving(store, url) as service:
        await service.queue.add(create(jobs, "a"))
        claim = await service.take()
        assert claim
        assert isinstance(service.queue, DatabaseQueue)
        fill = service.queue._fill

        async def fill_and_give_back(database: QueueDatabase) -> None:
            await fill(database)
            await service.queue.release(claim)

        monkeypatch.setattr(service.queue, "_fill", fill_and_give_back)
        service.queue._lose(DatabaseAway("the test says so"), service.queue._database)
        async with asyncio.timeout(60):
            while not (again := await service.take()):
                await asyncio.sleep(0.02)
        assert again.number == 0
        monkeypatch.undo()
        await service.queue.release(again)


async def test_a_service_that_lost_its_registration_goes_on(
    server: Postgres, url: str, store: Store, jobs: Jobs
) -> None:
    """Another service has taken one for dead while it was paused: its unit is not done twice, and it takes new ones."""
    service = Service(store, url, TestedWork(paused := Paused()))
    async with running(service):
        job = await service.add(create(jobs, *"abc"))
        await paused.begun.wait()
        schema = await asyncio.to_thread(server.run, SCHEMAS, url)
        await asyncio.to_thread(server.run, f"DELETE FROM {schema}.procrastinate_workers", url)  # noqa: S608
        other = Service(store, url)
        async with running(other):
            await eventually_async(lambda: len(numbers_of(jobs, job)) == 2, within=60)
            paused.goes_on.set()
            assert (await eventually_async(ended(jobs, job), within=60)).state == JobState.SUCCEEDED
            last = await service.add(create(jobs, *"abcdef"))
            assert (await eventually_async(ended(jobs, last), within=60)).state == JobState.SUCCEEDED

    assert [log_lines(store, each).count("begun") for each in (job, last)] == [3, 6]


async def test_an_unfinished_job_may_change_its_queue(server: Postgres, url: str, store: Store, jobs: Jobs) -> None:
    """From the folder to a database, to another database, and back to the folder, with units left each time."""
    job, queues = create(jobs, *"abcd"), [None, url, server.new_database(), None]
    for number, queue in enumerate(queues):
        async with serving(store, queue) as service:
            if number == 0:
                await service.queue.add(job)
            claim = await service.take()
            assert claim
            await asyncio.to_thread(finish, service.jobs, claim)
            await service.queue.release(claim)

    assert (jobs.get(job.id).state, numbers_of(jobs, job)) == (JobState.SUCCEEDED, [0, 1, 2, 3])
