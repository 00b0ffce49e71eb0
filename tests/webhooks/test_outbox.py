"""The records of deliveries: who may send a webhook and when, for how long its job is kept, and when it is given up."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.sweep import sweep_jobs
from app.store.store import Store
from app.webhooks.deliverer import RetryLimits, delivery_after
from app.webhooks.outbox import Outbox, Owed
from app.webhooks.records import (
    DAMAGED,
    Delivery,
    DeliveryState,
    delivery_of,
    delivery_record_of,
    write_delivery,
)
from app.webhooks.sender import Attempt
from tests.support.held_jobs import create_pull, finish_pull
from tests.support.processes import python

URL = "https://receiver.example/ended?token=1"
HOLDS = """
import sys
from pathlib import Path
from app.build import build_jobs
from app.webhooks.outbox import Outbox
from tests.support.held_jobs import store_on

store = store_on(Path(sys.argv[1]))
outbox = Outbox(store, build_jobs(store), keep=None)
(owed,) = outbox.due()
held = outbox.hold(owed)
assert held
print("held", flush=True)
sys.stdin.read()
"""
LIMITS = RetryLimits(pause_seconds=5, total_seconds=60)


@pytest.fixture
def outbox(store: Store, jobs: Jobs) -> Outbox:
    return Outbox(store, jobs, keep=None)


def ended(jobs: Jobs, webhook: str | None = URL) -> Job:
    """Create a job, finish it, and return it."""
    job = create_pull(jobs, webhook=webhook)
    return finish_pull(jobs, job)


def test_only_finished_jobs_with_a_webhook_are_due(jobs: Jobs, outbox: Outbox) -> None:
    """Neither a running job nor one without a webhook is due; a job is due from its end on, however it ended."""
    ended(jobs, webhook=None)
    done = ended(jobs)
    running = create_pull(jobs, webhook=URL)
    assert outbox.due() == [Owed(done.id, URL)]
    jobs.cancel(running.id)

    assert outbox.due() == [Owed(done.id, URL), Owed(running.id, URL)]
    assert outbox.pending == 2


def test_one_process_sends_and_another_goes_on_after_its_death(store: Store, jobs: Jobs, outbox: Outbox) -> None:
    """While a process holds a delivery, no other can; after its death, another process holds the same delivery."""
    job = ended(jobs)
    (owed,) = outbox.due()
    with python(HOLDS, store.root) as other:
        assert outbox.hold(owed) is None
        other.kill()
        other.wait()

    held = outbox.hold(owed)

    assert held
    assert (held.job.id, held.delivery.attempts) == (job.id, 0)
    assert outbox.hold(owed) is None
    held.write(replace(held.delivery, state=DeliveryState.DELIVERED, attempts=1))
    held.release()
    assert outbox.hold(owed) is None
    assert outbox.due() == []
    assert outbox.pending == 0


def test_the_next_attempt_comes_when_it_is_due(store: Store, jobs: Jobs) -> None:
    """A service that has just started does not send a webhook before the time of its next attempt."""
    later, now, set_back = (ended(jobs) for _ in range(3))
    for job, pause in ((later, timedelta(hours=2)), (now, timedelta(0)), (set_back, timedelta(days=400))):
        pending = Delivery(job.id, datetime.now(UTC), attempts=1, next_attempt_at=datetime.now(UTC) + pause)
        write_delivery(store.volume.webhooks_dir, pending)

    due = Outbox(store, jobs, keep=None).due()

    # A time that far ahead is of a clock that has been set back since.
    assert [owed.job_id for owed in due] == [now.id, set_back.id]


@pytest.mark.parametrize("state", [DeliveryState.FAILED, DeliveryState.DELIVERED])
def test_a_webhook_is_sent_again_if_its_record_is_removed(
    store: Store, jobs: Jobs, outbox: Outbox, state: DeliveryState
) -> None:
    """An operator can have a delivery that is over made again without a restart of the services; it is shown as over
    until then.
    """
    job, other = ended(jobs), ended(jobs)
    over = Delivery("", datetime.now(UTC), state, attempts=3, last_error="the receiver answered 410")
    for each in (job, other):
        write_delivery(store.volume.webhooks_dir, replace(over, id=each.id))
    assert outbox.due() == outbox.due() == []
    assert delivery_of(store.volume, job) == replace(over, id=job.id)

    delivery_record_of(store.volume.webhooks_dir, job.id).unlink()

    assert outbox.due() == [Owed(job.id, URL)]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_pause_ends_if_its_record_is_removed(store: Store, jobs: Jobs, outbox: Outbox, *, is_damaged: bool) -> None:
    """The removal of a record ends the pause that it has caused, but not that of a webhook that cannot be recorded."""
    job, unrecorded = ended(jobs), ended(jobs)
    record = delivery_record_of(store.volume.webhooks_dir, job.id)
    later = datetime.now(UTC) + timedelta(hours=2)
    write_delivery(store.volume.webhooks_dir, Delivery(job.id, datetime.now(UTC), attempts=9, next_attempt_at=later))
    if is_damaged:
        record.write_text("{")
    outbox.postpone(Owed(unrecorded.id, URL), 7200)
    assert outbox.due() == outbox.due() == []

    record.unlink()

    assert outbox.due() == [Owed(job.id, URL)]


def test_a_damaged_record_is_left_until_it_is_removed(store: Store, jobs: Jobs) -> None:
    """A damaged record is reported and stays; the webhook is not sent, until the record is gone."""
    job, other = ended(jobs), ended(jobs)
    record = delivery_record_of(store.volume.webhooks_dir, job.id)
    record.write_text("{")
    outbox = Outbox(store, jobs, keep=None)

    assert [owed.job_id for owed in outbox.due()] == [other.id]
    assert outbox.hold(Owed(job.id, URL)) is None
    shown = delivery_of(store.volume, job)

    assert shown
    assert (shown.state, shown.last_error) == (DeliveryState.FAILED, DAMAGED)
    assert [each.kind for each in store.volume.records.damaged()] == ["webhook"]
    assert record.read_text() == "{"
    record.unlink()
    assert [owed.job_id for owed in Outbox(store, jobs, keep=None).due()] == [job.id, other.id]


def test_a_job_is_kept_until_its_webhook_is_sent(store: Store, jobs: Jobs, outbox: Outbox) -> None:
    """A sweep keeps a job whose webhook is pending; afterwards it removes the job, and later the delivery's record."""
    job, plain = ended(jobs), ended(jobs, webhook=None)
    assert sweep_jobs(jobs, timedelta(0), outbox.needs_job) == [plain.id]
    # A service that sends no webhooks keeps the job for a limited time only.
    assert not Outbox(store, jobs, keep=timedelta(0)).needs_job(job)
    assert Outbox(store, jobs, keep=timedelta(hours=1)).needs_job(job)

    write_delivery(store.volume.webhooks_dir, Delivery(job.id, job.updated_at, DeliveryState.DELIVERED, 1))
    assert sweep_jobs(jobs, timedelta(0), outbox.needs_job) == [job.id]

    record = delivery_record_of(store.volume.webhooks_dir, job.id)
    outbox.sweep()
    assert record.exists()
    os.utime(record, (0, 0))
    outbox.sweep()
    assert not record.exists()


def test_a_record_of_a_running_job_is_never_swept(store: Store, jobs: Jobs, outbox: Outbox) -> None:
    """The sweep removes only records of jobs that are gone, and files that killed processes left."""
    job = ended(jobs)
    write_delivery(store.volume.webhooks_dir, Delivery(job.id, job.updated_at, attempts=1))
    record = delivery_record_of(store.volume.webhooks_dir, job.id)
    draft, foreign = record.with_suffix(".0123.new"), record.with_name("notes.txt")
    for path in (draft, foreign):
        path.touch()
    for path in (record, draft, foreign):
        os.utime(path, (0, 0))

    outbox.sweep()

    assert [path.exists() for path in (record, draft, foreign)] == [True, False, True]


def delivery_with(*attempts: Attempt, limits: RetryLimits = LIMITS) -> Delivery:
    delivery = Delivery("a", datetime.now(UTC))
    for attempt in attempts:
        delivery = delivery_after(delivery, attempt, limits)
    return delivery


def pause_of(delivery: Delivery) -> float:
    assert delivery.next_attempt_at
    return (delivery.next_attempt_at - delivery.updated_at).total_seconds()


def test_pauses_double_and_are_partly_random() -> None:
    """Each pause is between half of the doubled one and all of it, up to an hour."""
    patient = RetryLimits(pause_seconds=5, total_seconds=1e9)
    for count, longest in ((1, 5), (2, 10), (5, 80), (40, 3600)):
        pauses = {pause_of(delivery_with(*[Attempt("no")] * count, limits=patient)) for _ in range(20)}
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


@pytest.mark.parametrize(("asked", "pause"), [(30.0, 30.0), (59.0, 59.0), (1e9, 60.0)])
def test_the_receiver_can_ask_for_a_longer_pause(asked: float, pause: float) -> None:
    """Retry-After lengthens a pause, but not beyond the time that is left."""
    assert pause_of(delivery_with(Attempt("no", retry_after_seconds=asked))) == pytest.approx(pause)


def test_a_webhook_is_given_up_after_its_time() -> None:
    """When the pauses together have taken OCR_WEBHOOK_RETRY_TIME, one last attempt is made."""
    twice = delivery_with(Attempt("no", retry_after_seconds=100))
    assert twice.state is DeliveryState.PENDING

    last = delivery_after(twice, Attempt("still not"), LIMITS)

    assert (last.state, last.attempts, last.last_error) == (DeliveryState.FAILED, 2, "still not")
    assert last.next_attempt_at is None
    assert delivery_after(twice, Attempt(), LIMITS).state is DeliveryState.DELIVERED


def test_gone_is_final() -> None:
    """After 410 nothing is sent any more."""
    assert delivery_with(Attempt("gone", is_final=True)).state is DeliveryState.FAILED
