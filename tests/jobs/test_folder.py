"""Jobs in the model folder: any process can read and cancel them, and only one process runs each."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.build import build_jobs
from app.errors import JobNotFound, StoreReadOnly, StoreUnavailable, TooManyUnits
from app.jobs.folder import Jobs
from app.jobs.progress import Meter, Progress, aged
from app.jobs.records import JobState
from app.jobs.units.records import Task, Unit
from app.jobs.units.unit_claims import JobEnded, Outcome
from app.pulls.pull_jobs import PULL
from app.store import Actor
from app.store.store import Store
from tests.support.held_jobs import HOLDS, ME, create_pull, finish_pull, store_on
from tests.support.processes import python
from tests.support.unit_works import KIND, create, finish_one


def test_a_record_has_the_request_and_the_progress(jobs: Jobs) -> None:
    """A pull's record has its request, and the state, phase, progress and result that its service wrote last."""
    job = create_pull(jobs, {"page": 1})
    queued = jobs.get(job.id)
    claim = jobs.units.claims.claim(job)
    assert claim
    jobs.units.claims.report(claim, "reading", Progress(1, 4, "bytes", 0.5, 6.0))
    running = jobs.get(job.id)
    jobs.units.claims.complete(claim, Outcome('{"text": "é"}'))
    claim.release()

    assert (queued.state, queued.kind, queued.request, queued.created_by) == (JobState.QUEUED, PULL, {"page": 1}, ME)
    assert (running.state, running.phase) == (JobState.RUNNING, "reading")
    assert running.progress == Progress(1, 4, "bytes", 0.5, 6.0)
    done = jobs.get(job.id)
    assert (done.state, done.phase, done.result) == (JobState.SUCCEEDED, "done", {"text": "é"})
    assert done.progress == running.progress
    assert done.created_at <= running.updated_at <= (done.finished_at or done.created_at)


def test_a_record_keeps_the_webhook(jobs: Jobs) -> None:
    """The URL of a webhook stays in the job's record until its end; a record without one does not mention it."""
    told = create_pull(jobs, webhook="https://receiver.example/jobs?token=1")
    ended = finish_pull(jobs, create_pull(jobs, webhook="https://receiver.example/ocr"))

    assert jobs.get(told.id).webhook == "https://receiver.example/jobs?token=1"
    assert jobs.get(ended.id).webhook == "https://receiver.example/ocr"
    assert jobs.ids() == [told.id, ended.id]
    assert "webhook" not in create_pull(jobs).to_json()


def test_a_failed_job_keeps_its_error(jobs: Jobs) -> None:
    """A failed pull's record has the name of the error's class and its message, and the phase in which it failed."""
    job = create_pull(jobs)
    claim = jobs.units.claims.claim(job)
    assert claim
    jobs.units.claims.report(claim, "downloading", Progress(7))
    claim.release()
    finish_pull(build_jobs(store_on(jobs.volume.root)), job, error=StoreReadOnly("a reason"))

    found = jobs.get(job.id)
    assert found.failure
    assert found.failure.error == "StoreReadOnly"
    assert "a reason" in found.failure.detail
    assert (found.phase, found.progress.done) == ("downloading", 7)


def test_jobs_are_listed_newest_first(jobs: Jobs) -> None:
    """Jobs are listed newest first, also those created in the same second, and can be filtered by kind and state."""
    created = [create_pull(jobs, {"number": number}).id for number in range(5)]
    other = finish_one(jobs, create(jobs, "a"))

    assert [job.id for job in jobs.newest([PULL])] == created[::-1]
    assert [job.id for job in jobs.newest(state=JobState.SUCCEEDED)] == [other.id]
    assert len(list(jobs.newest())) == 6


@pytest.mark.parametrize("job_id", ["nope", "../store", "20261121T092012Z-0a1b23a56954", ""])
def test_an_unknown_job_id_is_not_found(jobs: Jobs, job_id: str) -> None:
    """`get` and `cancel` raise JobNotFound for an unknown id and for text that is no id, such as a path."""
    for verb in (jobs.get, jobs.cancel):
        with pytest.raises(JobNotFound):
            verb(job_id)


def test_a_pull_has_one_service(store: Store, jobs: Jobs) -> None:
    """Only one process can claim a pull; after its release, or its holder's death, another process can."""
    waiting = create_pull(jobs)
    claim = jobs.units.claims.claim(waiting)
    assert claim
    assert jobs.units.claims.claim(waiting) is None
    other = build_jobs(store_on(store.root))
    assert other.units.claims.claim(other.get(waiting.id)) is None
    claim.release()

    with python(HOLDS, store.root):
        (running,) = jobs.newest(state=JobState.RUNNING)
        assert (running.phase, running.progress) == ("downloading", Progress(1, 3))
        assert jobs.units.claims.claim(running) is None
    taken = jobs.units.claims.claim(running)
    assert taken
    assert (taken.job.phase, taken.attempts) == ("downloading", 2)
    taken.release()


def test_a_finished_job_is_not_taken(jobs: Jobs) -> None:
    """A finished job cannot be claimed, and cancelling it does not change its outcome."""
    job = finish_pull(jobs, create_pull(jobs))

    assert jobs.units.claims.claim(job) is None
    assert jobs.cancel(job.id).state == JobState.SUCCEEDED


def test_a_service_notices_a_cancellation(store: Store, jobs: Jobs) -> None:
    """A cancellation by another process ends a job at once; its service notices that, and adds nothing."""
    job = create_pull(jobs)
    claim = jobs.units.claims.claim(job)
    assert claim
    jobs.units.claims.report(claim, "reading", Progress(7))
    assert not jobs.units.claims.is_ended(claim)
    assert build_jobs(store_on(store.root)).cancel(job.id).state == JobState.CANCELLED
    assert jobs.units.claims.is_ended(claim)
    jobs.units.claims.report(claim, "writing", Progress(8))
    with pytest.raises(JobEnded), jobs.units.claims.unended(claim):
        pytest.fail("the job has ended")
    assert jobs.units.claims.complete(claim, Outcome("{}")).state == JobState.CANCELLED
    claim.release()

    found = jobs.get(job.id)
    assert (found.state, found.phase, found.progress.done, found.result) == (JobState.CANCELLED, "reading", 7, None)


def test_a_pull_whose_end_was_not_shown_is_ended_by_the_next_service(
    store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service is killed after it has appended the result of a pull: the next one writes the result to the record."""
    job = create_pull(jobs)
    claim = jobs.units.claims.claim(job)
    assert claim

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs.units._open_jobs, "end", killed)
    with pytest.raises(KeyboardInterrupt):
        jobs.units.claims.complete(claim, Outcome('{"models": []}'))
    claim.release()

    other = build_jobs(store_on(store.root))
    assert other.units.claims.claim(other.get(job.id)) is None
    found = other.get(job.id)
    assert (found.state, found.result) == (JobState.SUCCEEDED, {"models": []})


@pytest.mark.parametrize(
    "verb",
    [
        create_pull,
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


def test_the_remaining_time_of_items_falls_between_two_results() -> None:
    """It falls by one item at most, and not at all for a clock that is behind, for bytes, or without a rate."""
    items = Progress(3, 9, "items", 0.5, 12.0)

    assert [aged(items, seconds).eta_seconds for seconds in (-5, 0, 1.5, 2, 60)] == [12, 12, 10.5, 10, 10]
    assert aged(items, 1.5) == Progress(3, 9, "items", 0.5, 10.5)
    for other in (Progress(3, 9, "bytes", 0.5, 12.0), Progress(0, 9, "items"), Progress(9, 9, "items", 0.0, None)):
        assert aged(other, 60) == other


def test_jobs_that_are_created_at_the_same_time_keep_the_limit_together(jobs: Jobs) -> None:
    """Each counts those that were begun before it, once, also when their records are there; other callers do not."""
    with jobs.room_for(ME, "first", 4, 6):
        for actor, count, waiting in ((ME, 3, 4), (Actor("other", "request-2"), 7, 0)):
            with pytest.raises(TooManyUnits) as refused, jobs.room_for(actor, "second", count, 6):
                pass
            assert refused.value.waiting == waiting
        with jobs.room_for(Actor("other", "request-2"), "second", 6, 6):
            pass
    with jobs.units.new() as new, jobs.room_for(ME, new.job_id, 4, 6):
        new.add_all([Unit(text="a")] * 4)
        jobs.units.create(new, KIND, {}, ME, Task({}))
        with jobs.room_for(ME, "second", 2, 6):
            pass

    with pytest.raises(TooManyUnits), jobs.room_for(ME, "second", 3, 6):
        pass
    with jobs.room_for(ME, "second", 2, 6):
        pass


def test_lists_of_jobs_have_pages(store: Store, jobs: Jobs) -> None:
    """Pages together have every job of a kind once, newest first, and count them all, whichever states are known."""
    created = [create_pull(jobs).id for _ in range(5)]
    create(jobs, "other")
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
    job_id = create_pull(jobs).id
    jobs.cancel(job_id)
    jobs.page(PULL, None, limit=1, after=None)
    store.volume.jobs_dir.joinpath(job_id, "job.json").write_text("not read")

    assert jobs.page(PULL, JobState.CANCELLED, limit=1, after=job_id).count == 1
