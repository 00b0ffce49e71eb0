"""The jobs of pulls: the keys of requests, the bound on waiting pulls, and the turns of their sources."""

import pytest

from app.build import build_jobs
from app.errors import IdempotencyKeyReused, StoreUnavailable, TooManyUnits
from app.fetching.http_client import HttpClient
from app.jobs.folder import Jobs
from app.jobs.idempotency import RequestKey
from app.jobs.units.new_units import NewUnits
from app.jobs.units.unit_queue import queue_name
from app.jobs.units.unit_work import MAX_ATTEMPTS
from app.pulls.pull_jobs import PULL, PULLS_LOCK, PullJobs
from app.pulls.request import PullRequest
from app.pulls.sources.url import UrlSource
from app.store.actor import Actor
from app.store.store import Store
from tests.jobs.queues import serving
from tests.support.held_jobs import ME, create_pull, finish_pull, store_on
from tests.support.hub import running_hub
from tests.support.own_pulls import PullService

A, B = PullRequest(url="http://a.example/a.bin"), PullRequest(url="http://b.example/b.bin")
KEY = RequestKey("key-1", "0" * 64)
PULLS = queue_name(PULL, is_downloaded=True)


def test_a_key_gets_its_pull_also_when_that_is_finished(store: Store, jobs: Jobs) -> None:
    """The same key names the same job for ever; another request with it is refused, and other callers have own keys."""
    pulls = PullJobs(store, jobs)
    job, is_new = pulls.find_or_create(A, ME, key=KEY)
    finish_pull(jobs, job)

    again, is_again_new = pulls.find_or_create(A, ME, key=KEY)
    other, is_other_new = pulls.find_or_create(A, Actor("other"), key=KEY)

    assert (is_new, is_again_new, is_other_new) == (True, False, True)
    assert (again.id == job.id, other.id == job.id) == (True, False)
    with pytest.raises(IdempotencyKeyReused):
        pulls.find_or_create(B, ME, key=RequestKey("key-1", "1" * 64))


def test_a_key_is_noted_before_the_pull_s_record(store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service is killed when the job is there: the request that is sent again makes one pull, and not two."""
    take_name = NewUnits.take_name

    def killed_after(new: NewUnits) -> None:
        take_name(new)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(NewUnits, "take_name", killed_after)
        patched.setattr("shutil.rmtree", lambda *_, **__: None)  # a killed process removes nothing
        with pytest.raises(KeyboardInterrupt):
            PullJobs(store, jobs).find_or_create(A, ME, key=KEY)
    other = build_jobs(store_on(store.root))
    (made,) = other.unfinished("pull")
    finish_pull(other, made)

    job, is_new = PullJobs(store, other).find_or_create(A, ME, key=KEY)

    assert (job.id, is_new) == (made.id, False)


def test_an_equal_request_with_a_key_gets_the_unfinished_pull(store: Store, jobs: Jobs) -> None:
    """The key then names that pull."""
    pulls = PullJobs(store, jobs)
    first, _ = pulls.find_or_create(A, ME)
    assert pulls.find_or_create(A, ME, key=KEY) == (first, False)
    finish_pull(jobs, first)

    assert pulls.find_or_create(A, ME, key=KEY)[0].id == first.id


def test_a_pull_whose_lock_stays_taken_names_no_model(
    store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request holds the lock of pulls: the caller is told to try again, and not that a model is changed."""
    monkeypatch.setattr("app.pulls.pull_jobs.PULLS_LOCK_SECONDS", 0.0)
    with (
        store_on(store.root).locks.exclusive(PULLS_LOCK, seconds=0),
        pytest.raises(StoreUnavailable, match="other requests for pulls"),
    ):
        PullJobs(store, jobs).find_or_create(A, ME)

    assert PullJobs(store, jobs).find_or_create(A, ME)[1]


def test_waiting_pulls_are_bounded(store: Store, jobs: Jobs) -> None:
    """A caller may have so many unfinished pulls; a finished one makes room, and each caller has own room."""
    pulls = PullJobs(store, jobs, max_waiting=1)
    job, _ = pulls.find_or_create(A, ME)

    with pytest.raises(TooManyUnits):
        pulls.find_or_create(B, ME)
    assert pulls.find_or_create(A, ME) == (job, False)
    assert pulls.find_or_create(B, Actor("other"))[1]
    finish_pull(jobs, job)
    assert pulls.find_or_create(PullRequest(url="http://c.example/c.bin"), ME)[1]


@pytest.mark.anyio
async def test_the_pulls_of_a_caller_take_turns_between_their_sources(
    store: Store, jobs: Jobs, jobs_url: str | None
) -> None:
    """Many pulls from one host, which came first, do not keep a pull from another host waiting."""
    pulls = PullJobs(store, jobs)
    many = [pulls.find_or_create(PullRequest(url=f"http://a.example/{each}.bin"), ME)[0].id for each in range(3)]
    other, _ = pulls.find_or_create(B, ME)
    async with serving(store, jobs_url, jobs=jobs) as service:
        claims = [await service.queue.claim_next({PULLS}, lambda *_: True) for _ in range(3)]
        for claim in claims:
            assert claim
            await service.queue.release(claim)

    assert [claim and claim.job.id for claim in claims] == [many[0], other.id, many[1]]


@pytest.mark.anyio
async def test_a_pull_is_continued_however_often_its_service_is_killed(store: Store, jobs: Jobs) -> None:
    """Each attempt continues the download, so that kills of services do not fail a pull."""
    with running_hub() as hub:
        job = create_pull(jobs, PullRequest(url=hub.put("/a.bin", b"model")).to_record())
        for _ in range(3 * MAX_ATTEMPTS):
            claim = jobs.units.claims.claim(job)
            assert claim
            claim.release()
        service = PullService(store, jobs, [UrlSource(HttpClient(60), (hub.cdn_url,))])
        await service.runner.work_on(job)
        await service.requests.close()

    assert jobs.get(job.id).state == "succeeded"
