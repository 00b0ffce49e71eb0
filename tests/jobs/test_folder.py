"""Jobs in the model folder: any process can read and cancel them, and only one process runs each."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.build import build_jobs
from app.errors import JobNotFound, StoreReadOnly, StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.progress import Meter, Progress
from app.jobs.records import JobState
from app.pulls.pull_jobs import PULL
from app.store.store import Store
from tests.support.held_jobs import HOLDS, ME, files, store_on
from tests.support.processes import python


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_on(tmp_path / "models")


@pytest.fixture
def jobs(store: Store) -> Jobs:
    return build_jobs(store)


def test_a_record_has_the_request_and_the_progress(jobs: Jobs) -> None:
    """A job's record has its request, and the state, phase, progress and result that its runner wrote last."""
    with jobs.begin("ocr", {"page": 1}, ME) as held:
        queued = jobs.get(held.job.id)
        held.update(phase="reading", progress=Progress(1, 4, "items", 0.5, 6.0))
        running = jobs.get(held.job.id)
        held.succeed({"text": "é"})

    assert (queued.state, queued.kind, queued.request, queued.created_by) == (JobState.QUEUED, "ocr", {"page": 1}, ME)
    assert (running.state, running.phase) == (JobState.RUNNING, "reading")
    assert running.progress == Progress(1, 4, "items", 0.5, 6.0)
    done = jobs.get(held.job.id)
    assert (done.state, done.result, done.is_finished) == (JobState.SUCCEEDED, {"text": "é"}, True)
    assert done.created_at <= running.updated_at <= (done.finished_at or done.created_at)


def test_a_record_keeps_the_webhook(jobs: Jobs) -> None:
    """The URL of a webhook stays in the job's record until its end; a record without one does not mention it."""
    told = jobs.create(PULL, {}, ME, webhook="https://receiver.example/jobs?token=1")
    with jobs.begin("ocr", {}, ME, webhook="https://receiver.example/ocr") as held:
        held.succeed(None)

    assert jobs.get(told.id).webhook == "https://receiver.example/jobs?token=1"
    assert jobs.get(held.job.id).webhook == "https://receiver.example/ocr"
    assert jobs.ids() == [told.id, held.job.id]
    assert "webhook" not in jobs.create(PULL, {}, ME).to_json()


def test_a_failed_job_keeps_its_error(jobs: Jobs) -> None:
    """A failed job's record has the name of the error's class and its message."""
    with jobs.begin("ocr", {}, ME) as held:
        held.fail(StoreReadOnly("a reason"))

    failure = jobs.get(held.job.id).failure
    assert failure
    assert failure.error == "StoreReadOnly"
    assert "a reason" in failure.detail


def test_jobs_are_listed_newest_first(jobs: Jobs) -> None:
    """Jobs are listed newest first, also those created in the same second, and can be filtered by kind and state."""
    created = [jobs.create(PULL, {"number": number}, ME).id for number in range(5)]
    with jobs.begin("ocr", {}, ME) as held:
        held.succeed(None)

    assert [job.id for job in jobs.newest([PULL])] == created[::-1]
    assert [job.id for job in jobs.newest(state=JobState.SUCCEEDED)] == [held.job.id]
    assert len(list(jobs.newest())) == 6


@pytest.mark.parametrize("job_id", ["nope", "../store", "20261121T092012Z-0a1b23a56954", ""])
def test_an_unknown_job_id_is_not_found(jobs: Jobs, job_id: str) -> None:
    """`get` and `cancel` raise JobNotFound for an unknown id and for text that is no id, such as a path."""
    for verb in (jobs.get, jobs.cancel):
        with pytest.raises(JobNotFound):
            verb(job_id)


def test_a_job_has_one_runner(store: Store, jobs: Jobs) -> None:
    """Only one process can hold a job; after its release, or its holder's death, another process can take it."""
    waiting = jobs.create(PULL, {}, ME)
    assert [job.id for job in jobs.unheld(PULL)] == [waiting.id]
    with jobs.take(waiting.id) or pytest.fail("not taken"):
        assert jobs.is_held(waiting.id)
        assert jobs.unheld(PULL) == []
        assert jobs.take(waiting.id) is None
        assert build_jobs(store_on(store.root)).take(waiting.id) is None
    assert not jobs.is_held(waiting.id)

    with python(HOLDS, store.root, PULL):
        (running,) = jobs.newest(state=JobState.RUNNING)
        assert (running.phase, running.progress) == ("working", Progress(1, 3, "items"))
        assert jobs.take(running.id) is None
    taken = jobs.take(running.id)
    assert taken
    assert taken.job.phase == "working"
    taken.release()


def test_a_finished_job_is_not_taken(jobs: Jobs) -> None:
    """A finished job cannot be taken, and cancelling it does not change its outcome."""
    with jobs.begin("ocr", {}, ME) as held:
        held.succeed(None)

    assert jobs.take(held.job.id) is None
    assert not jobs.is_held(held.job.id)
    assert jobs.cancel(held.job.id).state == JobState.SUCCEEDED


def test_a_runner_notices_a_cancellation(store: Store, jobs: Jobs) -> None:
    """A runner notices a cancellation by another process; the job stays `running` until the runner finishes it."""
    with jobs.begin("ocr", {}, ME) as held:
        held.update(phase="reading")
        assert not held.is_cancelled()
        assert build_jobs(store_on(store.root)).cancel(held.job.id).state == JobState.RUNNING
        assert held.is_cancelled()
        held.cancel()

    assert jobs.get(held.job.id).state == JobState.CANCELLED
    assert files(store) == [f"{held.job.id}.json"]


def test_a_job_without_a_runner_is_cancelled_at_once(store: Store, jobs: Jobs) -> None:
    """Cancelling a job without a runner finishes it at once and leaves no marker."""
    waiting = jobs.create(PULL, {}, ME)

    assert jobs.cancel(waiting.id).state == JobState.CANCELLED
    assert files(store) == [f"{waiting.id}.json"]


@pytest.mark.parametrize(
    "verb",
    [
        lambda jobs: jobs.create(PULL, {}, ME),
        lambda jobs: list(jobs.newest()),
        lambda jobs: jobs.get("20261121T092012Z-0a1b23a56954"),
        lambda jobs: jobs.cancel("20261121T092012Z-0a1b23a56954"),
    ],
)
def test_a_missing_volume_raises_store_unavailable(
    store: Store, jobs: Jobs, tmp_path: Path, verb: Callable[[Jobs], object]
) -> None:
    """Every method raises StoreUnavailable if the folder's volume is unmounted, and writes nothing there."""
    store.root.rename(tmp_path / "elsewhere")
    store.root.mkdir()

    with pytest.raises(StoreUnavailable):
        verb(jobs)
    assert list(store.root.iterdir()) == []


def test_a_meter_computes_the_rate_and_the_remaining_time() -> None:
    """A meter has no rate after one count; a lower count than before restarts the measurement."""
    meter = Meter("bytes")

    first, second = meter.at(0, 100), meter.at(50, 100)

    assert (first.done, first.total, first.rate, first.eta_seconds) == (0, 100, None, None)
    assert second.rate is not None
    assert second.rate > 0
    assert second.eta_seconds is not None
    assert meter.at(10, 100).rate is None
    assert meter.at(20, None).eta_seconds is None


def test_lists_of_jobs_have_pages(store: Store, jobs: Jobs) -> None:
    """Pages together have every job of a kind once, newest first, and count them all, whichever states are known."""
    created = [jobs.create(PULL, {}, ME).id for _ in range(5)]
    jobs.create("other", {}, ME)
    for job_id in created[:3]:
        jobs.cancel(job_id)

    for state, wanted in ((None, created), (JobState.CANCELLED, created[:3]), (JobState.QUEUED, created[3:])):
        found, after, has_more = list[str](), None, True
        while has_more:
            page = jobs.page(PULL, state, limit=2, after=after)
            assert page.count == len(wanted)
            found += [job.id for job in page.jobs]
            after, has_more = found[-1], page.has_more
        assert found == wanted[::-1]
    assert jobs.page(PULL, JobState.FAILED, limit=2, after=None).jobs == []


def test_a_finished_job_is_not_read_again_to_be_counted(store: Store, jobs: Jobs) -> None:
    """The records of finished jobs that are not on the page are not opened again: there may be thousands."""
    job_id = jobs.create(PULL, {}, ME).id
    jobs.cancel(job_id)
    jobs.page(PULL, None, limit=1, after=None)
    store.volume.jobs_dir.joinpath(f"{job_id}.json").write_text("not read")

    assert jobs.page(PULL, JobState.CANCELLED, limit=1, after=job_id).count == 1
