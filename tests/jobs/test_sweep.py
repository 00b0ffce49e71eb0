"""What a sweep does to jobs whose runner died, to old jobs, and to files that killed processes left."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from app.build import build_jobs
from app.jobs.folder import Jobs
from app.jobs.records import JobState, read_record, record_of
from app.jobs.sweep import sweep_jobs
from app.pulls.pull_jobs import PULL
from app.store.store import Store
from tests.support.held_jobs import DAY, HOLDS, ME, files, store_on
from tests.support.processes import python

NOW = timedelta(0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_on(tmp_path / "models")


@pytest.fixture
def jobs(store: Store) -> Jobs:
    return build_jobs(store)


def test_only_a_job_that_cannot_be_resumed_fails_after_its_runner(store: Store, jobs: Jobs) -> None:
    """After its runner was killed, a pull can be taken again, and a job of another kind fails as abandoned."""
    for kind in ("ocr", PULL):
        with python(HOLDS, store.root, kind):
            sweep_jobs(jobs, DAY)
            assert {job.state for job in jobs.newest([kind])} == {JobState.RUNNING}
    sweep_jobs(jobs, DAY)

    (ocr,), (pull,) = jobs.newest(["ocr"]), jobs.newest([PULL])
    assert ocr.state == JobState.FAILED
    assert ocr.failure
    assert ocr.failure.error == "JobAbandoned"
    assert "ended before the job was done" in ocr.failure.detail
    assert pull.state == JobState.RUNNING
    assert [job.id for job in jobs.unheld(PULL)] == [pull.id]


def test_finished_jobs_are_removed_after_their_retention(store: Store, jobs: Jobs) -> None:
    """A finished job is removed with its result file after its retention; unfinished jobs stay."""
    waiting = jobs.create(PULL, {}, ME)
    with jobs.begin("ocr", {}, ME) as held:
        held.write_result("large")
        held.succeed(None)

    assert sweep_jobs(jobs, DAY) == []
    assert jobs.result_file(held.job.id).read_text() == "large"
    assert sweep_jobs(build_jobs(store), NOW) == [held.job.id]  # as after a restart
    assert files(store) == [f"{waiting.id}.json"]


def test_files_of_killed_processes_are_removed(store: Store, jobs: Jobs) -> None:
    """A sweep removes old drafts, markers and results without a job, but no new files and none of a held job."""
    with jobs.begin("ocr", {}, ME) as held:
        record_of(store.volume.jobs_dir, held.job.id).unlink()
        held.write_result("")
        for name in ("new", "cancel", "result"):
            (store.volume.jobs_dir / f"20261121T092012Z-0a1b23a56954.{name}").touch()
            os.utime(store.volume.jobs_dir / f"20261121T092012Z-0a1b23a56954.{name}", (0, 0))
        (store.volume.jobs_dir / "20261121T092012Z-0a1b23a56955.result").touch()

        sweep_jobs(jobs, DAY)

        assert files(store) == sorted([jobs.result_file(held.job.id).name, "20261121T092012Z-0a1b23a56955.result"])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": 1}', "nonsense"])
def test_an_invalid_record_is_ignored_and_removed(store: Store, jobs: Jobs, text: str) -> None:
    """An invalid record, as after a power cut, is no job; a sweep removes it once it is old."""
    record = store.volume.jobs_dir / "20261121T092012Z-0a1b23a56954.json"
    record.write_text(text)

    assert read_record(store.volume.records, record) is None
    assert list(jobs.newest()) == []
    sweep_jobs(jobs, DAY)
    assert files(store) == [record.name]
    os.utime(record, (0, 0))
    sweep_jobs(jobs, DAY)
    assert files(store) == []
