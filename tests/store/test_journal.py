"""The journal: its entries, its rotation, and what happens when its file is damaged or cannot be written."""

import errno
import json
import os
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import TrashEntryNotFound
from app.store.actor import Actor
from app.store.journal.entries import Action, JournalEntry
from app.store.journal.files import READ_BYTES, ROTATE_BYTES, JournalFiles
from app.store.journal.journal import Journal
from app.store.locks.model_locks import ModelLocks
from app.store.policy import Policy
from app.store.store import Store
from app.store.volume.filesystem import FileSystem
from app.store.volume.renames import sync

ME = Actor("me", "request-1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    (store.root / "org_repo").mkdir()
    (store.root / "org_repo/a.gguf").write_bytes(b"content")
    return store


def trash(store: Store) -> str:
    trash_id = store.deletions.delete(store.deletions.plan("org_repo/a.gguf"), ME).trash_id
    assert trash_id is not None
    return trash_id


def event(number: int) -> JournalEntry:
    return JournalEntry(datetime.now(UTC), "me", "trashed", "a.bin", None, number, None)


def test_each_change_has_an_entry_with_its_actor(store: Store) -> None:
    """Every change has one entry with its actor, newest first. A refused change has none."""
    trash_id = trash(store)
    store.trash.restore(trash_id, "b.bin", ME)
    store.deletions.delete(store.deletions.plan("b.bin", permanent=True), Actor("you"))
    with pytest.raises(TrashEntryNotFound):
        store.trash.purge(trash_id)

    events = store.journal.latest(10)

    assert [(e.action, e.name, e.actor) for e in events] == [
        ("deleted", "b.bin", "you"),
        ("restored", "b.bin", "me"),
        ("trashed", "org_repo/a.gguf", "me"),
    ]
    assert (events[1].trash_id, events[1].request_id) == (trash_id, "request-1")
    assert [event.action for event in store.journal.latest(1)] == ["deleted"]


def test_a_full_journal_is_rotated_and_damaged_lines_are_skipped(store: Store) -> None:
    """A journal beyond ROTATE_BYTES is renamed and still read; a line that is not an entry is skipped."""
    journal = store.volume.journal_file
    trash_id = trash(store)
    with journal.open("ab") as file:
        file.write(b'{"at": "2026-\n' + b" " * ROTATE_BYTES + b"\n")

    store.trash.restore(trash_id)  # the journal is full after this line, and is rotated
    trash(store)  # this line is written to a new file

    assert journal.stat().st_size < 1000
    assert [event.action for event in store.journal.latest(10)] == ["trashed", "restored", "trashed"]


def test_readers_miss_no_entry_during_a_rotation(store: Store) -> None:
    """Readers get the entries in order and without a gap from both files while a writer rotates the journal."""
    done = threading.Event()

    def write() -> None:
        for number in range(60):
            padding = "x" * (ROTATE_BYTES // 8)
            store.journal.write(JournalEntry(datetime.now(UTC), padding, "trashed", "a.bin", None, number, None))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        numbers = [event.size_bytes for event in store.journal.latest(4)]
        assert numbers == list(range(numbers[0], numbers[0] - len(numbers), -1)) if numbers else True
        assert len(numbers) == min(4, numbers[0] + 1) if numbers else True
    writer.join()
    assert store.journal.latest(1)[0].size_bytes == 59


def test_several_writers_may_rotate_at_once(store: Store) -> None:
    """Eight threads that rotate the journal at the same time raise no error."""
    files = JournalFiles(store.volume, store.locks, rotate_bytes=0)  # every line causes a rotation
    journal = Journal(store.volume, store.locks, lambda *_: None, files)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(journal.write, map(event, range(400))))

    assert journal.latest(1)


def test_an_entry_after_a_line_cut_short_can_be_read(store: Store) -> None:
    """An entry that is written after a line without an end begins a new line."""
    store.journal.write(event(1))
    with store.volume.journal_file.open("ab") as file:
        file.write(b'{"at": "2026-')

    store.journal.write(event(2))

    assert [each.size_bytes for each in store.journal.latest(10)] == [2, 1]


def test_the_latest_entries_of_a_long_journal_take_little_memory(store: Store) -> None:
    """Of a journal of 8 MiB, one entry is read with less than a megabyte of memory: from the end of the file."""
    store.journal.write(event(1))
    line = store.volume.journal_file.read_bytes()
    with store.volume.journal_file.open("ab") as file:
        file.write(line * (ROTATE_BYTES // len(line)) + event(2).to_line())
    store.journal.latest(1)

    tracemalloc.start()
    try:
        assert [each.size_bytes for each in store.journal.latest(2)] == [2, 1]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.lists(st.sampled_from([0, 1, 200, READ_BYTES - 300, READ_BYTES, 3 * READ_BYTES]), max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_lines_of_any_length_are_read_whole(store: Store, lengths: list[int]) -> None:
    """Entries are read in their order and whole, wherever the borders between two reads of the file are."""
    entries = [JournalEntry(datetime.now(UTC), "x" * length, "trashed", "a.bin", None, 1, None) for length in lengths]
    store.volume.journal_file.write_bytes(b"".join(entry.to_line() for entry in entries))

    assert [len(each.actor) for each in store.journal.latest(100)] == lengths[::-1]


def test_a_line_of_a_newer_service_is_read(store: Store) -> None:
    """An unknown field is ignored, and an unknown action is kept."""
    newer = json.loads(event(1).to_line()) | {"action": "encrypted", "key": "k1"}
    with store.volume.journal_file.open("a") as file:
        file.write(json.dumps(newer) + "\n")

    assert [(each.action, each.size_bytes) for each in store.journal.latest(10)] == [("encrypted", 1)]


def test_a_failure_to_write_the_journal_does_not_undo_the_change(tmp_path: Path) -> None:
    """A deletion whose entry cannot be written succeeds, and the event `journal.failed` is reported."""
    events: list[str] = []
    store = Store(
        tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda event, _: events.append(event)
    )
    store.open()
    (store.root / "a.bin").touch()
    store.volume.journal_file.mkdir()

    assert store.deletions.delete(store.deletions.plan("a.bin")).trash_id is not None
    assert events == ["model.trashed", "journal.failed", "change.incomplete"]


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_line_that_could_not_be_synced_is_in_the_journal_once(store: Store, *, is_lost: bool) -> None:
    """The entry waits until a sync succeeds, and its line is written again only if the file lacks it.

    The failing sync is a fake: a client of a network file system that drops the line cannot be had on demand.
    """
    server_answers = threading.Event()

    def sync_if_server_answers(journal: int) -> None:
        if server_answers.is_set():
            return sync(journal)
        if is_lost:
            os.ftruncate(journal, 0)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    files = JournalFiles(store.volume, store.locks, sync=sync_if_server_answers)
    journal = Journal(store.volume, store.locks, lambda *_: None, files)
    journal.record(ME, Action.TRASHED, "a.bin", "entry-1", 0)
    journal.retry()
    assert (journal.waiting, journal.problem is None) == (1, False)

    server_answers.set()
    journal.retry()

    assert (journal.waiting, journal.problem) == (0, None)
    assert [each.trash_id for each in journal.latest(10)] == ["entry-1"]


@pytest.mark.parametrize("rotate_bytes", [1, 1 << 20], ids=["rotated", "not rotated"])
def test_a_line_that_a_shared_volume_has_lost_is_written_again(store: Store, rotate_bytes: int) -> None:
    """A line that was synced and is not in the journal seconds later is written again; any other line is there once.

    The sync that loses the second line is a fake: no file system loses a line on demand.
    """
    events, lost = list[str](), list[int]()
    store.volume.file_system = FileSystem("nfs4")

    def lose_the_second(journal: int) -> None:
        lines = os.pread(journal, 1 << 20, 0)
        if b'"size_bytes": 2' in lines and not lost:
            lost.append(2)
            os.ftruncate(journal, lines.rstrip().rfind(b"\n") + 1)

    files = JournalFiles(store.volume, store.locks, rotate_bytes=rotate_bytes, sync=lose_the_second)
    journal = Journal(store.volume, store.locks, lambda name, _: events.append(name), files, confirm_seconds=0)
    for number in (1, 2):
        journal.write(event(number))
    assert [each.size_bytes for each in journal.latest(10)] == [1]

    for _ in range(3):
        journal.retry()

    assert [each.size_bytes for each in journal.latest(10)] == [2, 1]
    assert events == ["journal.failed", "journal.caught_up"]
    assert (journal.waiting, journal.problem) == (0, None)


def test_one_thread_at_a_time_asks_a_shared_volume_for_the_journals_lock(store: Store) -> None:
    """While a thread writes, the others wait in the process, and do not ask the server of the volume for the lock."""

    class CountedLocks(ModelLocks):
        asking, most_asking = 0, 0

        @contextmanager
        def exclusive(self, name: str, *, seconds: float) -> Iterator[None]:
            self.asking += 1
            self.most_asking = max(self.most_asking, self.asking)
            try:
                with super().exclusive(name, seconds=seconds):
                    yield
            finally:
                self.asking -= 1

    store.volume.file_system = FileSystem("nfs4")
    locks = CountedLocks(store.volume.lock_file)
    journal = Journal(store.volume, locks, lambda *_: None)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(journal.write, map(event, range(200))))

    assert locks.most_asking == 1
    assert sorted(each.size_bytes for each in journal.latest(300)) == list(range(200))
