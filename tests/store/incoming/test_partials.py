"""Partial files of uploads and pulls are kept with a record, and any process can resume them."""

import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.build import build_jobs
from app.errors import DigestMismatch, PartialBusy, PartialNotFound, StoreFull
from app.jobs.sweep import sweep_jobs
from app.store.actor import Actor
from app.store.incoming import staging as staging_module
from app.store.incoming.partials import PartialRecord
from app.store.incoming.publish_conditions import Conditions
from app.store.incoming.staged_file import StagedFile
from app.store.incoming.staging import Staging
from app.store.locks.ofd import try_lock_file
from app.store.policy import Policy
from app.store.store import Store
from tests.support.held_jobs import create_pull
from tests.support.processes import python
from tests.support.waiting import eventually

ME = Actor("me")
DAY = timedelta(days=1)

KEEPS = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from app.store.volume.claims import Claims
from app.store.incoming.partials import PartialRecord
from app.store.expiry import Expiry, FolderClock
from app.store.incoming.staging import Staging
record = PartialRecord(sys.argv[2], "a.bin", "upload", "me", 12, datetime.now(UTC), timedelta(days=1))
from app.store.volume.volume import Volume
volume = Volume(Path(sys.argv[1]))
expiry = Expiry(FolderClock(volume.clock_file, volume.journal_file))
staged = Staging(volume.root, Claims(volume), volume.records, expiry).begin(["sha256"], keep=record)
staged.write(b"half")
print("written", flush=True)
sys.stdin.read()
"""


def opened(root: Path) -> Store:
    store = Store(root, Policy(), trash_retention=DAY, on_event=lambda *_: None)
    store.open()
    return store


def restarted(store: Store) -> Store:
    """Return the store of a new process, which has not seen what the old one has seen."""
    return opened(store.root)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return opened(tmp_path / "models")


@pytest.fixture
def staging(store: Store) -> Staging:
    return store.incoming.staging


def record(retention: timedelta = DAY, expected_bytes: int | None = 12) -> PartialRecord:
    extra = {"url": "https://hub.example/a.bin"}
    return PartialRecord(
        secrets.token_hex(16), "a.bin", "pull", "me", expected_bytes, datetime.now(UTC), retention, extra
    )


def files_in(store: Store) -> list[str]:
    return sorted(path.name for path in store.volume.staging_dir.iterdir())


def kept(staging: Staging, content: bytes, retention: timedelta = DAY) -> PartialRecord:
    keep = record(retention)
    staged = staging.begin(["sha256"], keep=keep)
    staged.write(content)
    staged.release()
    return keep


def age(store: Store, name: str, by: timedelta) -> None:
    """Set the modification time of a file in staging back by a duration."""
    path = store.volume.staging_dir / name
    seconds = path.stat().st_mtime - by.total_seconds()
    os.utime(path, (seconds, seconds))


def test_a_kept_file_can_be_resumed_and_published(store: Store) -> None:
    """The digest covers the bytes of all writers. The record shows the publication until the record expires."""
    keep = record()
    staged = store.incoming.begin(["sha512"], 12, keep=keep)
    staged.write(b"one two")
    staged.cut(4)
    staged.write(b"")
    assert staged.digest("sha512") == hashlib.sha512(b"one ").digest()
    staged.release()
    store.sweep()

    staged, found = store.incoming.resume(keep.id, ["sha512"])
    assert (found, staged.size_bytes) == (keep, 4)
    staged.write(b"two three")
    staged.cut(7)
    staged.write(b"-four")
    assert staged.digest_since(4, "sha256") == hashlib.sha256(b"two-four").digest()
    content = b"one two-four"
    published = store.incoming.publish(
        "a.bin", staged, Conditions(), ME, {"sha512": [hashlib.sha512(content).digest()]}
    )
    staged.release()

    assert published.sha256 == hashlib.sha256(content).hexdigest()
    assert (store.root / "a.bin").read_bytes() == content
    store.sweep()
    assert store.incoming.find(keep.id).is_published
    with pytest.raises(PartialNotFound):
        store.incoming.resume(keep.id)
    age(store, f"{keep.id}.json", 2 * DAY)
    restarted(store).sweep()
    assert files_in(store) == []
    assert (store.root / "a.bin").read_bytes() == content


def test_a_file_without_the_announced_digest_is_not_published(store: Store) -> None:
    """If one announced digest is wrong, publishing raises DigestMismatch, and the file can still be resumed."""
    keep = kept(store.incoming.staging, b"content")
    staged, _ = store.incoming.resume(keep.id)
    right, wrong = hashlib.sha256(b"content").digest(), hashlib.sha256().digest()

    with pytest.raises(DigestMismatch):
        store.incoming.publish("a.bin", staged, Conditions(), ME, {"sha256": [right, wrong]})
    staged.release()

    assert store.scan().models == {}
    assert store.incoming.find(keep.id).size_bytes == 7


def test_the_kept_file_of_a_killed_process_can_be_resumed(store: Store, staging: Staging) -> None:
    """A kept file is busy while its writer lives. After the writer is killed, file and record are whole."""
    keep = record()
    with python(KEEPS, store.volume.staging_dir, keep.id) as theirs:
        (partial,) = staging.partials()
        assert (partial.id, partial.size_bytes, partial.is_active) == (keep.id, 4, True)
        with pytest.raises(PartialBusy):
            staging.reopen(keep.id, ())
        with pytest.raises(PartialBusy):
            staging.discard(keep.id)
        theirs.kill()
        theirs.wait()

    store.sweep()
    (partial,) = staging.partials()
    assert (partial.name, partial.kind, partial.expected_bytes, partial.is_active) == ("a.bin", "upload", 12, False)
    staged, _ = staging.reopen(keep.id, ["sha256"])
    assert staged.digest("sha256") == hashlib.sha256(b"half").digest()
    staged.discard()
    assert files_in(store) == []


def test_a_sweep_deletes_expired_files_and_files_without_a_record(store: Store, staging: Staging) -> None:
    """A sweep never deletes an active file, whatever its age; a file expires after its last byte was written."""
    fresh, old, broken = kept(staging, b"fresh"), kept(staging, b"old"), kept(staging, b"broken")
    written = staging.begin([], keep=(busy := record()))
    (store.volume.staging_dir / f"{broken.id}.json").write_text('{"id":')
    for each in (old, busy):
        age(store, f"{each.id}.part", DAY)
    (store.volume.staging_dir / f"{'0' * 32}.part").write_bytes(b"no record")
    (store.volume.staging_dir / f"{'1' * 32}.json").write_text("no record")
    # A record that cannot be read keeps its file for a day, since a newer version of the service may understand it.
    for name in (f"{broken.id}.part", f"{broken.id}.json", f"{'1' * 32}.json"):
        age(store, name, DAY)

    with pytest.raises(PartialNotFound):
        staging.reopen(old.id, ())
    with pytest.raises(PartialNotFound):
        staging.find(old.id)
    swept = staging.sweep()

    assert sorted(swept) == sorted(f"{name}.part" for name in (old.id, broken.id, "0" * 32))
    assert files_in(store) == sorted(f"{each.id}.{suffix}" for each in (fresh, busy) for suffix in ("part", "json"))
    written.discard()
    assert [partial.id for partial in staging.partials()] == [fresh.id]


@pytest.mark.parametrize("partial_id", ["", "../store", "0" * 31, "0" * 32, "G" * 32, "0" * 32 + "\n"])
def test_an_unknown_id_is_not_found(staging: Staging, partial_id: str) -> None:
    """An unknown or malformed id raises PartialNotFound and opens no file outside staging."""
    calls: list[Callable[[], object]] = [
        lambda: staging.find(partial_id),
        lambda: staging.reopen(partial_id, ()),
        lambda: staging.discard(partial_id),
    ]
    for call in calls:
        with pytest.raises(PartialNotFound):
            call()


def test_an_id_cannot_be_used_twice(staging: Staging) -> None:
    """`begin` with an id in use raises FileExistsError and leaves the first file as it is."""
    keep = kept(staging, b"first")

    with pytest.raises(FileExistsError):
        staging.begin([], keep=keep)

    assert [(partial.id, partial.size_bytes) for partial in staging.partials()] == [(keep.id, 5)]


def test_of_concurrent_writers_one_at_a_time_has_the_file(store: Store, staging: Staging) -> None:
    """One thread at a time has the file, while others sweep, and each write is in the file once."""
    keep = kept(staging, b"")

    def append(number: int) -> bool:
        staging.sweep()
        try:
            staged, _ = staging.reopen(keep.id, ["sha256"])
        except PartialBusy:
            return False
        staged.write(bytes([number]) * 1000)
        staged.release()
        return True

    with ThreadPoolExecutor(8) as threads:
        wrote = list(threads.map(append, range(200)))

    content = (store.volume.staging_dir / f"{keep.id}.part").read_bytes()
    assert any(wrote)
    assert len(content) == 1000 * sum(wrote)
    assert {content[at : at + 1000] for at in range(0, len(content), 1000)} == {
        bytes([number]) * 1000 for number in range(200) if wrote[number]
    }


def test_sweeps_do_not_prevent_a_resumption(staging: Staging) -> None:
    """A file can be resumed 500 times while two threads sweep."""
    keep = kept(staging, b"")
    stop = False

    def sweep() -> None:
        while not stop:
            assert staging.sweep() == []

    with ThreadPoolExecutor(2) as threads:
        sweeping = [threads.submit(sweep) for _ in range(2)]
        try:
            for _ in range(500):
                staging.reopen(keep.id, ())[0].release()
        finally:
            stop = True
    assert [each.result() for each in sweeping] == [None, None]


def test_a_file_published_between_opening_and_locking_is_not_resumed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is free then, but the file is the model's: `resume` raises PartialNotFound and writes nothing."""
    keep = record()
    staged = store.incoming.begin(keep=keep)
    staged.write(b"whole")

    def lock_after_it_was_published(descriptor: int) -> bool:
        monkeypatch.undo()
        store.incoming.publish("a.bin", staged, Conditions(), ME)
        staged.release()
        return try_lock_file(descriptor)

    # No other process can be made to publish in exactly that microsecond.
    monkeypatch.setattr(staging_module, "try_lock_file", lock_after_it_was_published)
    with pytest.raises(PartialNotFound):
        store.incoming.resume(keep.id)
    assert (store.root / "a.bin").read_bytes() == b"whole"


def test_a_resumption_during_a_publication_does_not_change_the_model(store: Store) -> None:
    """However a resumption and a publication overlap, the model has the published bytes."""

    def publish(keep: PartialRecord, staged: StagedFile) -> None:
        store.incoming.publish(keep.id, staged, Conditions(), ME)
        staged.release()

    def go_on(keep: PartialRecord) -> None:
        while True:
            try:
                staged, _ = store.incoming.resume(keep.id)
            except PartialBusy:
                continue
            except PartialNotFound:
                return
            staged.write(b"more")
            staged.release()

    with ThreadPoolExecutor(2) as threads:
        for _ in range(50):
            keep = record()
            staged = store.incoming.begin(keep=keep)
            staged.write(b"whole")
            done = [threads.submit(publish, keep, staged), threads.submit(go_on, keep)]
            assert [each.result() for each in done] == [None, None]
            assert (store.root / keep.id).read_bytes() == b"whole"


def test_partial_files_count_in_the_storage_use(store: Store, staging: Staging) -> None:
    """`partial_bytes` has the bytes of the file and of its record."""
    assert store.measure(store.scan()).partial_bytes == 0
    keep = kept(staging, b"x" * 1000)

    record_bytes = (store.volume.staging_dir / f"{keep.id}.json").stat().st_size
    assert store.measure(store.scan()).partial_bytes == 1000 + record_bytes


def test_a_release_ends_the_computation_of_a_digest(staging: Staging) -> None:
    """`release` ends a running `digest` with ValueError, since hashing a large file would delay a shutdown."""
    kept = record(expected_bytes=None)
    before = staging.begin(["sha256"], keep=kept)
    before.cut(2 << 30)  # a sparse file of 2 GiB
    before.release()
    staged, _ = staging.reopen(kept.id, ["sha256"])
    begun = threading.Event()

    def digest() -> bytes:
        begun.set()
        return staged.digest("sha256")

    with ThreadPoolExecutor(1) as threads:
        digesting = threads.submit(digest)
        begun.wait()
        staged.release()
        with pytest.raises(ValueError, match="closed"):
            digesting.result()


@pytest.mark.parametrize("is_published", [True, False])
def test_the_partial_file_of_a_finished_job_is_swept(store: Store, *, is_published: bool) -> None:
    """A sweep deletes the partial file of a job that has ended, and leaves that of an unfinished job."""
    jobs = build_jobs(store)
    job = create_pull(jobs)
    staged = store.incoming.begin((), 4, keep=replace(record(), extra={"job_id": job.id}))
    staged.write(b"half")
    if is_published:
        store.incoming.publish("a.bin", staged, Conditions(), ME)
    staged.release()
    store.sweep(jobs.needs_no_partials)
    sweep_jobs(jobs, timedelta(hours=24))
    left = len(list(store.volume.staging_dir.iterdir()))
    jobs.cancel(job.id)
    (store.volume.jobs_dir / f"{job.id}.0123abcd.new").touch()

    store.sweep(jobs.needs_no_partials)
    sweep_jobs(jobs, timedelta(hours=24))

    assert left == (1 if is_published else 2)
    assert list(store.volume.staging_dir.iterdir()) == []
    assert [path.name for path in store.volume.jobs_dir.iterdir()] == [job.id]


def test_a_failed_publication_does_not_count_as_published(store: Store) -> None:
    """The record loses its mark after a failure, so that a missing file does not count as published."""
    keep = record()
    staged = store.incoming.begin(keep=keep)
    staged.write(b"whole")

    def fail() -> None:
        with store.incoming.staging.publishing(staged):
            raise StoreFull("no room")

    with pytest.raises(StoreFull):
        fail()
    staged.release()
    (store.volume.staging_dir / f"{keep.id}.part").unlink()
    with pytest.raises(PartialNotFound):
        store.incoming.find(keep.id)


def test_the_newest_finished_uploads_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep forgets the oldest published files beyond the limit, and no file that can be resumed."""
    monkeypatch.setattr(staging_module, "MAX_FINISHED", 2)  # a thousand uploads would take seconds
    unfinished = kept(store.incoming.staging, b"half")
    finished = []
    for number in range(4):
        keep = replace(record(expected_bytes=1), name=f"{number}.bin")
        staged = store.incoming.begin((), 1, keep=keep)
        staged.write(b"x")
        store.incoming.publish(keep.name, staged, Conditions(), ME)
        staged.release()
        finished.append(keep.id)
        age(store, f"{keep.id}.json", timedelta(minutes=9 - number))

    store.sweep()

    assert set(files_in(store)) == {f"{each}.json" for each in (*finished[2:], unfinished.id)} | {
        f"{unfinished.id}.part"
    }
    assert store.incoming.find(finished[3]).is_published


def test_the_record_of_a_published_file_expires_while_the_process_runs(store: Store) -> None:
    """A record that a running process has seen goes after its retention, although sweeps see it again and again."""
    keep = record(timedelta(seconds=0.2), expected_bytes=3)
    staged = store.incoming.begin(keep=keep)
    staged.write(b"abc")
    store.sweep()
    store.incoming.publish("a.bin", staged, Conditions(), ME)
    staged.release()

    eventually(lambda: store.sweep() == [] and files_in(store) == [], within=30)
