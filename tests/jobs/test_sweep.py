"""What a sweep does to old jobs, and to files that killed processes left."""

import errno
import os
import shutil
import time
from datetime import timedelta

import pytest

from app.build import build_jobs
from app.errors import JobNotFound
from app.jobs.folder import Jobs
from app.jobs.records import read_record
from app.jobs.sweep import STRAY_SECONDS, sweep_jobs
from app.store.records.reader import DamagedRecord
from app.store.store import Store
from tests.support.held_jobs import DAY, create_pull, files, finish_pull, former_record, store_on
from tests.support.unit_works import create, finish_one, folder_of

NOW = timedelta(0)


def test_finished_jobs_are_removed_after_their_retention(store: Store, jobs: Jobs) -> None:
    """A finished job is removed with its files after its retention; unfinished jobs stay."""
    waiting = create_pull(jobs)
    done = finish_pull(jobs, create_pull(jobs))

    assert sweep_jobs(jobs, DAY) == []
    assert sweep_jobs(build_jobs(store), NOW) == [done.id]  # as after a restart
    assert files(store) == [waiting.id]


def test_a_former_job_is_removed_with_its_result(store: Store, jobs: Jobs) -> None:
    """The result file and the marker of a job of a former version go with its record, after its retention."""
    former_record(store, job := finish_pull(jobs, create_pull(jobs)))
    for suffix in ("result", "cancel"):
        (store.volume.jobs_dir / f"{job.id}.{suffix}").touch()

    assert sweep_jobs(jobs, DAY) == []
    assert files(store) == [f"{job.id}.json", f"{job.id}.result"]
    assert sweep_jobs(build_jobs(store), NOW) == [job.id]
    assert files(store) == []


def test_a_job_whose_record_is_lost_is_reported_and_kept(store: Store, jobs: Jobs) -> None:
    """Another program deletes a job's record: the loss is reported, and the results are kept as long as others."""
    job = create(jobs, "a")
    finish_one(jobs, job)
    folder_of(store, job).record.unlink()
    kept = sorted(path.name for path in folder_of(store, job).path.iterdir())

    for service in (another := build_jobs(store_on(store.root)), jobs):
        with pytest.raises(JobNotFound, match="damaged or missing"):
            service.get(job.id)
    in_sweep = build_jobs(store_on(store.root))
    os.utime(folder_of(store, job).path, times=(time.time() - 2 * STRAY_SECONDS,) * 2)
    assert sweep_jobs(in_sweep, DAY) == []

    assert sorted(path.name for path in folder_of(store, job).path.iterdir()) == kept
    path = f".store/jobs/{job.id}/job.json"
    for service in (another, in_sweep):
        assert service.volume.records.damaged("job") == [DamagedRecord("job", path, "it is missing")]
    os.utime(folder_of(store, job).path, (0, 0))
    sweep_jobs(in_sweep, DAY)
    assert (files(store), in_sweep.volume.records.damaged()) == ([], [])


def test_a_removal_that_was_interrupted_is_no_loss(store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service is killed while it removes an old job: the job is gone, is not reported, and its rest is removed."""
    job = finish_one(jobs, create(jobs, "a"))
    with monkeypatch.context() as patch:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep_jobs(jobs, NOW)

    with pytest.raises(JobNotFound, match="There is no job"):
        jobs.get(job.id)
    assert sweep_jobs(jobs, NOW) == []
    (left,) = store.volume.jobs_dir.iterdir()
    assert jobs.volume.records.damaged() == []
    os.utime(left, (0, 0))
    sweep_jobs(jobs, DAY)
    assert files(store) == []


@pytest.mark.parametrize("is_former", [False, True])
def test_a_job_that_cannot_be_swept_is_reported(
    store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, *, is_former: bool
) -> None:
    """A job whose files cannot be removed is a damaged record, and the sweep of other jobs continues."""
    job = finish_pull(jobs, create_pull(jobs))
    if is_former:
        former_record(store, job)
    other = finish_pull(jobs, create_pull(jobs))

    sweeping = build_jobs(store)
    part = sweeping.former if is_former else sweeping.units
    remove = part.remove

    def refuse(job_id: str) -> None:  # stands in for a folder that the service may not change
        if job_id == job.id:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        remove(job_id)

    monkeypatch.setattr(part, "remove", refuse)
    swept = sweep_jobs(sweeping, NOW)

    (damaged,) = store.volume.records.damaged()
    assert damaged.path.startswith(f".store/jobs/{job.id}")
    assert "it cannot be swept: [Errno 13] Permission denied" in damaged.reason
    assert swept == [other.id]


def test_files_of_killed_processes_are_removed(store: Store, jobs: Jobs) -> None:
    """A sweep removes old drafts, markers and results without a job, but no new files and none of a new job."""
    with jobs.units.new() as new:
        os.utime(new.folder.path, (0, 0))
        for name in ("new", "cancel", "result"):
            (store.volume.jobs_dir / f"20261121T092012Z-0a1b23a56954.{name}").touch()
            os.utime(store.volume.jobs_dir / f"20261121T092012Z-0a1b23a56954.{name}", (0, 0))
        (store.volume.jobs_dir / "20261121T092012Z-0a1b23a56955.result").touch()

        sweep_jobs(jobs, DAY)

        assert files(store) == sorted([new.folder.path.name, "20261121T092012Z-0a1b23a56955.result"])


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
