"""Jobs that a former version has left, or still runs: pulls become jobs of units, and other jobs fail."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from anyio import to_thread

from app.build import build_jobs
from app.jobs.folder import Jobs
from app.jobs.progress import Progress
from app.jobs.records import JobState
from app.jobs.sweep import sweep_jobs
from app.jobs.units.open_jobs import lock_name
from app.jobs.units.unit_queue import queue_name
from app.pulls.pull_jobs import PULL
from app.store.store import Store
from app.store.volume.renames import rename_path
from tests.jobs.queues import serving
from tests.support.held_jobs import DAY, create_pull, files, finish_pull, former_record, store_on
from tests.support.waiting import STEP_SECONDS, Deadline

PULLS = queue_name(PULL, is_downloaded=True)
OLD = "2026-11-21T09:20:12.041523+00:00"
REQUEST = {"url": "http://localhost/a.bin"}


def former_pull(store: Store, jobs: Jobs, **changes: object) -> str:
    """Write a running pull of a former version, and return its id."""
    job = create_pull(jobs, REQUEST, webhook="https://receiver.example/")
    former_record(store, job, **({"state": "running", "phase": "downloading", "updated_at": OLD} | changes))
    return job.id


def test_a_pull_that_was_left_becomes_a_job_of_units(store: Store, jobs: Jobs) -> None:
    """A sweep turns the record; the job keeps its id, request, webhook and phase, and any service can finish it."""
    progress = {"done": 7, "total": 9, "unit": "bytes", "rate": None, "eta_seconds": None}
    job_id = former_pull(store, jobs, progress=progress)

    sweep_jobs(jobs, DAY)

    assert files(store) == [job_id]
    job = build_jobs(store_on(store.root)).get(job_id)
    assert (job.id, job.units, job.request, job.webhook) == (job_id, 1, REQUEST, "https://receiver.example/")
    assert (job.state, job.phase, job.progress) == (JobState.RUNNING, "downloading", Progress(7, 9))
    assert finish_pull(jobs, job, {"models": []}).state is JobState.SUCCEEDED


@pytest.mark.anyio
async def test_a_pull_that_was_left_is_queued(
    store: Store, jobs: Jobs, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that runs while a sweep turns the record, which tells no database of it, can work on the pull."""
    monkeypatch.setattr("app.jobs.database.database_queue.FILL_SECONDS", 0.1)
    async with serving(store, jobs_url, jobs=jobs) as service:
        job_id = former_pull(store, jobs)
        await to_thread.run_sync(sweep_jobs, jobs, DAY)
        deadline = Deadline(60)
        while (claim := await service.queue.claim_next({PULLS}, lambda *_: True)) is None:
            assert not deadline.is_over
            await asyncio.sleep(STEP_SECONDS)
        await service.queue.release(claim)

    assert (claim.job.id, claim.task.parameters) == (job_id, REQUEST)


def test_a_new_pull_is_left_to_the_former_service_that_made_it(store: Store, jobs: Jobs) -> None:
    """Services of a former version take a pull within a second, so its record is turned only if it is older."""
    job_id = former_pull(store, jobs, updated_at=datetime.now(UTC).isoformat())

    sweep_jobs(jobs, DAY)

    assert files(store) == [f"{job_id}.json"]


def test_a_pull_that_a_former_service_runs_is_left_alone(store: Store, jobs: Jobs) -> None:
    """A former service holds the lock of its pull: the job is shown, and only a marker cancels it."""
    job_id = former_pull(store, jobs)
    with store.locks.exclusive(lock_name(job_id), seconds=5):
        other = build_jobs(store_on(store.root))
        sweep_jobs(other, DAY)

        assert files(store) == [f"{job_id}.json"]
        assert other.unfinished_of_units() == []
        assert [job.id for job in other.unfinished("pull")] == [job_id]
        assert other.cancel(job_id).state is JobState.RUNNING
        assert files(store) == [f"{job_id}.cancel", f"{job_id}.json"]

    sweep_jobs(jobs, DAY)
    assert jobs.get(job_id).state is JobState.CANCELLED
    assert files(store) == [f"{job_id}.json"]


def test_a_pull_without_a_process_is_cancelled_at_once(store: Store, jobs: Jobs) -> None:
    """Nobody runs the former pull: a cancellation ends it."""
    assert jobs.cancel(former_pull(store, jobs)).state is JobState.CANCELLED


def test_a_former_job_on_texts_fails_as_abandoned(store: Store, jobs: Jobs) -> None:
    """A former job on texts whose service has ended is failed as abandoned, and is not begun again."""
    job_id = former_pull(store, jobs, kind="texts")

    sweep_jobs(jobs, DAY)

    failure = jobs.get(job_id).failure
    assert failure
    assert failure.error == "JobAbandoned"
    assert files(store) == [f"{job_id}.json"]


@pytest.mark.parametrize("at_rename", [1, 2])
def test_a_service_that_is_killed_while_it_turns_a_record_loses_nothing(
    store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, at_rename: int
) -> None:
    """After a kill between any two steps the job is there once, and the next sweep turns it."""
    job_id = former_pull(store, jobs)
    rename, calls = rename_path, 0

    def killed(before: Path, after: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == at_rename:
            raise KeyboardInterrupt
        rename(before, after)

    with monkeypatch.context() as patched:
        patched.setattr("app.jobs.former_jobs.rename_path", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep_jobs(jobs, DAY)

    other = build_jobs(store_on(store.root))
    assert [job.id for job in other.newest()] == [job_id]
    assert other.unfinished_of_units() == []
    for path in store.volume.jobs_dir.glob("*.new"):
        os.utime(path, (0, 0))
    sweep_jobs(other, DAY)
    assert files(store) == [job_id]
    assert [job.id for job in other.unfinished_of_units()] == [job_id]
