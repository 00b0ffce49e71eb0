"""The runner of jobs and their adoption, with a kind of job that exists only in this test."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import from_thread, to_thread

from app.errors import ModelNotFound, StoreUnavailable
from app.jobs.adopter import JobAdopter
from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.records import Job, JobState
from app.jobs.runner import Work, cancelled_once, run_job
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store
from tests.support.processes import python
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

ME = Actor("me")
COUNTING = "counting"
HOLDS = """
import sys
from datetime import timedelta
from pathlib import Path
from app.jobs.folder import Jobs
from app.store.policy import Policy
from app.store.store import Store
store = Store(Path(sys.argv[1]), Policy(), trash_retention=timedelta(0), on_event=print)
store.open()
held = Jobs(store, {"counting"}).take(sys.argv[2])
held.update(phase="working")
print("held", flush=True)
sys.stdin.read()
"""


class Counting(Work):
    """Counts to a number, and calls a function of the test before each step."""

    def __init__(self, job: Job, on_each: Callable[[], None] = lambda: None) -> None:
        self.total = job.request["to"]
        self._on_each = on_each

    async def run(self) -> dict[str, Any]:
        while self.done < (self.total or 0):
            await anyio.lowlevel.checkpoint()
            self._on_each()
            self.done += 1
        return {"counted": self.done}


class Waiting(Work):
    """Waits until it is cancelled."""

    async def run(self) -> dict[str, Any]:
        await anyio.sleep_forever()
        return {}


class ReadingOn(Work):
    """Reads in a thread until cancelled, and checks for a cancellation after each chunk."""

    async def run(self) -> dict[str, Any]:
        return await to_thread.run_sync(self._read)

    def _read(self) -> dict[str, Any]:
        while True:
            from_thread.check_cancelled()
            time.sleep(0.01)
            self.done += 1


class ReadingUntilTold(Work):
    """Reads in a thread until a flag is set; the coroutine sets the flag when it ends."""

    def __init__(self) -> None:
        self._is_enough = threading.Event()
        self.has_ended = threading.Event()

    async def run(self) -> dict[str, Any]:
        return await cancelled_once(self._reading())

    async def _reading(self) -> dict[str, Any]:
        try:
            return await to_thread.run_sync(self._read)
        finally:
            self._is_enough.set()
            await to_thread.run_sync(self.has_ended.wait)

    def _read(self) -> dict[str, Any]:
        while not self._is_enough.is_set():
            time.sleep(0.01)
            self.done += 1
        self.has_ended.set()
        return {}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    return store


@pytest.fixture(params=[True, False], ids=["resumable", "bound to its runner"])
def jobs(store: Store, request: pytest.FixtureRequest) -> Jobs:
    return Jobs(store, {COUNTING} if request.param else {})


@pytest.fixture
def resumable_jobs(store: Store) -> Jobs:
    return Jobs(store, {COUNTING})


async def test_a_job_of_a_new_kind_succeeds(jobs: Jobs) -> None:
    """The record of a successful job has its counts, its phase and its result."""
    with jobs.begin(COUNTING, {"to": 3}, ME) as held:
        assert await run_job(held, Counting(held.job))

    job = jobs.get(held.job.id)
    assert (job.state, job.phase, job.result) == (JobState.SUCCEEDED, "done", {"counted": 3})
    assert (job.progress.done, job.progress.total, job.progress.unit) == (3, 3, "items")


@pytest.mark.parametrize(
    ("error", "name"), [(ModelNotFound("a.bin"), "ModelNotFound"), (OSError(5, "broken"), "StoreUnavailable")]
)
async def test_a_job_of_a_new_kind_fails(jobs: Jobs, error: Exception, name: str) -> None:
    """A job fails with the error that its work raised; an OSError becomes StoreUnavailable."""

    def fail() -> None:
        raise error

    with jobs.begin(COUNTING, {"to": 3}, ME) as held:
        assert await run_job(held, Counting(held.job, fail))

    failure = jobs.get(held.job.id).failure
    assert failure
    assert failure.error == name


async def test_a_resumable_job_is_left_when_a_part_of_the_store_was_removed(resumable_jobs: Jobs) -> None:
    """A file of `.store/` that the work needs was removed: the next runner, which makes it again, gets the job."""

    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/models/.store/staging/a.part")

    with resumable_jobs.begin(COUNTING, {"to": 3}, ME) as held:
        assert not await run_job(held, Counting(held.job, fail))

    assert not resumable_jobs.get(held.job.id).is_finished
    assert resumable_jobs.take(held.job.id)


async def test_a_job_of_a_new_kind_is_cancelled(jobs: Jobs) -> None:
    """Cancelling a job, as any process can, cancels its work with `is_cancelled` set."""
    with jobs.begin(COUNTING, {}, ME) as held:
        work = Waiting()
        running = asyncio.create_task(run_job(held, work))
        await eventually_async(lambda: jobs.get(held.job.id).state is JobState.RUNNING)
        await to_thread.run_sync(jobs.cancel, held.job.id)

        assert await running
    assert work.is_cancelled
    assert jobs.get(held.job.id).state is JobState.CANCELLED


@pytest.mark.parametrize("kind", [ReadingOn, ReadingUntilTold])
async def test_work_in_a_thread_ends_when_its_job_is_cancelled(jobs: Jobs, kind: type[Work]) -> None:
    """Work in a thread ends when its job is cancelled, by `check_cancelled` or by a flag with `cancelled_once`."""
    with jobs.begin(COUNTING, {}, ME) as held:
        work = kind()
        running = asyncio.create_task(run_job(held, work))
        await eventually_async(lambda: jobs.get(held.job.id).progress.done > 0)
        await to_thread.run_sync(jobs.cancel, held.job.id)
        with anyio.fail_after(10):
            assert await running

    assert jobs.get(held.job.id).state is JobState.CANCELLED
    done = work.done
    await anyio.sleep(0.05)
    assert work.done == done


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "without its store"])
async def test_only_a_resumable_job_stays_unfinished(jobs: Jobs, *, is_stopped: bool) -> None:
    """If the service stops or the store is gone, a resumable job stays unfinished, and any other job fails."""

    def be_gone() -> None:
        raise StoreUnavailable("it is gone")

    with jobs.begin(COUNTING, {"to": 3}, ME) as held:
        if is_stopped:
            work: Work = Waiting()
            with anyio.move_on_after(0.5):
                await run_job(held, work)
        else:
            work = Counting(held.job, be_gone)
            assert await run_job(held, work) is not held.is_resumable
    job = jobs.get(held.job.id)

    assert not work.is_cancelled
    if held.is_resumable:
        assert not job.is_finished
    else:
        assert job.failure
        assert job.failure.error == ("JobAbandoned" if is_stopped else "StoreUnavailable")


async def test_jobs_without_a_runner_are_adopted(store: Store, resumable_jobs: Jobs) -> None:
    """A service takes new jobs and jobs whose runner was killed, but no job that it does not understand."""
    jobs = resumable_jobs
    fresh, orphan, strange = (jobs.create(COUNTING, {"to": to}, ME) for to in (1, 2, None))
    with python(HOLDS, store.root, orphan.id):
        assert jobs.is_held(orphan.id)

    async def count(held: HeldJob) -> None:
        await run_job(held, Counting(held.job))

    adopter = JobAdopter(jobs, COUNTING, count, at_once=1, accepts=lambda job: job.request["to"] is not None)
    running = asyncio.create_task(adopter.run())
    try:
        await eventually_async(lambda: all(jobs.get(each.id).is_finished for each in (fresh, orphan)))
    finally:
        adopter.stop()
        await running

    assert [jobs.get(each.id).result for each in (fresh, orphan)] == [{"counted": 1}, {"counted": 2}]
    assert jobs.get(strange.id).state is JobState.QUEUED


async def test_an_unwritable_progress_does_not_fail_a_job(store: Store, jobs: Jobs) -> None:
    """A job succeeds although some of its progress could not be written."""
    folder, aside = store.volume.jobs_dir, store.volume.jobs_dir.with_name("aside")
    with jobs.begin(COUNTING, {"to": 2}, ME) as held:

        def lose_the_folder() -> None:
            folder.rename(aside) if folder.exists() else aside.rename(folder)

        assert await run_job(held, Counting(held.job, lose_the_folder))

    assert jobs.get(held.job.id).state is JobState.SUCCEEDED
