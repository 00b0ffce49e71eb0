"""Callers that wait for jobs, with real records in a real folder."""

import asyncio
import threading
from pathlib import Path

import pytest

from app.errors import JobNotFound
from app.jobs.folder import Jobs
from app.jobs.records import JobState, record_of_units
from app.jobs.watcher import JobWatcher
from tests.support.held_jobs import create_pull, finish_pull

pytestmark = pytest.mark.anyio

CALLERS = 100


async def test_many_callers_wait_without_a_thread_each(jobs: Jobs) -> None:
    """A hundred callers learn of their jobs' changes, and while they wait there is one more thread at most."""
    waited_for = [create_pull(jobs) for _ in range(3)]
    watcher, before = JobWatcher(jobs), threading.active_count()
    waiting = [asyncio.create_task(watcher.changed(waited_for[number % 3])) for number in range(CALLERS)]
    await asyncio.sleep(0.6)  # at least one read; more time changes nothing
    threads = threading.active_count() - before

    for each in waited_for[:2]:
        finish_pull(jobs, each)
    told = await asyncio.gather(*(task for number, task in enumerate(waiting) if number % 3 < 2))

    assert {job.state for job in told} == {JobState.SUCCEEDED}
    assert threads <= 1
    assert not any(task.done() for number, task in enumerate(waiting) if number % 3 == 2)
    finish_pull(jobs, waited_for[2])
    assert {job.id for job in await asyncio.gather(*waiting[2::3])} == {waited_for[2].id}


async def test_a_caller_that_stops_waiting_ends_the_reads(jobs: Jobs) -> None:
    """Once no caller waits, no task is left."""
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(JobWatcher(jobs).changed(create_pull(jobs)))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks() - before) == 2
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(60):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)


async def test_a_job_that_is_removed_is_reported(jobs: Jobs, tmp_path: Path) -> None:
    """If the record is removed, the callers get JobNotFound and do not wait for ever."""
    job = create_pull(jobs)
    waiting = asyncio.create_task(JobWatcher(jobs).changed(job))
    await asyncio.sleep(0)
    record_of_units(tmp_path / "models/.store/jobs", job.id).unlink()

    with pytest.raises(JobNotFound):
        await asyncio.wait_for(waiting, 60)


async def test_an_unavailable_folder_does_not_end_the_wait(jobs: Jobs, tmp_path: Path) -> None:
    """While the model folder is away, callers continue to wait, and they learn of the change after its return."""
    job = create_pull(jobs)
    waiting = asyncio.create_task(JobWatcher(jobs).changed(job))
    await asyncio.sleep(0)
    folder = (tmp_path / "models").rename(tmp_path / "away")
    await asyncio.sleep(0.6)  # at least one read without the folder
    assert not waiting.done()
    folder.rename(tmp_path / "models")

    finish_pull(jobs, job)

    assert (await asyncio.wait_for(waiting, 60)).is_finished
