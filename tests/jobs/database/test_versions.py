"""The queue on the oldest and the newest version of PostgreSQL, and on one that is too old."""

import asyncio
from collections.abc import Iterator

import pytest

from app.events import EventName
from app.jobs.database.connection import DatabaseAway, open_database
from app.jobs.folder import Jobs
from app.jobs.records import JobState
from app.store.store import Store
from tests.jobs.queues import Service, ended, running, serving
from tests.support.deployed.postgres import Postgres, install_version, is_installed
from tests.support.unit_works import create, finish, log_lines, numbers_of
from tests.support.waiting import STEP_SECONDS, Deadline, eventually_async

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="postgresql is not installed; .ci/run installs it"),
]
TOO_OLD, OLDEST, NEWEST = "12.22.0-beta.15", "13.23.0-beta.16", "18.4.0-beta.17"


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with Postgres(programs=install_version(request.param)) as running_server:
        assert running_server.run("SHOW server_version").split(".")[0] == request.param.split(".")[0]
        yield running_server


async def test_two_services_do_all_units_once(server: Postgres, store: Store, jobs: Jobs) -> None:
    """Jobs of either service are done, a cancelled one ends, and the order of keys and the listening work."""
    url = server.new_database()
    one, other = Service(store, url), Service(store, url)
    async with running(one, other):
        made = [await each.add(create(jobs, *"abcdef")) for each in (one, other)]
        for job in made:
            assert (await eventually_async(ended(jobs, job))).state == JobState.SUCCEEDED

    for job in made:
        assert log_lines(store, job).count("begun") == 6
        assert numbers_of(jobs, job) == list(range(6))
    assert [each.reported(EventName.QUEUE_AWAY, EventName.SERVICE_PART_RESTARTED) for each in (one, other)] == [[], []]


async def test_units_of_a_silent_service_are_freed(server: Postgres, store: Store, jobs: Jobs) -> None:
    """A service that sends no heartbeats loses its unit to another one, and a cancellation removes the others."""
    url = server.new_database()
    job, cancelled = create(jobs, "a"), create(jobs, *"bcd")
    async with serving(store, url) as service:
        async with serving(store, url, is_silent=True) as silent:
            await silent.queue.add(job)
            claim = await silent.take()
            assert claim
            claim.release()  # as the kernel does when a service is killed
            await service.queue.add(cancelled)
            await service.queue.cancelled(service.jobs.cancel(cancelled.id))

            deadline = Deadline(60)
            while (found := await service.take()) is None:
                assert not deadline.is_over
                await asyncio.sleep(STEP_SECONDS)
        finish(service.jobs, found)
        await service.queue.release(found)

    assert (jobs.get(job.id).state, jobs.get(cancelled.id).state) == (JobState.SUCCEEDED, JobState.CANCELLED)


async def test_a_server_that_is_too_old_is_refused() -> None:
    """The reason has the server's version and what to do."""
    with Postgres(programs=install_version(TOO_OLD)) as old:
        opening = open_database(old.url, "a folder")
        with pytest.raises(DatabaseAway, match=r"PostgreSQL 12\.22\. Use PostgreSQL 13 or later"):
            await opening.__aenter__()
