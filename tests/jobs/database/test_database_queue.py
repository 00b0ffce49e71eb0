"""The queue in a real PostgreSQL, with a kind of work that exists only in tests: order, sharing, cancellation."""

import asyncio
from datetime import datetime
from pathlib import Path

import anyio
import pytest

from app.jobs.database import row_changes
from app.jobs.database.connection import QueueDatabase
from app.jobs.database.database_queue import DatabaseQueue
from app.jobs.folder import Jobs
from app.jobs.records import JobState, Priority
from app.jobs.units import unit_runner
from app.jobs.units.records import Task, Unit
from app.jobs.units.unit_claims import Claim
from app.jobs.units.unit_queue import queue_of
from app.store.actor import Actor
from app.store.store import Store
from tests.jobs.queues import Service, ended, running, serving
from tests.support.deployed.postgres import Postgres
from tests.support.held_jobs import store_on
from tests.support.unit_works import TestedWork, create, create_of, finish, folder_of, log_lines, numbers_of
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio
ROWS = "SELECT schemaname || '.procrastinate_jobs' FROM pg_tables WHERE tablename = 'procrastinate_jobs'"


def rows(server: Postgres, database: str) -> int:
    """Count the rows of units."""
    return int(server.run(f"SELECT count(*) FROM {server.run(ROWS, database)}", database))  # noqa: S608 - a constant


async def test_services_share_a_job(store: Store, jobs: Jobs, shared_postgres: Postgres, database: str) -> None:
    """Two services work on one job; each unit is begun once, and no row is left."""
    meet = asyncio.Barrier(2)

    async def both(claim: Claim) -> None:
        if claim.number < 2:
            await meet.wait()  # passes only if two services work at the same time

    first, second = (Service(store, database, TestedWork(both)) for _ in range(2))
    async with running(first, second):
        job = await first.add(create(jobs, *"abcdefgh"))
        assert (await eventually_async(ended(jobs, job))).state == JobState.SUCCEEDED
        await eventually_async(lambda: rows(shared_postgres, database) == 0)

    assert sorted(first.work.seen + second.work.seen) == [(job.id, number) for number in range(8)]
    assert log_lines(store, job).count("begun") == 8


async def test_units_come_by_priority_and_in_turns(store: Store, jobs: Jobs, database: str) -> None:
    """As in the folder: a higher class first; within a class the keys take turns; the jobs of a key by their age."""
    async with serving(store, database) as service:

        async def add(*texts: str, key: str = "me", priority: Priority = Priority.NORMAL) -> None:
            await service.queue.add(create(jobs, *texts, actor=Actor(key), priority=priority))

        async def take(count: int) -> list[tuple[str, int]]:
            found = [await service.take() for _ in range(count)]
            claims = [claim for claim in found if claim]
            for claim in claims:
                await asyncio.to_thread(finish, service.jobs, claim)
                await service.queue.release(claim)
            return [(claim.unit.text or "", claim.number) for claim in claims]

        await add("low", "low", priority=Priority.LOW)
        await add(*["batch"] * 6, key="batch")
        await add("later", key="batch")
        assert await take(2) == [("batch", 0), ("batch", 1)]
        await add("page", "page", key="page")
        await add("high", priority=Priority.HIGH)
        found = await take(20)

    assert found[0] == ("high", 0)
    places = [found.index(("page", number)) for number in range(2)]
    assert all(place <= last for place, last in zip(places, (3, 5), strict=True)), found  # after a unit of the batch
    assert [each for each in found if each[0] in {"batch", "later"}] == [("batch", n) for n in range(2, 6)] + [
        ("later", 0)
    ]
    assert found[-2:] == [("low", 0), ("low", 1)]


async def test_a_new_key_waits_for_the_unit_that_is_worked_on(store: Store, jobs: Jobs, database: str) -> None:
    """A key whose job comes while a batch runs goes next. If it goes on sending jobs, the batch has its turns too."""
    async with serving(store, database) as service:

        async def add(*texts: str, key: str) -> None:
            await service.queue.add(create(jobs, *texts, actor=Actor(key)))

        async def claim() -> Claim:
            found = await service.take()
            assert found
            return found

        await add(*["batch"] * 9, key="batch")
        working, order = await claim(), list[str]()
        await add("page", key="page")
        for _ in range(4):
            await asyncio.to_thread(finish, service.jobs, working)
            await service.queue.release(working)
            working = await claim()
            order.append(working.unit.text or "")
            if order[-1] == "page":
                await add("page", key="page")

        await asyncio.to_thread(finish, service.jobs, working)
        await service.queue.release(working)

    assert order == ["page", "batch", "page", "batch"]


async def test_a_unit_that_a_service_without_the_database_has_waits(store: Store, jobs: Jobs, database: str) -> None:
    """A unit that is locked in the folder is put back, delays no other unit, and is removed once it has a result."""
    job = create(jobs, "a", "b")
    async with serving(store, database) as service:
        await service.queue.add(job)
        claim = jobs.units.claims.claim(job)
        assert claim
        got = await service.queue.claim_next([queue_of(job)], lambda *_: True)
        assert got
        assert (claim.number, got.number) == (0, 1)
        assert await service.queue.claim_next([queue_of(job)], lambda *_: True) is None

        finish(jobs, claim)
        await asyncio.to_thread(finish, service.jobs, got)
        await service.queue.release(got)

    assert jobs.get(job.id).state == JobState.SUCCEEDED
    assert log_lines(store, job).count("begun") == 2


async def test_services_with_and_without_the_database_share_a_folder(store: Store, jobs: Jobs, database: str) -> None:
    """Both work on the same jobs at the same time, whichever of them has created the job; each unit is begun once."""
    alone, other = Service(store, None), Service(store, database)
    async with running(alone, other):
        made = [await each.add(create(jobs, *"abcdef")) for each in (alone, other, alone, other)]
        for job in made:
            assert (await eventually_async(ended(jobs, job))).state == JobState.SUCCEEDED

    for job in made:
        assert log_lines(store, job).count("begun") == 6
        assert numbers_of(jobs, job) == list(range(6))


async def test_a_cancellation_reaches_a_running_unit_by_a_signal(
    store: Store, jobs: Jobs, shared_postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's signal ends the work on another service, also if that would look into the log an hour later."""
    monkeypatch.setattr(unit_runner, "PROGRESS_INTERVAL_SECONDS", 3600.0)
    begun, over = asyncio.Event(), asyncio.Event()

    async def work(_: Claim) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            over.set()

    here = Service(store, database, TestedWork(work))
    async with running(here), serving(store, database) as there:
        await there.queue.add(job := create(jobs, *"abc"))
        await begun.wait()
        await there.queue.cancelled(await asyncio.to_thread(there.jobs.cancel, job.id))
        await over.wait()
        await eventually_async(lambda: rows(shared_postgres, database) == 0)

    assert (jobs.get(job.id).state, here.work.seen) == (JobState.CANCELLED, [(job.id, 0)])


async def test_a_job_that_cannot_be_read_delays_no_other_job(store: Store, jobs: Jobs, database: str) -> None:
    """Units whose task has another form, or is of a newer version, are put back; the others are done."""
    damaged, newer = create(jobs, "a", "b"), create_of(jobs, [Unit(text="newer")], Task({"more": 1}))
    folder_of(store, damaged).task.write_bytes(b"{}")
    service = Service(store, database)
    async with running(service):
        for job in (damaged, newer):
            await service.add(job)
        known = await service.add(create(jobs, "known"))
        assert (await eventually_async(ended(jobs, known))).state == JobState.SUCCEEDED
        await eventually_async(lambda: len(service.jobs.volume.records.damaged("job")) == 2)

    assert [jobs.get(each.id).state for each in (damaged, newer)] == [JobState.QUEUED] * 2


async def test_a_change_of_a_row_is_made_once(
    store: Store, jobs: Jobs, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat does not send a change that is on its way: another service may have fetched the row since."""
    async with serving(store, database) as service:
        await service.queue.add(create(jobs, "a"))
        queue, made = service.queue, list[int]()
        assert isinstance(queue, DatabaseQueue)
        change = row_changes.change_row

        async def change_during_a_heartbeat(database: QueueDatabase, row_id: int, at: datetime | None) -> None:
            made.append(row_id)
            if len(made) == 1:
                await queue._changes.make_owed(database)
            await change(database, row_id, at)

        monkeypatch.setattr(row_changes, "change_row", change_during_a_heartbeat)
        assert await service.finish_next()

    assert len(made) == 1


async def test_two_folders_may_use_one_database(tmp_path: Path, database: str) -> None:
    """The units of one folder are not those of another."""
    stores = [store_on(tmp_path / name) for name in ("one", "two")]
    services = [Service(each, database) for each in stores]
    async with running(*services):
        made = [await each.add(create(each.jobs, *"abc")) for each in services]
        for job, service in zip(made, services, strict=True):
            assert (await eventually_async(ended(service.jobs, job))).state == JobState.SUCCEEDED

    assert [sorted(each.work.seen) for each in services] == [[(job.id, n) for n in range(3)] for job in made]
