"""Incoming models are staged, and then published whole or not at all."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from app.errors import (
    ConditionFailed,
    InvalidModelName,
    LookupStale,
    ModelChanged,
    ModelExists,
    ModelInUse,
    ModelProtected,
    NotAModel,
    StoreFull,
    StoreUnavailable,
    TrashEntryNotFound,
)
from app.store.actor import Actor
from app.store.incoming.incoming import Published
from app.store.incoming.publish_conditions import Conditions
from app.store.policy import Policy
from app.store.store import Store
from app.store.trash.folder import TrashFolder
from app.store.volume.claims import Claims
from app.store.volume.filesystem import FileSystem
from tests.support.processes import python

ME = Actor("me", "request-1")
NEW = Conditions()
ANY = Conditions(if_match=frozenset({"*"}))

WRITES = """
import sys
from pathlib import Path
from app.store.volume.claims import Claims
from app.store.expiry import Expiry, FolderClock
from app.store.incoming.staging import Staging
from app.store.volume.volume import Volume
volume = Volume(Path(sys.argv[1]))
expiry = Expiry(FolderClock(volume.clock_file, volume.journal_file))
staged = Staging(volume.root, Claims(volume), volume.records, expiry).begin(["sha256"])
staged.write(b"half")
print("written", flush=True)
sys.stdin.read()
"""


def store_on(root: Path, **settings: object) -> Store:
    retention, file_system = settings.get("retention", timedelta(days=1)), settings.get("file_system")
    assert isinstance(retention, timedelta)
    assert file_system is None or isinstance(file_system, FileSystem)
    policy = Policy((), ("keep_*",))
    store = Store(root, policy, trash_retention=retention, on_event=lambda *_: None, file_system=file_system)
    store.open()
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_on(tmp_path / "models")


def staged_in(store: Store) -> list[str]:
    return sorted(path.name for path in store.volume.staging_dir.iterdir())


def publish(store: Store, name: str, content: bytes, conditions: Conditions = NEW) -> Published:
    staged = store.incoming.begin()
    try:
        staged.write(content)
        return store.incoming.publish(name, staged, conditions, ME)
    finally:
        staged.discard()


def test_a_published_model_is_whole_and_has_its_digest(store: Store) -> None:
    """A staged model is not listed. Publishing creates the model, its folders, its digest and a journal entry."""
    staged = store.incoming.begin(["sha512"])
    staged.write(b"one ")
    staged.write(bytearray(b"two"))
    assert store.scan().models == {}
    assert len(staged_in(store)) == 1

    published = store.incoming.publish("org/repo/a.gguf", staged, Conditions(), ME)
    staged.discard()

    assert (store.root / "org/repo/a.gguf").read_bytes() == b"one two"
    assert published.model == store.find("org/repo/a.gguf")
    assert published.sha256 == hashlib.sha256(b"one two").hexdigest()
    assert staged.digest("sha512") == hashlib.sha512(b"one two").digest()
    assert (published.has_replaced, staged.size_bytes) == (False, 7)
    assert staged_in(store) == []
    assert [(event.action, event.name, event.actor) for event in store.journal.latest(9)] == [
        ("uploaded", "org/repo/a.gguf", "me")
    ]


def test_a_recorded_digest_belongs_to_one_version(store: Store) -> None:
    """The digest is known for its version, also after a restore. Another version has none; a deletion removes it."""
    sha256 = publish(store, "a.bin", b"content").sha256
    assert store.digests.of(store.find("a.bin")) == sha256

    trash_id = store.deletions.delete(store.deletions.plan("a.bin")).trash_id
    assert trash_id
    assert store.digests.of(store.trash.restore(trash_id)) == sha256

    (store.root / "a.bin").write_bytes(b"another")
    assert store.digests.of(store.find("a.bin")) is None
    store.deletions.delete(store.deletions.plan("a.bin", permanent=True))
    publish(store, "a.bin", b"content")
    store.deletions.delete(store.deletions.plan("a.bin", permanent=True))
    assert list(store.volume.digests_dir.iterdir()) == []


@pytest.mark.parametrize("kind", ["ext4", "nfs4"])
def test_a_replaced_version_can_be_restored(tmp_path: Path, kind: str) -> None:
    """The replaced version is whole in the trash, and the journal has both changes, on local and shared volumes."""
    store = store_on(tmp_path / "models", file_system=FileSystem(kind))
    publish(store, "a.bin", b"old")
    etag = store.find("a.bin").etag

    published = publish(store, "a.bin", b"newer", Conditions(if_match=frozenset({etag})))

    assert published.has_replaced
    assert (store.root / "a.bin").read_bytes() == b"newer"
    (entry,) = store.trash.entries()
    assert [event.action for event in store.journal.latest(2)] == ["uploaded", "trashed"]
    assert store.trash.restore(entry.id, "b.bin").size_bytes == 3
    assert (store.root / "b.bin").read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["ext4", "nfs4"])
def test_a_failed_replacement_leaves_the_previous_version(tmp_path: Path, kind: str) -> None:
    """After a failed replacement the model has its previous version, and the trash is empty."""
    store = store_on(tmp_path / "models", file_system=FileSystem(kind))
    publish(store, "a.bin", b"old")
    staged = store.incoming.begin()
    for path in store.volume.staging_dir.iterdir():
        path.unlink()  # as if a user had deleted the staged file

    with pytest.raises((StoreUnavailable, LookupStale)):
        store.incoming.publish("a.bin", staged, ANY, ME)

    staged.discard()
    assert (store.root / "a.bin").read_bytes() == b"old"
    assert list(store.volume.trash_dir.iterdir()) == []


def leave_a_second_name(store: Store) -> str:
    """Leave a second name of a.bin aside, as a replacement that is killed at its last step does. Returns its id."""
    publish(store, "a.bin", b"old")
    trash = TrashFolder(store.volume, store.locks, Claims(store.volume), store.digests, timedelta(days=1), store.clock)
    with store.volume.parent_of("a.bin") as (folder, leaf):
        entry = trash.link_aside(store.find("a.bin"), folder, leaf)
    assert entry
    return entry.id


@pytest.mark.parametrize("permanent", [True, False])
def test_a_deletion_removes_the_second_name_of_a_killed_replacement(store: Store, *, permanent: bool) -> None:
    """A deletion before any sweep removes the second name too: permanently, or with one entry in the trash."""
    double = leave_a_second_name(store)

    receipt = store.deletions.delete(store.deletions.plan("a.bin", permanent=permanent), ME)

    assert [entry.id for entry in store.trash.entries()] == ([] if permanent else [receipt.trash_id])
    assert receipt.trash_id != double
    assert (receipt.freed_bytes > 0) is permanent


def test_a_replacement_removes_the_second_name_of_a_killed_one(store: Store) -> None:
    """A replacement before any sweep moves the old version to the trash as one entry, also after the sweep."""
    double = leave_a_second_name(store)

    publish(store, "a.bin", b"new", ANY)
    store.sweep()

    (entry,) = store.trash.entries()
    assert entry.id != double
    assert list(store.volume.aside_dir.iterdir()) == []
    assert (store.volume.trash_dir / entry.id).stat().st_nlink == 1


def test_the_second_name_of_a_killed_replacement_cannot_be_restored(store: Store) -> None:
    """A restore raises TrashEntryNotFound, since two models would share one file. A sweep removes the second name."""
    double = leave_a_second_name(store)

    with pytest.raises(TrashEntryNotFound):
        store.trash.restore(double, "b.bin")

    assert [path.name for path in store.root.glob("*.bin")] == ["a.bin"]
    store.sweep()
    assert list(store.volume.trash_dir.iterdir()) == []


def test_a_sweep_removes_the_second_name_of_a_killed_replacement(store: Store) -> None:
    """A sweep removes the second name, but not while another process holds the lock of the model."""
    leave_a_second_name(store)

    with store.locks.exclusive("a.bin", seconds=0):
        store.sweep()
        assert len(list(store.volume.aside_dir.iterdir())) == 1
    store.sweep()

    assert list(store.volume.trash_dir.iterdir()) == []
    assert (store.root / "a.bin").read_bytes() == b"old"


def test_without_a_trash_a_replaced_version_is_deleted(tmp_path: Path) -> None:
    """With a retention of zero the replaced version is deleted, and the journal has the deletion."""
    store = store_on(tmp_path / "models", retention=timedelta(0))
    publish(store, "a.bin", b"old")

    assert publish(store, "a.bin", b"new", ANY).has_replaced
    assert list(store.volume.trash_dir.iterdir()) == []
    assert [event.action for event in store.journal.latest(2)] == ["uploaded", "deleted"]


@pytest.mark.parametrize(
    ("name", "conditions", "refusal"),
    [
        ("a.bin", Conditions(), ModelExists),
        ("a.bin", Conditions(if_none_match=frozenset({"*"})), ConditionFailed),
        ("a.bin", Conditions(if_match=frozenset({'"other"'})), ModelChanged),
        ("new.bin", ANY, ConditionFailed),
        ("keep_a.bin", ANY, ModelProtected),
        ("used.bin", ANY, ModelInUse),
        ("link.bin", ANY, NotAModel),
        ("folder", ANY, NotAModel),
        ("a.bin/b.bin", Conditions(), NotAModel),
        ("out/b.bin", Conditions(), NotAModel),
        ("../b.bin", Conditions(), InvalidModelName),
        (".store/b.bin", Conditions(), InvalidModelName),
    ],
)
def test_plan_and_publish_refuse_the_same_publications(
    store: Store, tmp_path: Path, name: str, conditions: Conditions, refusal: type[Exception]
) -> None:
    """`plan` refuses before any byte is sent, `publish` refuses with the same error, and nothing changes."""
    for existing in ("a.bin", "keep_a.bin", "used.bin", "folder/x"):
        (store.root / existing).parent.mkdir(exist_ok=True)
        (store.root / existing).write_bytes(b"old")
    (tmp_path / "outside").mkdir()
    (store.root / "out").symlink_to(tmp_path / "outside")
    (store.root / "link.bin").symlink_to(store.root / "a.bin")
    before = store.scan().models

    with store.locks.lease("used.bin"):
        with pytest.raises(refusal):
            store.incoming.plan(name, conditions, 3)
        with pytest.raises(refusal):
            publish(store, name, b"new", conditions)

    assert store.scan().models == before
    assert (staged_in(store), store.trash.entries()) == ([], [])
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_plan_without_enough_disk_space_is_refused(store: Store) -> None:
    """`plan` raises StoreFull with the needed and the free bytes."""
    with pytest.raises(StoreFull) as refused:
        store.incoming.plan("a.bin", Conditions(), 1 << 60)

    assert refused.value.need_bytes == 1 << 60
    assert refused.value.free_bytes is not None
    assert 0 <= refused.value.free_bytes <= os.statvfs(store.root).f_bavail * os.statvfs(store.root).f_frsize


def test_of_concurrent_publications_exactly_one_succeeds(store: Store) -> None:
    """Of 16 publications of one name, one succeeds, the others raise ModelExists, and the bytes are the winner's."""

    def attempt(number: int) -> int | None:
        try:
            publish(store, "a.bin", b"%d" % number)
        except ModelExists:
            return None
        return number

    with ThreadPoolExecutor(16) as threads:
        (winner,) = {number for number in threads.map(attempt, range(16)) if number is not None}

    assert (store.root / "a.bin").read_bytes() == b"%d" % winner
    assert staged_in(store) == []


def test_a_sweep_deletes_only_files_without_a_living_writer(store: Store) -> None:
    """A sweep leaves staged files that a living process has locked, and deletes the file of a killed process."""
    ours = store.incoming.begin()
    with python(WRITES, store.volume.staging_dir) as theirs:
        assert store.incoming.staging.sweep() == []
        assert len(staged_in(store)) == 2
        theirs.kill()
        theirs.wait()
        store.sweep()
    assert len(staged_in(store)) == 1

    ours.write(b"content")
    store.incoming.publish("a.bin", ours, Conditions(), ME)
    ours.discard()
    assert (store.root / "a.bin").read_bytes() == b"content"


def test_a_sweep_never_deletes_a_file_that_was_just_begun(store: Store) -> None:
    """While other threads sweep, 300 files are begun, and each is still in staging at the end."""
    stop = False

    def sweep() -> None:
        while not stop:
            store.incoming.staging.sweep()

    with ThreadPoolExecutor(2) as threads:
        sweeping = [threads.submit(sweep) for _ in range(2)]
        try:
            files = [store.incoming.begin() for _ in range(300)]
        finally:
            stop = True
    assert len(staged_in(store)) == 300
    discards: list[Callable[[], None]] = [file.discard for file in files]
    for discard in discards:
        discard()
    assert [each.result() for each in sweeping] == [None, None]
    assert staged_in(store) == []
