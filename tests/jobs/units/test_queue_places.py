"""The places of jobs in the queue of units, compared with the order in which a service claims the units."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.jobs.folder import Jobs
from app.jobs.records import Job, Priority
from app.jobs.units.folder_queue import FolderQueue
from app.jobs.units.kinds import ItemJobKind
from app.jobs.units.queue_places import QueuePlaces
from app.jobs.units.records import Task, Unit
from app.store.actor import Actor
from app.store.store import Store
from tests.jobs.queues import Service, serving
from tests.support.unit_works import create, finish


def texts_job(jobs: Jobs, key: str, count: int, priority: Priority = Priority.NORMAL) -> Job:
    """Create a job of texts of an API key."""
    with jobs.units.new() as new:
        new.add_all(Unit(text=str(number)) for number in range(count))
        return jobs.units.create(new, ItemJobKind.TEXTS, {}, Actor(key, "request-1"), Task({}), priority)


def drained(jobs: Jobs, count: int | None = None) -> list[str]:
    """Work on the units of all jobs, or on the next ones; return the job of each, in the order of the claims."""
    queue, seen = FolderQueue(jobs), list[str]()
    while len(seen) != count and (claim := queue.claim_accepted(lambda _: True)):
        seen.append(claim.job.id)
        finish(jobs, claim)
    return seen


async def drained_by(service: Service, count: int = 1 << 20) -> list[str]:
    """Let a service work on the units of all jobs, or on the next ones; return the jobs as `drained` does."""
    seen = list[str]()
    while len(seen) < count and (claim := await service.finish_next()):
        seen.append(claim.job.id)
    return seen


def ahead_of(jobs: Jobs) -> dict[str, int]:
    """Return the number of units ahead of each unfinished job."""
    places = QueuePlaces(jobs).of(jobs.unfinished_of_units())
    return {job_id: place.units_ahead for job_id, place in places.items()}


@pytest.mark.anyio
async def test_the_units_ahead_are_those_that_are_claimed_before(
    store: Store, jobs: Jobs, jobs_url: str | None
) -> None:
    """Of jobs of three keys and three priorities, none of which has begun, each has so many units ahead as it says."""
    async with serving(store, jobs_url) as service:
        await service.add(texts_job(jobs, "a", 7))
        await service.add(texts_job(jobs, "b", 2))
        await service.add(texts_job(jobs, "a", 3))
        await service.add(texts_job(jobs, "c", 4, Priority.HIGH))
        await service.add(texts_job(jobs, "b", 4))
        await service.add(texts_job(jobs, "c", 2))
        await service.add(texts_job(jobs, "a", 2, Priority.LOW))

        places = ahead_of(jobs)
        order = await drained_by(service)

    assert places == {job_id: order.index(job_id) for job_id in places}
    assert len(places) == 7


@pytest.mark.anyio
async def test_the_place_of_jobs_that_have_begun_is_off_by_one_turn_of_a_key_at_most(
    store: Store, jobs: Jobs, jobs_url: str | None
) -> None:
    """Whose turn it is when both keys have begun is not in the records."""
    async with serving(store, jobs_url) as service:
        own, other = await service.add(texts_job(jobs, "a", 5)), await service.add(texts_job(jobs, "b", 5))
        while unfinished := jobs.unfinished_of_units():
            found = ahead_of(jobs)
            assert set(found.values()) <= {0, 1}, found
            assert found.keys() == {job.id for job in unfinished} <= {own.id, other.id}
            assert await drained_by(service, 1)


def test_a_job_that_was_created_a_moment_ago_is_last(jobs: Jobs) -> None:
    """A newer job comes after the older ones of its key, although the jobs were read just before it was created."""
    places = QueuePlaces(jobs)
    first = texts_job(jobs, "a", 4)
    assert places.of([first])[first.id].units_ahead == 0
    second = texts_job(jobs, "a", 2)
    assert places.of([first, second])[second.id].units_ahead == 4


def test_the_expected_seconds_follow_the_rate_of_all_jobs(store: Store, jobs: Jobs) -> None:
    """They are the units until the job's end, divided by the rate; without a rate in records, by the given one.

    While a unit takes its time they fall, but by the time of one unit at most.
    """
    first, second = texts_job(jobs, "a", 6), texts_job(jobs, "a", 4)
    assert QueuePlaces(jobs).of([second])[second.id].expected_seconds is None
    assert QueuePlaces(jobs).of([second], 0.5)[second.id].expected_seconds == (6 + 4) / 0.5

    drained(jobs, 3)
    assert jobs.get(first.id).progress.rate
    rate = 0.01

    def expected(job: Job, age: timedelta) -> float | None:
        record = store.volume.jobs_dir / first.id / "job.json"
        written = json.loads(record.read_text())
        written["updated_at"] = (datetime.now(UTC) - age).isoformat()
        written["progress"] |= {"rate": rate, "eta_seconds": 3 / rate}
        record.write_text(json.dumps(written))
        return QueuePlaces(jobs).of([jobs.get(job.id)], 0.5)[job.id].expected_seconds

    now, overdue, stalled = timedelta(seconds=-1000), timedelta(seconds=150), timedelta(days=1)  # by a clock ahead
    assert (expected(first, now), expected(second, now)) == (3 / rate, (3 + 4) / rate)
    assert (expected(first, overdue), expected(second, overdue)) == ((3 - 1) / rate, (3 - 1 + 4) / rate)
    assert expected(second, stalled) == (3 + 4) / 0.5


def test_only_unfinished_jobs_of_files_and_texts_have_a_place(jobs: Jobs) -> None:
    """A finished job has none, and neither has a job of another kind, which does not wait for the engine."""
    done, other = texts_job(jobs, "a", 1), create(jobs, "x")
    drained(jobs)
    assert QueuePlaces(jobs).of([jobs.get(done.id), jobs.get(other.id), other]) == {}


def test_the_places_of_many_jobs_take_no_look_at_each(jobs: Jobs) -> None:
    """A list of jobs costs one look at the folder."""
    many = [texts_job(jobs, f"key {number % 5}", 3) for number in range(60)]
    looks = 0
    unfinished = jobs.unfinished_of_units

    def counted() -> list[Job]:
        nonlocal looks
        looks += 1
        return unfinished()

    jobs.unfinished_of_units = counted  # type: ignore[method-assign]
    found = QueuePlaces(jobs).of(many)
    assert (looks, len(found)) == (1, 60)
    assert max(place.units_ahead for place in found.values()) < 180
