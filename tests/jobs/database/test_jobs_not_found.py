"""Rows in a real PostgreSQL whose jobs, or whose whole folder, cannot be found or read by a service."""

import errno
import os
import shutil
from collections.abc import Callable

import pytest

from app.errors import JobNotFound, StoreUnavailable
from app.jobs.database import database_queue, row_claims
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.job_log import JobLog
from app.jobs.units.unit_claims import Claim
from app.jobs.units.unit_queue import Understands
from app.store.store import Store
from tests.jobs.database.test_database_queue import rows
from tests.jobs.queues import Service, serving
from tests.support.deployed.postgres import Postgres
from tests.support.unit_works import create, folder_of, numbers_of
from tests.support.waiting import Deadline

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put units back for a moment only, and let no service make rows again."""
    monkeypatch.setattr(row_claims, "HELD_SECONDS", 0.2)
    monkeypatch.setattr(database_queue, "FILL_SECONDS", 3600.0)


def before_claim(service: Service, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once between the reading of a job's record and the claim of its unit."""
    claim_unit = service.queue.claims.claim_unit

    def claim(job: Job, number: int, understands: Understands) -> Claim | None:
        monkeypatch.setattr(service.queue.claims, "claim_unit", claim_unit)
        happens()
        return claim_unit(job, number, understands)

    monkeypatch.setattr(service.queue.claims, "claim_unit", claim)


async def finish_next(service: Service) -> int:
    """Complete the next unit, once there is one, and return its number."""
    deadline = Deadline(30)
    while not (claim := await service.finish_next()):
        assert not deadline.is_over
    return claim.number


async def test_a_unit_waits_while_the_folder_is_away(
    store: Store, jobs: Jobs, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder goes away while a unit is claimed: the unit is done when the folder is back."""
    away = store.root.with_name("away")
    async with serving(store, database) as service:
        await service.queue.add(job := create(jobs, "a", "b"))
        before_claim(service, monkeypatch, lambda: store.root.rename(away))
        with pytest.raises(StoreUnavailable):
            await service.take()
        away.rename(store.root)
        assert {await finish_next(service) for _ in range(2)} == {0, 1}

    assert numbers_of(jobs, job) == [0, 1]


async def test_rows_of_a_removed_job_are_removed(
    store: Store, jobs: Jobs, shared_postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job is removed while one of its units is claimed: no row is left, and the units of other jobs are done."""
    async with serving(store, database) as service:
        await service.queue.add(removed := create(jobs, *"abc"))
        await service.queue.add(create(jobs, "d"))
        before_claim(service, monkeypatch, lambda: shutil.rmtree(folder_of(store, removed).path))
        assert await finish_next(service) == 0
        deadline = Deadline(30)
        while rows(shared_postgres, database):
            assert await service.take() is None
            assert not deadline.is_over


async def test_a_job_may_be_seen_later_than_its_rows(
    store: Store, jobs: Jobs, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look that does not find a job, as on a network file system, removes none of its rows."""
    async with serving(store, database) as service:
        await service.queue.add(job := create(jobs, *"abc"))
        get = service.jobs.get

        def not_yet(job_id: str) -> Job:
            monkeypatch.setattr(service.jobs, "get", get)
            raise JobNotFound(job_id)

        monkeypatch.setattr(service.jobs, "get", not_yet)
        assert await service.take() is None
        assert {await finish_next(service) for _ in range(3)} == {0, 1, 2}

    assert numbers_of(jobs, job) == [0, 1, 2]


async def test_a_log_that_gives_an_error_delays_no_other_job(
    store: Store, jobs: Jobs, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty database is filled with the units of the jobs that can be read; the other job is reported."""
    broken, job = create(jobs, "a"), create(jobs, "b", "c")
    refresh = JobLog.refresh

    def refuse(log: JobLog, *, asks_server: bool = False) -> None:
        if log._path == folder_of(store, broken).log:
            raise OSError(errno.EIO, os.strerror(errno.EIO))  # no real disk does so on demand
        refresh(log, asks_server=asks_server)

    monkeypatch.setattr(JobLog, "refresh", refuse)
    async with serving(store, database) as service:
        assert {await finish_next(service) for _ in range(2)} == {0, 1}
        (damaged,) = service.jobs.volume.records.damaged("job")

    assert (broken.id in damaged.path, damaged.reason) == (
        True,
        f"its files cannot be read: {os.strerror(errno.EIO)}",
    )
    assert numbers_of(jobs, job) == [0, 1]
