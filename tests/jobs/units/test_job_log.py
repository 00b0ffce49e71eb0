"""The log and the results of a job on a volume on which this machine may see an older state of a file."""

import errno
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.build import build_jobs
from app.errors import StoreUnavailable
from app.jobs.records import Failure, JobState
from app.jobs.units import job_log, open_jobs, records
from app.jobs.units.job_log import JobLog
from app.jobs.units.open_jobs import OpenJob, entry
from app.jobs.units.records import MAX_DETAIL_CHARS, MAX_ENTRY_BYTES, EntryKind, JobFolder, ResultPlace
from app.store.records import reader
from app.store.records.forms import RecordDamaged
from app.store.records.reader import read_regular
from tests.support.held_jobs import store_on
from tests.support.unit_works import create, finish_one, folder_of, numbers_of, results_file, results_of
from tests.support.waiting import eventually

WRITER = "0123456789abcdef"


def result(unit: int, **fields: Any) -> records.Entry:
    return entry(EntryKind.RESULT, unit=unit, offset=0, length=3, writer=WRITER, **fields)


def line_of(found: records.Entry) -> str:
    return f"{found.to_json()}\n"


def place(length: int, writer: str | None = WRITER) -> ResultPlace:
    return ResultPlace(0, 0, length, writer, time.monotonic())


def test_an_append_with_an_old_size_removes_nothing(tmp_path: Path) -> None:
    """A machine that has not read what another one has appended keeps it, and reads it after its own append."""
    path = tmp_path / "log.jsonl"
    one, other = JobLog(path, 3), JobLog(path, 3)
    one.append(result(0), is_lasting=False)
    other.refresh()
    one.append(result(1), result(2), is_lasting=False)

    other.append(entry(EntryKind.END, state=JobState.SUCCEEDED), is_lasting=False)
    one.refresh()

    for log in (one, other):
        assert ([each.unit for each in log.results], log.end) == ([0, 1, 2], JobState.SUCCEEDED)


def test_the_first_result_and_the_first_end_count(tmp_path: Path) -> None:
    """Of two results of a unit, and of what follows the end, every reader takes what is first in the log."""
    path = tmp_path / "log.jsonl"
    first, second = result(0), result(0, failure=Failure("ValueError", "late"))
    ends = [entry(EntryKind.END, state=state) for state in (JobState.CANCELLED, JobState.SUCCEEDED)]
    path.write_text("".join(map(line_of, [first, second, ends[0], result(1), ends[1]])))
    log = JobLog(path, 2)
    log.refresh()

    assert ([each.unit for each in log.results], log.failures) == ([0], {})
    assert (log.end, log.ended_at) == (JobState.CANCELLED, ends[0].at)


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_smaller_size_is_no_other_log_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_shared: bool
) -> None:
    """On a shared volume a smaller size may be an older one: only if it stays, the log was shortened."""
    path = tmp_path / "log.jsonl"
    log = JobLog(path, 2, is_shared=is_shared)
    log.append(result(0), result(1), is_lasting=False)
    whole = path.read_bytes()

    os.truncate(path, len(line_of(result(0))))
    log.refresh()
    assert len(log.results) == (2 if is_shared else 0)
    path.write_bytes(whole)
    log.refresh()
    assert len(log.results) == 2

    os.truncate(path, 0)
    log.refresh()
    monkeypatch.setattr(job_log, "FRESH_SECONDS", 0.0)
    log.refresh()
    assert log.results == []


def test_another_log_of_the_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    """A log that was replaced, as from a backup, is another log, also on a shared volume and if it is longer."""
    path = tmp_path / "log.jsonl"
    log = JobLog(path, 9, is_shared=True)
    log.append(result(0), is_lasting=False)
    (tmp_path / "new").write_text("".join(line_of(result(unit)) for unit in (1, 2, 3)))
    (tmp_path / "new").replace(path)

    log.refresh()

    assert [each.unit for each in log.results] == [1, 2, 3]


def test_an_entry_that_does_not_show_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service does not go on as if its entry were the first of its unit, if it cannot read the log to its end."""
    monkeypatch.setattr(job_log, "FRESH_SECONDS", 0.0)
    log = JobLog(tmp_path / "log.jsonl", 1, is_shared=True)
    # No machine here sees an old size: so the entry goes to another file than the one that is read.
    monkeypatch.setattr(job_log, "append", lambda *_args, **_about: 0)

    with pytest.raises(StoreUnavailable):
        log.append(result(0), is_lasting=False)


def test_the_longest_failure_fits_into_an_entry() -> None:
    """A message of characters that take twelve bytes each in JSON is read again."""
    failed = result(0, failure=Failure("StoreUnavailable", "\N{GRINNING FACE}" * MAX_DETAIL_CHARS))

    assert len(failed.to_json()) < MAX_ENTRY_BYTES


def looking(monkeypatch: pytest.MonkeyPatch, module: Any) -> Callable[[], None]:
    """Let a module look for longer than a test lasts, and return a function that waits until it has looked again."""
    pauses = list[float]()

    class ObservedTime:
        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

        def sleep(self, seconds: float) -> None:
            pauses.append(seconds)
            time.sleep(seconds)

    def has_looked() -> None:
        before = len(pauses)
        eventually(lambda: len(pauses) > before + 1)  # the first pause may follow a look that began before the call

    monkeypatch.setattr(module, "time", ObservedTime())
    monkeypatch.setattr(module, "FRESH_SECONDS", 120.0)
    return has_looked


def test_a_result_that_is_not_there_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log names a result that this machine sees a moment later, in part at first."""
    folder = JobFolder(tmp_path, "20261127T080000Z-0123456789ab")
    folder.path.mkdir()
    file, has_looked = folder.results_of(WRITER), looking(monkeypatch, records)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(folder.read_result, place(9), is_shared=True)
        has_looked()
        file.write_bytes(b'{"a"')
        has_looked()
        assert not read.done()
        with file.open("ab") as more:
            more.write(b": 1}\n")
        assert read.result() == b'{"a": 1}\n'


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_result_that_stays_away_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_shared: bool
) -> None:
    """A file that is missing or too short, without a wait on a local disk."""
    monkeypatch.setattr(records, "FRESH_SECONDS", 0.1 if is_shared else 1e9)
    folder = JobFolder(tmp_path, "20261127T080000Z-0123456789ab")
    folder.path.mkdir()
    for content in (None, b'{"a"'):
        if content:
            folder.results_of(WRITER).write_bytes(content)
        with pytest.raises(RecordDamaged):
            folder.read_result(place(9), is_shared=is_shared)


def test_results_of_an_entry_without_a_writer_are_read(tmp_path: Path) -> None:
    """The entries of a former version are about `results.jsonl`."""
    store = store_on(tmp_path / "models")
    jobs = build_jobs(store)
    job = create(jobs, "a", "b")
    finish_one(jobs, job)
    finish_one(jobs, job)
    folder = folder_of(store, job)
    results_file(jobs, folder.path).rename(folder.path / "results.jsonl")
    entries = [json.loads(line) for line in folder.log.read_text().splitlines() if line]
    folder.log.write_text("".join(json.dumps(each | {"writer": None}) + "\n" for each in entries))

    assert numbers_of(build_jobs(store_on(store.root)), job) == [0, 1]


def test_each_service_writes_results_of_its_own(tmp_path: Path) -> None:
    """Two services that take turns have a file each, and both show all results in the order of the log."""
    store = store_on(tmp_path / "models")
    services = [build_jobs(store), build_jobs(store_on(store.root))]
    job = create(services[0], *"abcd")
    for number in range(4):
        finish_one(services[number % 2], job)

    folder = folder_of(store, job).path
    assert [len(results_file(each, folder).read_bytes().splitlines()) for each in services] == [2, 2]
    assert [[found["text"] for found in results_of(each, job)] for each in services] == [list("abcd")] * 2


def test_the_log_of_an_ended_job_is_read_until_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record may show the end earlier than this machine sees it in the log: no result is left out."""
    path = tmp_path / "models"
    store = store_on(path)
    jobs = build_jobs(store)
    job = create(jobs, "a")
    folder = folder_of(store, job)
    open_job = OpenJob(job, folder, JobLog(folder.log, 1, is_shared=True))
    has_looked = looking(monkeypatch, open_jobs)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(open_job.refresh_to_end)
        has_looked()
        assert not read.done()
        finish_one(jobs, job)
        read.result()

    assert (open_job.log.end, len(open_job.log.results)) == (JobState.SUCCEEDED, 1)


@pytest.mark.parametrize("times", [1, 99])
def test_a_record_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A client of a file server answers ESTALE for the former file; a server that is gone answers so each time."""
    path, left = tmp_path / "job.json", [times]
    path.write_text("{}")

    def read(*about: Any) -> bytes:  # a local disk never answers so
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return os.read(*about)

    class StaleOs:
        def __getattr__(self, name: str) -> Any:
            return read if name == "read" else getattr(os, name)

    monkeypatch.setattr(reader, "os", StaleOs())
    if times == 1:
        assert read_regular(path, 99) == b"{}"
    else:
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            read_regular(path, 99)


def test_an_entry_names_no_file_but_that_of_results() -> None:
    """A writer in the log is sixteen hexadecimal digits: no log leads out of the job's folder."""
    now = datetime.now(UTC).isoformat()
    for writer in ("../../x", "0" * 15, "0" * 17, f"{WRITER}\n", "", WRITER.upper()):
        with pytest.raises(RecordDamaged):
            records.ENTRY.parse(json.dumps({"event": "result", "at": now, "writer": writer}).encode())
    assert records.ENTRY.parse(json.dumps({"event": "result", "at": now, "writer": WRITER}).encode()).writer == WRITER
