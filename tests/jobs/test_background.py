"""Jobs that a request starts and its service runs in the background, of a kind that exists only in this test."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from app.build import build_jobs
from app.errors import StoreUnsafe
from app.events import EventName
from app.jobs import recording
from app.jobs.background import BackgroundJobs
from app.jobs.batches import Batch
from app.jobs.folder import Jobs
from app.jobs.records import JobState
from app.jobs.runner import Work
from app.jobs.sweep import sweep_jobs
from app.store import Store
from tests.support.held_jobs import DAY, ME, store_on
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

ADDING = "adding"


class Adding(Work):
    """Adds numbers, or waits until cancelled if there are none, and counts its releases."""

    def __init__(self, *numbers: int) -> None:
        self.total = len(numbers)
        self.released = 0
        self._numbers = numbers

    async def run(self) -> dict[str, Any]:
        if not self._numbers:
            await anyio.sleep_forever()
        self.write_result(str(self._numbers))
        return {"sum": sum(self._numbers)}

    async def release(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.released += 1


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    """Return the jobs of a new store."""
    return build_jobs(store_on(tmp_path / "models"))


async def test_a_request_begins_a_job_of_a_new_kind(jobs: Jobs) -> None:
    """A background job succeeds with its result in the record and its large result in a file."""
    work = Adding(1, 2)

    job = await BackgroundJobs(jobs).begin(ADDING, {"numbers": 2}, work, ME)
    await eventually_async(lambda: jobs.get(job.id).is_finished)

    assert (jobs.get(job.id).state, jobs.get(job.id).result) == (JobState.SUCCEEDED, {"sum": 3})
    assert jobs.get(job.id).request == {"numbers": 2}
    assert jobs.result_file(job.id).read_text() == "(1, 2)"
    assert work.released == 1


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "not yet"])
async def test_a_job_fails_when_its_service_stops(jobs: Jobs, *, is_running: bool) -> None:
    """A background job fails as abandoned when its service stops, and its resources are released."""
    work, background = Adding(), BackgroundJobs(jobs)
    job = await background.begin(ADDING, {}, work, ME)
    if is_running:
        await eventually_async(lambda: jobs.get(job.id).state is JobState.RUNNING)

    await background.close()

    failure = jobs.get(job.id).failure
    assert failure
    assert failure.error == "JobAbandoned"
    assert work.released == 1


async def test_a_job_that_cannot_begin_releases_its_resources(tmp_path: Path) -> None:
    """A job that the store refuses leaves no record, and its resources are released."""
    store = store_on(tmp_path)
    store.volume.unsafe = "a reason"
    work = Adding(1)

    with pytest.raises(StoreUnsafe):
        await BackgroundJobs(build_jobs(store)).begin(ADDING, {}, work, ME)

    assert work.released == 1


class Answers:
    """The results of a batch."""

    failed_count = 0

    def model_dump_json(self) -> str:
        return "[]"


class Events:
    """Collects the events that a part reports."""

    def __init__(self) -> None:
        self.fields: dict[EventName, dict[str, Any]] = {}

    def __call__(self, event: EventName, fields: dict[str, Any]) -> None:
        self.fields[event] = fields


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_on(tmp_path / "models")


@pytest.mark.parametrize("instead", [False, True], ids=["missing", "another folder"])
async def test_a_job_survives_the_absence_of_its_folder(store: Store, tmp_path: Path, *, instead: bool) -> None:
    """A job whose folder is away, or is covered by another store, succeeds when the folder is back, with its results.

    Nothing is written to the other store.
    """
    jobs, aside, events = build_jobs(store), tmp_path / "aside", Events()
    other = tmp_path / "other"
    store_on(other)
    is_worked, go_on = anyio.Event(), anyio.Event()

    async def process(on_done: Callable[[], None]) -> Answers:
        store.root.rename(aside)
        if instead:
            other.rename(store.root)
        on_done()
        is_worked.set()
        await go_on.wait()
        return Answers()

    work = Batch(1, process)
    background = BackgroundJobs(jobs, events)
    job = await background.begin(ADDING, {}, work, ME)
    await is_worked.wait()
    go_on.set()
    await anyio.sleep(recording.RETRY_PAUSE_SECONDS)
    if instead:
        assert list((store.root / ".store" / "jobs").iterdir()) == []
        store.root.rename(other)
    aside.rename(store.root)
    await eventually_async(lambda: jobs.get(job.id).is_finished, within=30)

    assert (jobs.get(job.id).state, jobs.get(job.id).result) == (JobState.SUCCEEDED, {"failed_count": 0})
    assert jobs.result_file(job.id).read_text() == "[]"
    await eventually_async(lambda: EventName.JOB_FINISHED in events.fields)
    assert events.fields[EventName.JOB_FINISHED]["outcome"] == "succeeded"


async def test_a_job_survives_a_cleaner_of_its_records(store: Store) -> None:
    """If the folder of records is removed while a job runs, the job still ends with a record and its results."""
    jobs = build_jobs(store)

    async def process(on_done: Callable[[], None]) -> Answers:
        shutil.rmtree(store.volume.jobs_dir)
        on_done()
        return Answers()

    job = await BackgroundJobs(jobs).begin(ADDING, {}, Batch(1, process), ME)
    await eventually_async(lambda: jobs.volume.jobs_dir.exists() and jobs.result_file(job.id).exists(), within=30)
    await eventually_async(lambda: [each.state for each in jobs.newest()] == [JobState.SUCCEEDED], within=30)


async def test_a_folder_that_stays_away_is_named_as_the_cause(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the folder is away for too long, the job fails as soon as the folder is back, and says why."""
    monkeypatch.setattr(recording, "RETRY_SECONDS", 0.0)  # the service tries for ten minutes
    jobs, aside, events = build_jobs(store), tmp_path / "aside", Events()

    async def process(_: Callable[[], None]) -> Answers:
        store.root.rename(aside)
        return Answers()

    job = await BackgroundJobs(jobs, events).begin(ADDING, {}, Batch(1, process), ME)
    await eventually_async(lambda: EventName.JOB_FINISHED in events.fields)
    aside.rename(store.root)
    sweep_jobs(jobs, DAY)

    failure = jobs.get(job.id).failure
    assert EventName.JOB_UNRECORDED in events.fields
    assert failure
    assert failure.error == "StoreUnavailable"
    assert "missing" in failure.detail


async def test_a_defect_fails_the_job_and_is_logged(jobs: Jobs) -> None:
    """Work that raises an unexpected error fails its job at once, and the log has the error."""
    events = Events()

    async def process(_: Callable[[], None]) -> Answers:
        raise ZeroDivisionError

    job = await BackgroundJobs(jobs, events).begin(ADDING, {}, Batch(1, process), ME)
    await eventually_async(lambda: EventName.JOB_FINISHED in events.fields)

    assert jobs.get(job.id).state is JobState.FAILED
    assert "defect" in str(jobs.get(job.id).failure)
    assert events.fields[EventName.JOB_CRASHED]["exc_info"]


async def test_a_job_is_queued_until_its_turn(jobs: Jobs) -> None:
    """A job is queued, with its unit and total, until its first turn; its rate is measured from then on."""
    has_turn, is_seen, go_on, events = anyio.Event(), anyio.Event(), anyio.Event(), Events()

    async def process(on_done: Callable[[], None]) -> Answers:
        await has_turn.wait()
        await is_seen.wait()
        on_done()
        await go_on.wait()
        return Answers()

    job = await BackgroundJobs(jobs, events).begin(ADDING, {}, Batch(2, process, has_turn.is_set), ME)

    assert (job.progress.unit, job.progress.total, job.progress.rate) == ("items", 2, None)
    await anyio.sleep(1)
    assert (jobs.get(job.id).state, jobs.get(job.id).phase) == (JobState.QUEUED, "waiting")
    assert [each.id for each in jobs.newest(state=JobState.QUEUED)] == [job.id]
    has_turn.set()
    await eventually_async(lambda: jobs.get(job.id).state is JobState.RUNNING)
    assert jobs.get(job.id).progress.rate is None
    is_seen.set()
    await eventually_async(lambda: jobs.get(job.id).progress.done == 1)
    assert jobs.get(job.id).phase == "working"
    assert (jobs.get(job.id).progress.rate or 0) > 0
    assert events.fields[EventName.JOB_STARTED]["waited_seconds"] >= 1
    go_on.set()
    await eventually_async(lambda: jobs.get(job.id).is_finished)
