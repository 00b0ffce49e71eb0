"""Callers that wait for jobs, with real records in a real folder."""

import asyncio
import threading
from pathlib import Path

import pytest

from app.errors import JobNotFound, StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.records import Job, JobState, record_of_units
from app.jobs.watcher import JobWatcher
from tests.support.held_jobs import create_pull, finish_pull
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

CALLERS = 100


class Reads:
    """The reads of records, which it observes."""

    def __init__(self, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads = list[int]()
        """The thread of each read."""
        self.refused = 0
        """How many reads found the folder unavailable."""
        self._get = jobs.get
        monkeypatch.setattr(jobs, "get", self._observed)

    def _observed(self, job_id: str) -> Job:
        self.threads.append(threading.get_ident())
        try:
            return self._get(job_id)
        except StoreUnavailable:
            self.refused += 1
            raise


async def test_many_callers_wait_without_a_thread_each(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred callers learn of their jobs' changes; one thread, which is not the event loop's, reads each job once
    for all of them.
    """
    waited_for, reads = [create_pull(jobs) for _ in range(3)], Reads(jobs, monkeypatch)
    watcher = JobWatcher(jobs)
    waiting = [asyncio.create_task(watcher.changed(waited_for[number % 3])) for number in range(CALLERS)]
    await eventually_async(lambda: len(reads.threads) > 3)  # the second round of reads
    threads, count = set(reads.threads), len(reads.threads)

    for each in waited_for[:2]:
        finish_pull(jobs, each)
    told = await asyncio.gather(*(task for number, task in enumerate(waiting) if number % 3 < 2))

    assert {job.state for job in told} == {JobState.SUCCEEDED}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert count <= 6
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


async def test_an_unavailable_folder_does_not_end_the_wait(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the model folder is away, callers continue to wait, and they learn of the change after its return."""
    job, reads = create_pull(jobs), Reads(jobs, monkeypatch)
    waiting = asyncio.create_task(JobWatcher(jobs).changed(job))
    await asyncio.sleep(0)
    folder = (tmp_path / "models").rename(tmp_path / "away")
    await eventually_async(lambda: reads.refused > 1)  # the wait has gone on after the first one
    assert not waiting.done()
    folder.rename(tmp_path / "models")

    finish_pull(jobs, job)

    assert (await asyncio.wait_for(waiting, 60)).is_finished
