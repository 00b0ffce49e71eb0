"""The runner and the order of units on both backends, with a kind of work that exists only in these tests."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from app.build import build_jobs
from app.errors import StoreUnavailable
from app.events import EventName
from app.jobs.database.database_queue import DatabaseQueue
from app.jobs.folder import Jobs
from app.jobs.records import Job, JobState, Priority
from app.jobs.units import unit_runner
from app.jobs.units.lanes import LaneName, Lanes
from app.jobs.units.records import Task, Unit
from app.jobs.units.unit_claims import Claim, Outcome
from app.jobs.units.unit_queue import Understands
from app.jobs.units.unit_runner import UnitRunner
from app.jobs.units.unit_work import MAX_ATTEMPTS, NotNow
from app.store.actor import Actor
from app.store.store import Store
from tests.jobs.queues import Service, ended, running, serving
from tests.support.held_jobs import store_on
from tests.support.unit_works import (
    KIND,
    TestedWork,
    create,
    create_of,
    folder_of,
    log_lines,
    numbers_of,
    results_file,
    results_of,
)
from tests.support.waiting import Deadline, eventually_async

pytestmark = pytest.mark.anyio


async def test_a_defect_fails_one_unit_only(store: Store, jobs: Jobs, jobs_url: str | None) -> None:
    """An exception in the work on one unit is that unit's problem, and is logged."""
    job = create(jobs, "a", "bad", "c")

    async def work(claim: Claim) -> None:
        if claim.unit.text == "bad":
            raise ZeroDivisionError

    service = Service(store, jobs_url, TestedWork(work))
    async with running(service):
        found = await eventually_async(ended(jobs, job))

    assert (found.state, found.result) == (JobState.SUCCEEDED, {"failed_count": 1})
    assert [result["unit"] for result in results_of(jobs, job) if "error" in result] == [1]
    assert [event for event, _ in service.events] == [EventName.JOB_STARTED, EventName.JOB_CRASHED]


async def test_a_unit_that_ends_its_services_fails_alone(store: Store, jobs: Jobs, jobs_url: str | None) -> None:
    """After MAX_ATTEMPTS services were killed at a unit, it fails; a unit after it has its result."""
    job = create(jobs, "kills", "b")
    for _ in range(MAX_ATTEMPTS):
        claim = jobs.units.claims.claim(job)
        assert claim
        claim.release()
    work = TestedWork()

    async with running(Service(store, jobs_url, work)):
        found = await eventually_async(ended(jobs, job))

    assert (found.state, found.result) == (JobState.SUCCEEDED, {"failed_count": 1})
    assert work.seen == [(job.id, 1)]
    assert f"{MAX_ATTEMPTS} times" in results_of(jobs, job)[0]["error"]


@pytest.mark.parametrize("line", [b"garbage", b"", b"{}" * 9, b'{"text": 5}', b"\xff\xfe", b'{"text": "' + b"x" * 99])
async def test_a_damaged_description_fails_one_unit_only(
    store: Store, jobs: Jobs, jobs_url: str | None, line: bytes
) -> None:
    """A unit whose line in the job's list of units cannot be read is not worked on; the units around it are."""
    job = create(jobs, "a", "b", "c")
    units = folder_of(store, job).units
    lines = units.read_bytes().splitlines()
    units.write_bytes(b"".join(each + b"\n" for each in (lines[0], line, lines[2])))
    work = TestedWork()

    async with running(Service(store, jobs_url, work)):
        found = await eventually_async(ended(jobs, job))

    assert (found.state, found.result) == (JobState.SUCCEEDED, {"failed_count": 1})
    assert work.seen == [(job.id, 0), (job.id, 2)]
    assert "is damaged" in results_of(jobs, job)[1]["error"]


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def link_to_copy(path: Path) -> None:
    copy = path.rename(path.with_name("copy"))
    path.symlink_to(copy)


@pytest.mark.parametrize(
    ("name", "damage", "failed"),
    [
        ("task.json", Path.unlink, [0, 1]),
        ("task.json", link_to_copy, [0, 1]),
        ("task.json", lambda path: path.write_bytes(b"garbage"), [0, 1]),
        ("task.json", lambda path: path.write_bytes(b"[" * 100_000), [0, 1]),
        ("units.jsonl", Path.unlink, [0, 1]),
        ("units.jsonl", link_to_copy, [0, 1]),
        ("units.jsonl", shorten, [1]),
    ],
    ids=range(7),
)
async def test_damaged_files_of_a_job_fail_its_units(
    store: Store, jobs: Jobs, jobs_url: str | None, name: str, damage: Callable[[Path], object], failed: list[int]
) -> None:
    """The job ends, other jobs go on, and the damaged file is reported, also if it is missing."""
    job, other = create(jobs, "a", "b"), create(jobs, "c")
    damage(folder_of(store, job).path / name)
    service = Service(store, jobs_url)

    async with running(service):
        found = await eventually_async(ended(jobs, job))
        assert (await eventually_async(ended(jobs, other))).state == JobState.SUCCEEDED

    assert [result["unit"] for result in results_of(jobs, job) if "is damaged" in result.get("error", "")] == failed
    assert found.state == (JobState.FAILED if len(failed) == 2 else JobState.SUCCEEDED)
    assert (jobs.waiting_by_kind(), jobs.waiting_units(job.created_by)) == ({}, 0)
    records = service.jobs.volume.records
    assert [each.path for each in records.damaged("job")] == [f".store/jobs/{job.id}/{name}"]
    jobs.units.remove(job.id)
    assert records.damaged("job") == []


@pytest.mark.parametrize("task", [b'{"options": {}}', b'{"parameters": {"more": 1}}'])
async def test_a_task_of_a_newer_version_waits_for_it(
    store: Store, jobs: Jobs, jobs_url: str | None, task: bytes
) -> None:
    """A service that does not understand a task leaves the job, reports the task, and can cancel the job."""
    job = create(jobs, "a")
    folder_of(store, job).task.write_bytes(task)
    service = Service(store, jobs_url)

    async with running(service):
        records = service.jobs.volume.records
        await eventually_async(lambda: records.damaged("job"))
        assert [each.path for each in records.damaged("job")] == [f".store/jobs/{job.id}/task.json"]
        assert jobs.get(job.id).state == JobState.QUEUED
        assert jobs.cancel(job.id).state == JobState.CANCELLED

    assert service.work.seen == []


async def test_a_stopped_runner_gives_its_unit_back(store: Store, jobs: Jobs, jobs_url: str | None) -> None:
    """A service that stops loses no attempt of its unit, and another service goes on with it."""
    job, begun = create(jobs, "a"), asyncio.Event()

    async def never_ends(_: Claim) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with running(Service(store, jobs_url, TestedWork(never_ends))):
        await begun.wait()
    assert log_lines(store, job) == ["begun", "given_back"]

    async with running(Service(store, jobs_url)):
        assert (await eventually_async(ended(jobs, job))).state == JobState.SUCCEEDED
    assert numbers_of(jobs, job) == [0]


async def test_a_draining_runner_finishes_its_unit_and_claims_no_other(
    store: Store, jobs: Jobs, jobs_url: str | None
) -> None:
    """After `drain` the unit that is worked on gets its result, and the next one is left."""
    job, begun, goes_on = create(jobs, "a", "b"), asyncio.Event(), asyncio.Event()

    async def work(_: Claim) -> None:
        begun.set()
        await goes_on.wait()

    service = Service(store, jobs_url, TestedWork(work))
    async with running(service):
        await begun.wait()
        service.runner.drain(3600)
        service.runner.wake()
        goes_on.set()
        await asyncio.wait_for(service.runner.finish(), 60)

        assert log_lines(store, job) == ["begun", "result"]
        assert numbers_of(jobs, job) == [0]


async def test_a_pause_ends_when_the_runner_drains(
    store: Store, jobs: Jobs, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that pauses because the engine is not available has finished at once."""
    monkeypatch.setattr(unit_runner, "NOT_NOW_SECONDS", 3600.0)
    create(jobs, "a")
    tried = asyncio.Event()

    async def cannot(_: Claim) -> None:
        tried.set()
        raise NotNow

    service = Service(store, jobs_url, TestedWork(cannot))
    async with running(service):
        await tried.wait()
        service.runner.drain(3600)
        await asyncio.wait_for(service.runner.finish(), 60)


async def test_a_service_that_cannot_work_gives_units_back_to_others(
    store: Store, jobs: Jobs, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With NotNow the unit is free at once, while this service pauses; another service does it."""
    monkeypatch.setattr(unit_runner, "NOT_NOW_SECONDS", 3600.0)
    job, tried = create(jobs, "a"), asyncio.Event()

    async def cannot(_: Claim) -> None:
        tried.set()
        raise NotNow

    async with running(Service(store, jobs_url, TestedWork(cannot))):
        await tried.wait()
        async with running(Service(store, jobs_url)):
            assert (await eventually_async(ended(jobs, job))).state == JobState.SUCCEEDED

    assert [event for event in log_lines(store, job) if event != "given_back"] == ["begun", "begun", "result", "end"]


async def test_a_pause_does_not_end_the_next_claim_of_its_unit(
    store: Store, jobs: Jobs, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service with two places gives a unit back and claims it again during the pause: the second claim is left."""
    monkeypatch.setattr(unit_runner, "NOT_NOW_SECONDS", 3600.0)
    create(jobs, "a")
    claims, goes_on = list[Claim](), asyncio.Event()

    async def work(claim: Claim) -> None:
        claims.append(claim)
        if len(claims) == 1:
            raise NotNow
        await goes_on.wait()

    service = Service(store, jobs_url, TestedWork(work))
    runner = UnitRunner(service.queue, {KIND: service.work}, service._note, lanes=Lanes(local=2))
    service.runner = runner
    async with running(service):
        await eventually_async(lambda: len(claims) == 2)
        places = runner._lanes[LaneName.LOCAL]
        assert (runner.running, places.units) == ({KIND: 1}, 2)  # a unit that was given back is not worked on
        runner.drain(3600)  # ends the pause
        await eventually_async(lambda: places.units == 1)

        assert claims[1].open_job.claimed == {0}
        if isinstance(service.queue, DatabaseQueue):
            assert len(service.queue._rows) == 1
        goes_on.set()
        await asyncio.wait_for(runner.finish(), 60)


async def test_a_release_that_fails_keeps_no_place(
    store: Store, jobs: Jobs, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only place of a lane is free again, so the runner works on other units once it runs again."""
    job = create(jobs, "a", "b")
    service = Service(store, jobs_url)
    release = service.queue.release

    async def fail(claim: Claim) -> None:  # stands in for a defect
        await release(claim)
        raise ZeroDivisionError

    monkeypatch.setattr(service.queue, "release", fail)
    with pytest.raises(BaseExceptionGroup):
        await service.runner.run()
    monkeypatch.setattr(service.queue, "release", release)

    assert (service.runner.running, service.runner._lanes[LaneName.LOCAL].units) == ({KIND: 0}, 0)
    async with running(service):
        assert (await eventually_async(ended(jobs, job))).state == JobState.SUCCEEDED


async def test_a_stop_while_a_result_waits_gives_the_unit_back(
    store: Store, jobs: Jobs, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service stops before its result could be written: the unit loses no attempt."""
    job, tried = create(jobs, "a"), asyncio.Event()
    loop = asyncio.get_running_loop()

    def refuse(*_: object, **__: object) -> int:  # stands in for a disk that is full for a result, not for the log
        loop.call_soon_threadsafe(tried.set)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("app.jobs.units.unit_claims.append", refuse)
    async with running(Service(store, jobs_url)):
        await tried.wait()

    assert log_lines(store, job) == ["begun", "given_back"]


async def test_a_cancellation_ends_the_work_of_another_service(store: Store, jobs: Jobs, jobs_url: str | None) -> None:
    """The work on a unit is cancelled soon after another service has cancelled its job, also if no signal comes from
    the queue; the runner goes on."""
    job, begun, over = create(jobs, "a"), asyncio.Event(), asyncio.Event()

    async def work(claim: Claim) -> None:
        if claim.job.id != job.id:
            return
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            over.set()

    service = Service(store, jobs_url, TestedWork(work))
    async with running(service):
        await begun.wait()
        build_jobs(store_on(store.root)).cancel(job.id)
        await over.wait()
        later = await service.add(create(jobs, "b"))
        assert (await eventually_async(ended(jobs, later))).state == JobState.SUCCEEDED

    assert (jobs.get(job.id).state, results_of(jobs, job)) == (JobState.CANCELLED, [])


async def test_a_result_waits_while_the_folder_is_away(
    store: Store, jobs: Jobs, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is renamed, and an empty one mounted, before a result is appended: it is appended once it is back."""
    job, aside = create(jobs, "a"), store.root.with_name("aside")
    begun, goes_on, refused = asyncio.Event(), asyncio.Event(), list[Exception]()

    async def work(_: Claim) -> None:
        begun.set()
        await goes_on.wait()

    service = Service(store, jobs_url, TestedWork(work))
    complete = service.queue.claims.complete

    def observed(claim: Claim, outcome: Outcome) -> Job:
        try:
            return complete(claim, outcome)
        except Exception as exc:
            refused.append(exc)
            raise

    monkeypatch.setattr(service.queue.claims, "complete", observed)
    async with running(service):
        await begun.wait()
        store.root.rename(aside)
        store.root.mkdir()
        goes_on.set()
        await eventually_async(lambda: len(refused) > 1)
        left = list(store.root.rglob("*"))
        store.root.rmdir()
        aside.rename(store.root)
        found = await eventually_async(ended(jobs, job))

    assert left == []  # nothing was written to the other folder
    assert (found.state, numbers_of(jobs, job), len(service.work.seen)) == (JobState.SUCCEEDED, [0], 1)
    assert service.reported(EventName.JOB_CRASHED, EventName.SERVICE_PART_RESTARTED) == []


@pytest.mark.parametrize("name", ["log", "results"])
async def test_files_that_are_replaced_during_the_work_stop_no_other_job(
    store: Store, jobs: Jobs, jobs_url: str | None, name: str
) -> None:
    """A job's log or results become a folder while a service works on a unit: other jobs go on, and it can be asked."""
    job, begun, goes_on = create(jobs, "a"), asyncio.Event(), asyncio.Event()

    async def work(claim: Claim) -> None:
        if claim.job.id == job.id:
            begun.set()
            await goes_on.wait()

    service = Service(store, jobs_url, TestedWork(work))
    async with running(service):
        await begun.wait()
        folder = folder_of(store, job)
        path = folder.log if name == "log" else results_file(service.jobs, folder.path)
        path.unlink(missing_ok=True)
        path.mkdir()
        goes_on.set()
        other = await service.add(create(jobs, "b"))
        assert (await eventually_async(ended(jobs, other))).state == JobState.SUCCEEDED
        await eventually_async(lambda: service.jobs.volume.records.damaged("job"))

    assert service.reported(EventName.SERVICE_PART_RESTARTED) == []
    assert service.work.seen.count((job.id, 0)) == 1


async def claims_in_order(
    service: Service, count: int, understands: Understands = lambda *_: True
) -> list[tuple[str, int]]:
    """Claim units in the order of one service. The texts of the units name their jobs."""
    claims = [claim for _ in range(count) if (claim := await service.take(understands))]
    for claim in claims:
        await service.queue.release(claim)
    return [(claim.unit.text or "", claim.number) for claim in claims]


async def test_units_are_claimed_by_priority_and_in_turns(store: Store, jobs: Jobs, jobs_url: str | None) -> None:
    """A higher class comes first; within a class the keys take turns, and the jobs of a key go by their age."""
    async with serving(store, jobs_url) as service:
        await service.add(create(jobs, *["low"] * 2, priority=Priority.LOW))
        await service.add(create(jobs, *["batch"] * 3, actor=Actor("batch")))
        await service.add(create(jobs, "later", actor=Actor("batch")))
        await service.add(create(jobs, *["page"] * 2, actor=Actor("page")))
        await service.add(create(jobs, "high", priority=Priority.HIGH))

        assert await claims_in_order(service, 10) == [
            ("high", 0),
            ("batch", 0),
            ("page", 0),
            ("batch", 1),
            ("page", 1),
            ("batch", 2),
            ("later", 0),
            ("low", 0),
            ("low", 1),
        ]


async def test_jobs_that_a_service_does_not_understand_wait_for_another(
    store: Store, jobs: Jobs, jobs_url: str | None
) -> None:
    """A task of a newer version is left as it is, and delays no other job."""
    async with serving(store, jobs_url) as service:
        newer = await service.add(create_of(jobs, [Unit(text="newer")], Task({"more": 1})))
        known = await service.add(create(jobs, "known"))

        assert await claims_in_order(service, 2, lambda _, task: not task.parameters) == [("known", 0)]

    assert [jobs.get(each.id).state for each in (newer, known)] == [JobState.QUEUED, JobState.RUNNING]


@pytest.mark.parametrize("holder", ["another service", "another thread"])
async def test_a_job_whose_lock_is_held_delays_no_other_job(
    store: Store, jobs: Jobs, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch, holder: str
) -> None:
    """A service that hangs with a job's lock, as while it queues the job, delays that job alone, and once in a while.

    Requests about the job may wait for the lock for an hour here. A thread of the same service may wait for it too.
    """
    monkeypatch.setattr("app.jobs.units.open_jobs.JOB_LOCK_SECONDS", 3600.0)
    async with serving(store, jobs_url) as service:
        held = await service.add(create(jobs, "held"))
        await service.add(create(jobs, "free", "free"))
        holding: dict[str, contextlib.AbstractContextManager[object]] = {
            "another service": jobs.units._open_jobs.locked(jobs.units._open_jobs.open(held)),
            "another thread": service.jobs.units._open_jobs.open(held).using,
        }

        with holding[holder]:
            finished = [await finish_next(service) for _ in range(2)]
        last = await finish_next(service)

    assert (held.id in finished, last) == (False, held.id)


async def finish_next(service: Service) -> str:
    """Complete the next unit, once there is one, and return its job."""
    deadline = Deadline(30)
    while True:
        with contextlib.suppress(StoreUnavailable):
            if claim := await service.finish_next():
                return claim.job.id
        assert not deadline.is_over
        await anyio.sleep(0.1)


async def test_a_job_whose_lock_was_held_comes_last_for_a_while(
    store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service waits for the lock once, and works on the other jobs meanwhile, also on those that come later."""
    monkeypatch.setattr("app.jobs.units.folder_queue.REFUSED_SECONDS", 3600.0)
    service, tried = Service(store, None), list[str]()
    held = create(jobs, "held")
    claim_of = service.queue.claims.claim

    def claim(job: Job, *about: Any) -> Claim | None:
        tried.append(job.id)
        return claim_of(job, *about)

    monkeypatch.setattr(service.queue.claims, "claim", claim)
    with jobs.units._open_jobs.locked(jobs.units._open_jobs.open(held)):
        with pytest.raises(StoreUnavailable):
            await service.finish_next()
        for _ in range(3):
            await service.add(create(jobs, "free"))
            assert await service.finish_next()

    assert tried.count(held.id) == 1
