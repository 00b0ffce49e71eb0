"""What comes in is staged, and published whole or not at all."""

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
    TrashEntryNotFound,
)
from app.store.actor import Actor
from app.store.incoming.incoming import Conditions, Published
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
from app.store.incoming.staging import Staging
from app.store.volume.volume import Volume
staged = Staging(Path(sys.argv[1]), Claims(Volume(Path(sys.argv[1])))).begin(["sha256"])
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


def test_a_model_appears_whole_with_its_digest(store: Store) -> None:
    """Nothing before it is published, everything after, folders included; nothing stays in staging."""
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


def test_a_digest_is_of_one_version(store: Store) -> None:
    """It is known while the file is that version, in the trash and back again, and forgotten when it is gone."""
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
def test_what_is_replaced_can_be_brought_back(tmp_path: Path, kind: str) -> None:
    """The version before is in the trash, whole, and both changes are in the journal; on shared volumes too."""
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
def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    """Also where the version before had to leave its name first; nothing stays in the trash."""
    store = store_on(tmp_path / "models", file_system=FileSystem(kind))
    publish(store, "a.bin", b"old")
    staged = store.incoming.begin()
    for path in store.volume.staging_dir.iterdir():
        path.unlink()  # somebody tidied up too much

    with pytest.raises((FileNotFoundError, LookupStale)):
        store.incoming.publish("a.bin", staged, ANY, ME)

    staged.discard()
    assert (store.root / "a.bin").read_bytes() == b"old"
    assert list(store.volume.trash_dir.iterdir()) == []


def leave_a_double(store: Store) -> str:
    """As a replacement of a.bin that is killed at its last step leaves one in the trash; its id."""
    publish(store, "a.bin", b"old")
    trash = TrashFolder(store.volume, store.locks, Claims(store.volume), timedelta(days=1))
    with store.volume.parent_of("a.bin") as (folder, leaf):
        entry = trash.link_aside(store.find("a.bin"), folder, leaf)
    assert entry
    return entry.id


@pytest.mark.parametrize("permanent", [True, False])
def test_what_a_killed_replacement_left_goes_with_its_model(store: Store, *, permanent: bool) -> None:
    """No sweep need come first: what is deleted for good is gone, and what is in the trash is there once."""
    double = leave_a_double(store)

    receipt = store.deletions.delete(store.deletions.plan("a.bin", permanent=permanent), ME)

    assert [entry.id for entry in store.trash.entries()] == ([] if permanent else [receipt.trash_id])
    assert receipt.trash_id != double
    assert (receipt.freed_bytes > 0) is permanent


def test_what_a_killed_replacement_left_is_not_restored_elsewhere(store: Store) -> None:
    """It would be two models of one file."""
    double = leave_a_double(store)

    with pytest.raises(TrashEntryNotFound):
        store.trash.restore(double, "b.bin")

    assert [path.name for path in store.root.glob("*.bin")] == ["a.bin"]
    store.sweep()
    assert list(store.volume.trash_dir.iterdir()) == []


def test_the_sweep_clears_what_a_killed_replacement_put_into_the_trash(store: Store) -> None:
    """Until the new version has the name, the one before is a model; while somebody replaces it, it is in both."""
    leave_a_double(store)

    with store.locks.exclusive("a.bin", seconds=0):
        store.sweep()
        assert len(list(store.volume.aside_dir.iterdir())) == 1
    store.sweep()

    assert list(store.volume.trash_dir.iterdir()) == []
    assert (store.root / "a.bin").read_bytes() == b"old"


def test_without_a_trash_what_is_replaced_is_gone(tmp_path: Path) -> None:
    """As a deletion would have it."""
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
def test_what_is_refused_is_refused_before_and_after(
    store: Store, tmp_path: Path, name: str, conditions: Conditions, refusal: type[Exception]
) -> None:
    """By the plan, before anything is sent, and by the publication, which changes nothing then."""
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


def test_a_lack_of_room_is_known_beforehand(store: Store) -> None:
    """With what it takes and what there is."""
    with pytest.raises(StoreFull) as refused:
        store.incoming.plan("a.bin", Conditions(), 1 << 60)

    assert refused.value.need_bytes == 1 << 60
    assert refused.value.free_bytes is not None
    assert 0 <= refused.value.free_bytes <= os.statvfs(store.root).f_bavail * os.statvfs(store.root).f_frsize


def test_of_many_publications_one_wins(store: Store) -> None:
    """The name is taken for the others, and the bytes are those of the winner."""

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


def test_the_sweep_takes_what_no_living_process_writes(store: Store) -> None:
    """Whatever is locked stays, by this process or another; what a killed one left goes."""
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


def test_sweeping_never_takes_a_file_from_its_writer(store: Store) -> None:
    """However many begin while others sweep, each has a file of its own at its name in the end."""
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
