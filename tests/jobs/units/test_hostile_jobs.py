"""Jobs of units whose files other programs have replaced: other jobs go on, and nothing outside is touched."""

import errno
import json
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from app.build import build_jobs
from app.errors import JobNotFound, StoreError, StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.records import Job, JobState
from app.jobs.sweep import sweep_jobs
from app.jobs.units.records import MAX_UNITS, JobFolder, Task, Unit
from app.store.records.forms import RecordDamaged
from app.store.store import Store
from tests.conftest import slow_on_postgres
from tests.jobs.queues import serving
from tests.support.files.damage import TYPES, clear, put
from tests.support.held_jobs import store_on
from tests.support.unit_works import KIND, ME, create, create_of, finish, folder_of, results_file, results_of

pytestmark = pytest.mark.anyio

NAMES = ("job.json", "task.json", "units.jsonl", "log.jsonl", "results", "in", "")
"""The files of a job's folder, and the folder itself. `results` stands for the file of the service's results."""
CONTENTS = (
    b"",
    b"garbage\n" * 50,
    b"\xff" * 300,
    b"[" * 100_000 + b"\n",
    b'{"event":"result","at":"2026-11-27T00:00:00Z","unit":0,"offset":9223372036854775807,"length":268435456}\n',
    b'{"event":"result","at":"2026-11-27T00:00:00Z","unit":-1,"offset":-1,"length":-1}\n',
    b'{"event":"result","at":"2026-11-27T00:00:00Z","unit":0,"offset":0,"length":1,"writer":"../../x"}\n',
    b'{"event":"begun","at":"9999-12-31T23:59:59-12:00","unit":4611686018427387904}\n',
    b'{"event":"given_back","at":"2026-11-27T00:00:00Z","unit":0}\n' * 9,
    b'{"event":"end","at":"2026-11-27T00:00:00Z","state":"running"}\n',
)

NOT_FOUND = {"get": "JobNotFound", "cancel": "JobNotFound"}
"""What is refused, with which error, if a job has no record. Nothing is refused if other files are damaged."""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with files of the names that a job's folder has."""
    folder = tmp_path / "outside"
    (folder / "in").mkdir(parents=True)
    for name in ("job.json", "task.json", "units.jsonl", "log.jsonl", "results", "0", "in/0", "in/1"):
        (folder / name).write_bytes(b"outside")
    return folder


def path_of(store: Store, jobs: Jobs, job: Job, name: str) -> Path:
    """Return the path of a file of a job, by its name in NAMES."""
    folder = folder_of(store, job).path
    return results_file(jobs, folder) if name == "results" else folder / name


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def use(store: Store, jobs: Jobs, url: str | None, job: Job) -> dict[str, str]:
    """Do everything with a job that services and callers do. Return what was refused, with the error's name."""
    refused = dict[str, str]()
    async with serving(store, url, jobs=jobs) as service:

        async def finish_three() -> None:
            for _ in range(3):
                await service.finish_next()

        async def cancel() -> None:
            await service.queue.cancelled(await to_thread.run_sync(jobs.cancel, job.id))

        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "work": finish_three,
            "get": lambda: to_thread.run_sync(jobs.get, job.id),
            "results": lambda: to_thread.run_sync(results_of_readable, jobs, job),
            "cancel": cancel,
            "list": lambda: to_thread.run_sync(lambda: list(jobs.newest())),
            "page": lambda: to_thread.run_sync(lambda: jobs.page(job.kind, None, limit=9, after=None)),
        }
        for name, call in calls.items():
            try:
                await call()
            except (StoreError, OSError) as exc:
                refused[name] = type(exc).__name__
    return refused


def results_of_readable(jobs: Jobs, job: Job) -> None:
    """Read all results of a job. Each may be damaged: a page of results has a problem in its place."""
    jobs.units.counts(job)
    for place in jobs.units.results(job, after=0, limit=9):
        jobs.units.origin(job, place.unit)
        try:
            jobs.units.read_result(job, place)
        except Exception as exc:  # noqa: BLE001 - the two in place of which a page of results has a problem
            assert type(exc).__name__ in {"RecordDamaged", "OSError"}  # noqa: PT017


async def queue_all(store: Store, jobs: Jobs, url: str | None) -> None:
    """Queue the units of all jobs, as a service does at its start. The folder needs no queue."""
    async with serving(store, url, jobs=jobs):
        pass


async def other_is_done(store: Store, jobs: Jobs, url: str | None, job: Job) -> None:
    """Check that a service works on a job that was not damaged, and that it succeeds."""
    async with serving(store, url, jobs=jobs) as service:
        while await service.finish_next():
            pass
        assert jobs.get(job.id).state == JobState.SUCCEEDED


@slow_on_postgres
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("type_", [each for each in TYPES if each != "file"])
async def test_no_other_kind_of_file_stops_other_jobs(
    store: Store, outside: Path, jobs_url: str | None, name: str, type_: str
) -> None:
    """A link, pipe, socket or folder in place of each file of a job, before and after a service has read it."""
    before, jobs = contents(outside), build_jobs(store)
    for is_known in (False, True):
        job = create_of(jobs, [Unit(text="a"), Unit(text="b")], files=[b"image", b"image"])
        other = create(jobs, "c")
        if is_known:
            claim = jobs.units.claims.claim(job)
            assert claim
            finish(jobs, claim)
        await queue_all(store, jobs, jobs_url)
        path = path_of(store, jobs, job, name)
        clear(path)
        target = outside / name if (outside / name).exists() else outside
        put(path, type_, b"inside", target)

        await other_is_done(store, jobs, jobs_url, other)
        for view in (jobs, build_jobs(store_on(store.root))):
            refused = await use(store, view, jobs_url, job)
            if name == "" and "folder" not in type_:
                assert refused.pop("results") == "StoreUnavailable"
            assert refused == (NOT_FOUND if name in {"job.json", ""} else {})
        sweep_jobs(jobs, timedelta(0))

        assert contents(outside) == before


@slow_on_postgres
@pytest.mark.parametrize("name", NAMES[:-2])
@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
async def test_no_content_stops_other_jobs(store: Store, jobs_url: str | None, name: str, content: bytes) -> None:
    """Garbage, and numbers that no service writes, in each file of a job."""
    jobs = build_jobs(store)
    job, other = create(jobs, "a", "b"), create(jobs, "c")
    await queue_all(store, jobs, jobs_url)
    path_of(store, jobs, job, name).write_bytes(content)

    await other_is_done(store, jobs, jobs_url, other)
    for view in (jobs, build_jobs(store_on(store.root))):
        assert await use(store, view, jobs_url, job) == (NOT_FOUND if name == "job.json" else {})
    sweep_jobs(jobs, timedelta(0))


async def test_a_job_whose_log_the_disk_cannot_read_is_reported(
    store: Store, jobs_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other jobs go on, and the warnings of the service name the job."""
    jobs = build_jobs(store)
    job, other = create(jobs, "a"), create(jobs, "c")
    folder_of(store, job).log.write_bytes(b"\n")
    read, inode = os.pread, folder_of(store, job).log.stat().st_ino

    def fail(descriptor: int, *about: int) -> bytes:  # stands in for a disk that answers EIO for one file
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, *about)

    monkeypatch.setattr(os, "pread", fail)
    async with serving(store, jobs_url, jobs=jobs) as service:
        claim = await service.finish_next()

    assert claim
    assert claim.job.id == other.id
    assert [each.reason for each in store.volume.records.damaged("job")] == [
        f"its files cannot be read: {os.strerror(errno.EIO)}"
    ]


def with_fields(folder: JobFolder, **fields: Any) -> None:
    """Change fields of a job's record."""
    folder.record.write_text(json.dumps(json.loads(folder.record.read_text()) | fields))


@slow_on_postgres
@pytest.mark.parametrize("units", [3, 1_000_001, 1 << 62, (1 << 63) - 1])
async def test_a_record_with_more_units_than_there_are(store: Store, jobs_url: str | None, units: int) -> None:
    """The number of units in a record is not believed: units that are not there fail, and an absurd number waits.

    Both are reported as damage, and the job that waits can be cancelled.
    """
    job = create(build_jobs(store), "a")
    with_fields(folder_of(store, job), units=units)
    jobs = build_jobs(store)
    if units > MAX_UNITS:
        with pytest.raises(RecordDamaged):  # or a million rows would be queued
            jobs.units.claims.open_units(jobs.get(job.id))
        with pytest.raises(RecordDamaged):
            jobs.units.claims.claim_unit(jobs.get(job.id), 0, lambda *_: True)
    other = create(jobs, "c")

    await other_is_done(store, jobs, jobs_url, other)

    assert [each.reason for each in store.volume.records.damaged("job")] != []
    if units > MAX_UNITS:
        assert jobs.get(job.id).state in {JobState.QUEUED, JobState.RUNNING}
        assert jobs.cancel(job.id).state == JobState.CANCELLED


@slow_on_postgres
@pytest.mark.parametrize("units", [-1, 1 << 63, 1.5, "1", None, True])
async def test_a_record_with_no_number_of_units_is_damaged(store: Store, jobs_url: str | None, units: object) -> None:
    """The job is not found, and is reported."""
    job = create(build_jobs(store), "a")
    with_fields(folder_of(store, job), units=units)
    jobs = build_jobs(store)

    with pytest.raises(JobNotFound):
        jobs.get(job.id)

    assert len(store.volume.records.damaged("job")) == 1
    await other_is_done(store, jobs, jobs_url, create(jobs, "c"))


@slow_on_postgres
@pytest.mark.parametrize("name", NAMES[1:-2])
async def test_huge_files_are_not_read(store: Store, jobs_url: str | None, name: str) -> None:
    """Files of a terabyte, which take no space, in place of the files of a job."""
    jobs = build_jobs(store)
    job, other = create(jobs, "a"), create(jobs, "c")
    with path_of(store, jobs, job, name).open("r+b" if name in {"task.json", "units.jsonl"} else "wb") as file:
        os.truncate(file.fileno(), 1 << 40)

    await other_is_done(store, jobs, jobs_url, other)
    assert jobs.get(job.id).units == 1


async def test_a_log_that_was_shortened_is_read_again(store: Store, jobs_url: str | None) -> None:
    """If another program empties the log, the units are done again; no unit is left out."""
    jobs = build_jobs(store)
    job = create(jobs, "a", "b", "c")
    for _ in range(2):
        claim = jobs.units.claims.claim(job)
        assert claim
        finish(jobs, claim)
    folder_of(store, job).log.write_bytes(b"")

    await other_is_done(store, jobs, jobs_url, job)

    assert sorted(result["unit"] for result in results_of(jobs, job)) == [0, 1, 2]


@pytest.mark.parametrize("type_", ["file", "link"])
def test_a_damaged_record_of_a_key_creates_no_second_job(store: Store, type_: str) -> None:
    """The repeated request is refused with the path of the record, which is reported, until the record is removed."""
    jobs = build_jobs(store)

    def send() -> Job:
        with jobs.units.new() as new:
            new.add_all([Unit(text="a")])
            return jobs.units.create(new, KIND, {}, ME, Task({}), idempotency_key="key")

    job = send()
    (record,) = store.volume.jobs_dir.glob("*.key")
    record.unlink()
    if type_ == "file":
        record.write_bytes(b"garbage")
    else:
        record.symlink_to("/dev/null")

    with pytest.raises(StoreUnavailable, match=record.name):
        send()

    assert jobs.ids() == [job.id]
    path = f".store/jobs/{record.name}"
    assert [each.path for each in store.volume.records.damaged("job")] == [path]
    record.unlink()
    assert send().id != job.id


@slow_on_postgres
@pytest.mark.parametrize("type_", [each for each in TYPES if each != "file"])
async def test_a_log_that_is_no_file_is_set_aside(
    store: Store, outside: Path, jobs_url: str | None, type_: str
) -> None:
    """Its job can be cancelled, and another is worked on and ends."""
    jobs = build_jobs(store)
    cancelled, done = create(jobs, "a"), create(jobs, "b")
    for job in (cancelled, done):
        log = folder_of(store, job).log
        clear(log)
        put(log, type_, b"inside", outside / "log.jsonl")

    assert jobs.cancel(cancelled.id).state == JobState.CANCELLED
    await other_is_done(store, jobs, jobs_url, done)

    assert [each.reason for each in store.volume.records.damaged("job")] == [
        "it was the job's log, and is no regular file"
    ] * 2
    assert (outside / "log.jsonl").read_bytes() == b"outside"
