"""The claims and the log of jobs of units: each unit has one result, whoever is killed between which two steps."""

import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.api.ai.routes import RESULTS
from app.build import build_jobs
from app.errors import JobNotFound, StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.progress import Progress
from app.jobs.records import JobState, new_job
from app.jobs.sweep import sweep_jobs
from app.jobs.units import open_jobs
from app.jobs.units.records import JobFolder, Task, Unit, failure_of
from app.jobs.units.unit_claims import Claim, JobEnded, Outcome, UnitClaims
from app.jobs.units.unit_jobs import UnitCounts, UnitJobs
from app.store.records.forms import RecordDamaged
from app.store.store import Store
from tests.support.held_jobs import DAY, files, store_on
from tests.support.unit_works import (
    KIND,
    ME,
    create,
    create_of,
    finish,
    folder_of,
    log_lines,
    numbers_of,
    outcome_of,
    results_file,
    results_of,
)


def another(store: Store) -> Jobs:
    """Return the jobs of another service on the folder."""
    return build_jobs(store_on(store.root))


def claimed(jobs: Jobs, job_id: str) -> Claim:
    """Claim the next unit of a job. Fails if there is none."""
    claim = jobs.units.claims.claim(jobs.get(job_id))
    assert claim
    return claim


def test_two_services_give_each_unit_one_result(store: Store, jobs: Jobs) -> None:
    """Four threads of two services race for forty units: forty results, one end, and the record has succeeded."""
    job = create(jobs, *map(str, range(40)))
    services = [jobs, another(store)]

    def work(service: Jobs) -> int:
        done = 0
        while claim := service.units.claims.claim(job):
            finish(service, claim)
            done += 1
        return done

    with ThreadPoolExecutor(4) as threads:
        done = sum(threads.map(work, services * 2))

    assert (done, numbers_of(jobs, job)) == (40, list(range(40)))
    assert log_lines(store, job).count("end") == 1
    found = another(store).get(job.id)
    assert (found.state, found.result, found.progress.done) == (JobState.SUCCEEDED, {"failed_count": 0}, 40)


def test_a_unit_is_claimed_by_one_service_at_a_time(store: Store, jobs: Jobs) -> None:
    """While a service works on the only unit, neither itself nor another service can claim it; after that, both can."""
    job, other = create(jobs, "a"), another(store)

    claim = claimed(jobs, job.id)
    assert [each.units.claims.claim(job) for each in (jobs, other)] == [None, None]
    claim.release()
    second = claimed(other, job.id)

    assert (claim.attempts, claim.is_first, second.attempts, second.is_first) == (1, True, 2, False)
    finish(other, second)
    assert jobs.get(job.id).state == JobState.SUCCEEDED


def test_a_unit_that_is_given_back_has_no_attempt(store: Store, jobs: Jobs) -> None:
    """A return does not count as an attempt; a claim that ended without a return, as by a kill, does."""
    job = create(jobs, "a")
    attempts = []
    for is_given_back in (True, False, True, False):
        claim = claimed(jobs, job.id)
        attempts.append(claim.attempts)
        if is_given_back:
            jobs.units.claims.give_back(claim)
        claim.release()

    assert attempts == [1, 1, 2, 2]
    assert claimed(another(store), job.id).attempts == 3


def test_a_torn_line_of_the_log_damages_only_itself(store: Store, jobs: Jobs) -> None:
    """A kill within an append leaves half a line: readers ignore it, and the next entry has a line of its own."""
    job = create(jobs, "a", "b")
    finish(jobs, claimed(jobs, job.id))
    with folder_of(store, job).log.open("ab") as log:
        log.write(b'{"event":"result","unit":1,"at":"2026')

    late = another(store)
    assert numbers_of(late, job) == [0]
    finish(late, claimed(late, job.id))

    assert numbers_of(jobs, job) == [0, 1]
    lines = [line for line in folder_of(store, job).log.read_text().splitlines() if line]
    assert lines.pop(2) == '{"event":"result","unit":1,"at":"2026'
    assert [json.loads(line)["event"] for line in lines] == ["begun", "result", "begun", "result", "end"]


@pytest.mark.parametrize("left", [b'{"unit": 0, "te', b'{"unit": 0, "text": "a"}\n'])
def test_a_result_without_its_entry_is_no_result(store: Store, jobs: Jobs, left: bytes) -> None:
    """A kill after the result and before its entry in the log, or within the result: the unit is done again, once."""
    job = create(jobs, "a")
    claim = claimed(jobs, job.id)
    results_file(jobs, folder_of(store, job).path).write_bytes(left)
    claim.release()

    late = another(store)
    assert results_of(late, job) == []
    finish(late, claimed(late, job.id))

    assert results_of(jobs, job) == [{"unit": 0, "text": "a"}]
    assert jobs.get(job.id).state == JobState.SUCCEEDED


def test_a_second_result_of_a_unit_is_dropped(store: Store, jobs: Jobs) -> None:
    """A service whose lock was lost, as on a network file system, completes a unit late: the first result stays."""
    job, other = create(jobs, "a", "b"), another(store)
    late = claimed(jobs, job.id)
    late.lock.close()
    first = claimed(other, job.id)
    assert (late.number, first.number) == (0, 0)

    finish(other, first)
    jobs.units.claims.complete(late, Outcome('{"unit": 0, "text": "late"}'))

    assert results_of(other, job) == [{"unit": 0, "text": "a"}]


def test_a_job_with_all_results_and_no_end_is_ended_by_the_next_claim(
    store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the last result and the end: the next claim of any service ends the job."""
    job = create(jobs, "a")
    claim = claimed(jobs, job.id)
    monkeypatch.setattr(jobs.units._open_jobs, "end", killed)
    with pytest.raises(Killed):
        jobs.units.claims.complete(claim, outcome_of(claim))
    claim.release()
    assert log_lines(store, job) == ["begun", "result"]

    assert another(store).units.claims.claim(job) is None

    assert jobs.get(job.id).state == JobState.SUCCEEDED
    assert log_lines(store, job) == ["begun", "result", "end"]


def test_an_end_that_is_missing_in_the_record_is_written_by_the_next_claim(
    store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the end in the log and the record: the next claim of any service writes the record, once."""
    job = create_of(jobs, [Unit()], files=[b"image"])
    monkeypatch.setattr(jobs.units._open_jobs, "show", killed)
    with pytest.raises(Killed):
        jobs.cancel(job.id)
    assert (jobs.get(job.id).state, log_lines(store, job)) == (JobState.QUEUED, ["end"])

    late = another(store)
    assert late.units.claims.claim(job) is None
    shown = late.get(job.id)
    assert another(store).units.claims.claim(job) is None

    assert (shown.state, late.get(job.id)) == (JobState.CANCELLED, shown)
    assert list(folder_of(store, job).inputs.iterdir()) == []


def test_a_cancellation_ends_a_unit_of_another_service(store: Store, jobs: Jobs) -> None:
    """The service that works on a unit sees the end, and its late result is dropped; another cancel changes nothing."""
    job, other = create(jobs, "a", "b"), another(store)
    claim = claimed(jobs, job.id)
    assert not jobs.units.claims.is_ended(claim)

    cancelled = other.cancel(job.id)

    assert jobs.units.claims.is_ended(claim)
    finish(jobs, claim)
    assert (cancelled.state, results_of(jobs, job)) == (JobState.CANCELLED, [])
    assert [each.get(job.id) for each in (jobs, other)] == [cancelled, cancelled]
    assert other.cancel(job.id) == cancelled
    assert jobs.units.claims.claim(job) is None


@pytest.mark.parametrize(("failed", "state"), [([0], JobState.SUCCEEDED), ([0, 1], JobState.FAILED)])
def test_a_job_fails_only_if_all_its_units_fail(jobs: Jobs, failed: list[int], state: JobState) -> None:
    """A job whose units all failed has the failure of its first unit."""
    job = create(jobs, "a", "b")
    for number in (0, 1):
        claim = claimed(jobs, job.id)
        failure = failure_of(ValueError(f"unit {number}")) if number in failed else None
        jobs.units.claims.complete(claim, Outcome(f'{{"unit": {number}}}', failure))
        claim.release()

    found = jobs.get(job.id)

    assert found.state == state
    assert (found.failure and found.failure.detail) == ("unit 0" if state == JobState.FAILED else None)
    assert jobs.units.counts(job) == UnitCounts(len(failed), 0)


@pytest.mark.parametrize("content", [b"", b"#\n"])
def test_a_finished_job_whose_log_is_lost_is_not_begun_again(store: Store, jobs: Jobs, content: bytes) -> None:
    """A service that has listed the job before its end claims none of its units, and leaves the record as it is."""
    job = create(jobs, "a", "b")
    for _ in range(2):
        finish(jobs, claimed(jobs, job.id))
    ended = jobs.get(job.id)
    replaced = folder_of(store, job).log.with_suffix(".other")
    replaced.write_bytes(content)
    replaced.replace(folder_of(store, job).log)

    for each in (jobs, another(store)):
        assert each.units.claims.claim(job) is None
        with pytest.raises(JobEnded):
            each.units.claims.claim_unit(job, 0, lambda *_: True)
        assert each.get(job.id) == ended
        assert each.units.counts(ended) == UnitCounts(2, 2)


def test_files_of_callers_are_private(store: Store, jobs: Jobs) -> None:
    """Texts, passwords, results and images can be read by the service's user alone; images go with their results."""
    job = create_of(jobs, [Unit(text="secret", password="secret"), Unit()], files=[b"image", b"image"])
    claim = claimed(jobs, job.id)
    finish(jobs, claim)
    folder = folder_of(store, job)

    results = results_file(jobs, folder.path).name
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir() if path != folder.record}

    assert modes == {"in": 0o700, "units.jsonl": 0o600, "task.json": 0o600, "log.jsonl": 0o600, results: 0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert [path.name for path in folder.inputs.iterdir()] == ["1"]
    assert "secret" not in folder.record.read_text() + folder.log.read_text()


def test_a_sweep_removes_finished_jobs_and_folders_without_a_record(store: Store, jobs: Jobs) -> None:
    """A job goes with its files after its retention; a folder that a killed service was receiving, once it is old."""
    ended, waiting = create(jobs, "a"), create(jobs, "b")
    jobs.cancel(ended.id)
    with jobs.units.new() as received:
        received.add_all([Unit(text="c")])
        sweep_jobs(jobs, DAY)
        old(received.folder.path)
        sweep_jobs(another(store), DAY)  # another service still receives it
        assert files(store) == sorted([ended.id, waiting.id, received.folder.path.name])
        received.is_created = True  # as if it was killed now
    old(received.folder.path)

    assert sweep_jobs(another(store), timedelta(0)) == [ended.id]

    assert files(store) == [waiting.id]
    assert [job.id for job in jobs.newest()] == [waiting.id]


def test_a_sweep_removes_a_job_that_was_not_created_in_time(store: Store, jobs: Jobs) -> None:
    """A service that is killed between the record of a new job and the folder's name leaves nothing for ever."""
    with jobs.units.new() as received:
        received.add_all([Unit(text="c")])
        received.finish(Task({}))
        received.folder.record.write_text("{}")
        received.is_created = True  # as if it was killed now
    old(received.folder.path)

    sweep_jobs(another(store), DAY)

    assert files(store) == []


def test_the_folder_of_a_job_has_its_name_only_with_a_record(jobs: Jobs) -> None:
    """Other services find no folder of a job before its record and its log are in it.

    A client of NFS that has looked for a missing file does not find it for half a minute.
    """
    seen = []
    with jobs.units.new() as new:
        folder = JobFolder(jobs.volume.jobs_dir, new.job_id)
        new.add_all([Unit(text="a")])
        seen.append(folder.path.exists())
        new.finish(Task({}))
        seen.append(folder.path.exists())
        job = new.become(replace(new_job(KIND, {}, ME, Progress()), id=new.job_id, units=1))

    assert seen == [False, False]
    assert folder.record.exists()
    assert folder.log.read_bytes() == b""
    assert jobs.get(job.id) == job


def test_units_that_become_no_job_leave_nothing(store: Store, jobs: Jobs) -> None:
    """If a request ends before a job is created, as by an error, its folder is removed at once."""
    with jobs.units.new() as new:
        new.add_all([Unit(text="a")])

    assert files(store) == []


def test_a_job_of_a_newer_version_is_left_alone(store: Store, jobs: Jobs) -> None:
    """Entries and fields that this version does not know are ignored, and an unknown task is another version's."""
    known = create(jobs, "a")
    log = folder_of(store, known).log
    log.write_text('{"event":"lent","at":"2026-11-27T00:00:00Z","unit":0,"to":"x"}\n[]\n\n\xff\n')
    claim = claimed(jobs, known.id)
    assert claim.attempts == 1
    finish(jobs, claim)

    assert jobs.get(known.id).state == JobState.SUCCEEDED
    newer = create_of(jobs, [Unit(text="a")], Task({"more": 1}))
    with pytest.raises(RecordDamaged):
        jobs.units.claims.claim(newer, lambda _, task: not task.parameters)
    assert folder_of(store, newer).log.read_bytes() == b""


class Killed(Exception):
    """The process is killed here."""


def killed(*_: object) -> None:
    raise Killed


def old(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_the_memory_of_finished_units_is_bounded(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs that were used least are forgotten, never one with a claimed unit, and each can be used again."""
    monkeypatch.setattr(open_jobs, "MOST_OPEN_UNITS", 5)
    held = create(jobs, "a", "b")
    claim = jobs.units.claims.claim(held)
    assert claim
    others = [create(jobs, "c", "d") for _ in range(4)]
    for job in others:
        while found := jobs.units.claims.claim(job):
            finish(jobs, found)

    remembered = jobs.units._open_jobs._by_id  # memory has no other sign that is quick to measure
    assert list(remembered) == [held.id, others[-1].id]
    assert [numbers_of(jobs, job) for job in others] == [[0, 1]] * 4
    finish(jobs, claim)
    assert numbers_of(jobs, held) == [0]


def test_a_unit_that_was_done_while_its_job_was_forgotten_is_not_done_again(
    store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service has read a job's log; before it locks a unit, another thread makes it forget the job, and another
    service completes the unit."""
    monkeypatch.setattr(open_jobs, "MOST_OPEN", 1)
    job, other_job, other = create(jobs, "a", "b"), create(jobs, "c"), another(store)
    lock_one, calls = UnitClaims._lock_one, []

    def lock_one_later(*about: Any) -> int | None:
        calls.append(about)
        if len(calls) == 1:
            jobs.units.results(other_job, after=0, limit=1)
            finish(other, claimed(other, job.id))
        return lock_one(*about)

    monkeypatch.setattr(UnitClaims, "_lock_one", lock_one_later)
    claim = claimed(jobs, job.id)

    assert claim.number == 1
    assert not jobs.units.claims.is_done(claim)
    finish(jobs, claim)
    assert jobs.units.claims.is_done(claim)
    assert numbers_of(jobs, job) == [0, 1]


def test_a_job_that_could_not_be_queued_leaves_nothing(store: Store, jobs: Jobs) -> None:
    """Another service may have seen the record: it gets no unit, and the folder is removed."""
    other = build_jobs(store_on(store.root))
    with jobs.units.new() as new:
        new.add_all([Unit(text="a")])
        job = jobs.units.create(new, KIND, {}, ME, Task({}))
        assert [each.id for each in other.unfinished_of_units()] == [job.id]
        jobs.units.withdraw(new)
        with pytest.raises(JobNotFound):
            other.get(job.id)
        assert other.volume.records.damaged() == []

    assert other.units.claims.claim(job) is None
    assert other.unfinished_of_units() == []
    assert not folder_of(store, job).path.exists()


def test_a_result_that_cannot_be_read_for_a_moment_is_not_passed_over(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is refused if the disk does not answer, so that no caller's cursor moves past a result."""
    job = create(jobs, "a")
    claim = jobs.units.claims.claim(job)
    assert claim
    finish(jobs, claim)

    def fail(*_: object) -> bytes:  # stands in for a disk that answers EIO once
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(UnitJobs, "read_result", fail)

    with pytest.raises(StoreUnavailable):
        RESULTS.read(jobs, jobs.get(job.id), after=0, limit=1)
