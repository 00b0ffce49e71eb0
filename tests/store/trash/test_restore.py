"""Restoring and purging trash entries, and plans of deletions."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from app.errors import InvalidModelName, ModelChanged, ModelExists, ModelInUse, NotAModel, TrashEntryNotFound
from app.store.actor import Actor
from app.store.incoming.publish_conditions import Conditions
from app.store.policy import Policy
from app.store.store import Store
from app.store.volume import renames

ME = Actor("me", "request-1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    (store.root / "org_repo").mkdir()
    (store.root / "org_repo/a.gguf").write_bytes(b"content")
    return store


def trash(store: Store, name: str = "org_repo/a.gguf") -> str:
    trash_id = store.deletions.delete(store.deletions.plan(name), ME).trash_id
    assert trash_id is not None
    return trash_id


def test_a_restored_model_has_its_name_bytes_and_time(store: Store) -> None:
    """A restore gives the model back unchanged, creates its folder, and removes the entry."""
    before = store.find("org_repo/a.gguf")
    trash_id = trash(store)
    (store.root / "org_repo").rmdir()

    after = store.trash.restore(trash_id)

    assert (after.name, after.etag) == (before.name, before.etag)
    assert (store.root / "org_repo/a.gguf").read_bytes() == b"content"
    assert list((store.root / ".store/trash").iterdir()) == []
    with pytest.raises(TrashEntryNotFound):
        store.trash.restore(trash_id)


def test_a_restored_model_keeps_its_digest_under_any_name(store: Store) -> None:
    """The recorded digest follows a model to another name, and is kept although a newer version had the old name."""
    first, second = b"first version", b"second"
    upload(store, "a.bin", first)
    upload(store, "a.bin", second, if_match="*")  # the first version is in the trash now
    (replaced,) = store.trash.entries()
    deleted = trash(store, "a.bin")

    store.trash.restore(deleted, "moved/b.bin")
    store.trash.restore(replaced.id)

    assert store.digests.of(store.find("moved/b.bin")) == hashlib.sha256(second).hexdigest()
    assert store.digests.of(store.find("a.bin")) == hashlib.sha256(first).hexdigest()
    assert store.verifications.verify("moved/b.bin", ME, lambda _: None).verdict == "intact"


def test_damage_is_found_after_a_restore_under_another_name(store: Store) -> None:
    """A model known to be corrupt is so under its new name, and bytes damaged in the trash do not become the digest."""
    upload(store, "a.bin", b"whole")
    upload(store, "b.bin", b"whole")
    damage(store.root / "a.bin")
    assert store.verifications.verify("a.bin", ME, lambda _: None).verdict == "corrupt"
    known, unknown = trash(store, "a.bin"), trash(store, "b.bin")
    damage(store.volume.trash_dir / unknown)

    store.trash.restore(known, "c.bin")
    store.trash.restore(unknown, "d.bin")

    assert store.digests.corrupt_since(store.find("c.bin"))
    assert store.verifications.verify("d.bin", ME, lambda _: None).verdict == "corrupt"


def upload(store: Store, name: str, content: bytes, if_match: str | None = None) -> None:
    staged = store.incoming.begin()
    staged.write(content)
    conditions = Conditions(None if if_match is None else frozenset({if_match}))
    store.incoming.publish(name, staged, conditions, ME)
    staged.discard()


def damage(path: Path) -> None:
    """Change a byte without another size or modification time, as a failing disk does."""
    before = path.stat()
    path.write_bytes(b"X" + path.read_bytes()[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("in_one_step", [True, False], ids=["renameat2", "link and unlink"])
def test_a_restore_never_overwrites(store: Store, *, in_one_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restoring to a taken name raises ModelExists; another name works, also without `renameat2`."""
    if not in_one_step:
        # Every file system here supports RENAME_NOREPLACE, so the test uses a flag that none supports.
        monkeypatch.setattr(renames, "RENAME_NOREPLACE", 1 << 30)
    trash_id = trash(store)
    (store.root / "org_repo/a.gguf").write_bytes(b"newer")

    with pytest.raises(ModelExists):
        store.trash.restore(trash_id)
    assert (store.root / "org_repo/a.gguf").read_bytes() == b"newer"
    assert [entry.id for entry in store.trash.entries()] == [trash_id]

    assert store.trash.restore(trash_id, "restored/b.gguf").name == "restored/b.gguf"
    assert (store.root / "restored/b.gguf").read_bytes() == b"content"
    assert store.trash.entries() == []


@pytest.mark.parametrize("name", ["../a", ".store/trash/x", "/etc/a", "", "out/a"])
def test_a_restore_outside_the_folder_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    """A target outside the model folder or in `.store/` is refused, and the entry stays in the trash."""
    (tmp_path / "outside").mkdir()
    (store.root / "out").symlink_to(tmp_path / "outside")
    trash_id = trash(store)

    with pytest.raises((InvalidModelName, NotAModel)):
        store.trash.restore(trash_id, name)

    assert [entry.id for entry in store.trash.entries()] == [trash_id]
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("trash_id", ["", "..", "../../store.json", "x", "20260101T000000Z-000000000000"])
def test_an_unknown_id_is_not_found(store: Store, trash_id: str) -> None:
    """An unknown id, also one that looks like a path, raises TrashEntryNotFound."""
    for verb in (store.trash.restore, store.trash.purge):
        with pytest.raises(TrashEntryNotFound):
            verb(trash_id)
    store.volume.check()


def test_of_concurrent_restores_exactly_one_succeeds(store: Store) -> None:
    """Of 16 restores of one entry, one succeeds and the others raise TrashEntryNotFound or ModelExists."""
    trash_id = trash(store)

    def restore(_: int) -> str:
        try:
            return store.trash.restore(trash_id).name
        except (TrashEntryNotFound, ModelExists):
            return "too late"

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(restore, range(16)))

    assert sorted(outcomes) == ["org_repo/a.gguf"] + ["too late"] * 15
    assert (store.root / "org_repo/a.gguf").read_bytes() == b"content"


def test_purge_and_empty_delete_entries(store: Store) -> None:
    """`purge` deletes one entry, and `empty` the rest; both return what they deleted."""
    first = trash(store)
    for name in ("b.bin", "c.bin"):
        (store.root / name).write_bytes(b"12345")
        trash(store, name)

    assert store.trash.purge(first).entry.name == "org_repo/a.gguf"
    assert [gone.entry.name for gone in store.trash.empty()] == ["b.bin", "c.bin"]
    assert store.trash.empty() == []
    assert list((store.root / ".store/trash").iterdir()) == []


def test_of_concurrent_purges_exactly_one_succeeds(store: Store) -> None:
    """Of 8 purges of one entry, one succeeds and the others raise TrashEntryNotFound."""
    for _ in range(20):
        (store.root / "a.bin").touch()
        trash_id = trash(store, "a.bin")

        def purge(_: int, trash_id: str = trash_id) -> str:
            try:
                return store.trash.purge(trash_id).entry.name
            except TrashEntryNotFound:
                return "too late"

        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(purge, range(8)))

        assert sorted(outcomes) == ["a.bin"] + ["too late"] * 7


def test_a_permanent_deletion_returns_the_freed_bytes(store: Store) -> None:
    """`freed_bytes` is 0 while the file has another hard link, and at least the size of the file otherwise."""
    (store.root / "b.bin").write_bytes(os.urandom(10_000))
    (store.root / "c.bin").hardlink_to(store.root / "b.bin")

    still_linked = store.deletions.delete(store.deletions.plan("b.bin", permanent=True))
    gone = store.deletions.delete(store.deletions.plan("c.bin", permanent=True))

    assert (still_linked.freed_bytes, still_linked.trash_id) == (0, None)
    assert gone.freed_bytes >= 10_000
    assert store.trash.entries() == []


def test_a_plan_changes_nothing_and_refuses_what_its_execution_would(store: Store) -> None:
    """A plan raises ModelChanged for another version and ModelInUse for a leased model, and deletes nothing."""
    etag = store.find("org_repo/a.gguf").etag

    plan = store.deletions.plan("org_repo/a.gguf", if_match=[etag])
    with pytest.raises(ModelChanged):
        store.deletions.plan("org_repo/a.gguf", if_match=['"other"'])
    with store.locks.lease("org_repo/a.gguf"), pytest.raises(ModelInUse):
        store.deletions.plan("org_repo/a.gguf")

    assert (store.root / "org_repo/a.gguf").exists()
    assert store.deletions.delete(plan).name == "org_repo/a.gguf"


def test_a_plan_for_one_version_does_not_delete_another(store: Store) -> None:
    """After a replacement, the plan for the exact version raises ModelChanged; a plan for any version deletes."""
    path = store.root / "org_repo/a.gguf"
    exact = store.deletions.plan("org_repo/a.gguf", if_match=[store.find("org_repo/a.gguf").etag])
    loose = store.deletions.plan("org_repo/a.gguf")
    path.write_bytes(b"another version")

    with pytest.raises(ModelChanged):
        store.deletions.delete(exact)
    assert path.exists()
    assert store.deletions.delete(loose).size_bytes == len(b"another version")


def test_a_folder_in_the_trash_is_skipped(store: Store) -> None:
    """`empty` skips a folder in place of an entry's file, without a journal entry, and purges the others."""
    first = trash(store)
    (store.root / "b.bin").touch()
    second = store.volume.trash_dir / trash(store, "b.bin")
    second.unlink()
    second.mkdir()
    (store.root / "c.bin").touch()
    third = trash(store, "c.bin")

    assert [purged.entry.id for purged in store.trash.empty(ME)] == [first, third]
    assert second.is_dir()
    assert [(e.action, e.trash_id) for e in store.journal.latest(2)] == [("purged", third), ("purged", first)]


def test_an_entry_that_cannot_be_purged_does_not_stop_the_sweep(store: Store) -> None:
    """While another process holds the lock of an entry, a sweep purges the other entries."""
    (store.root / "b.bin").touch()
    held, other = trash(store), trash(store, "b.bin")
    for record in store.volume.trash_dir.glob("*.json"):
        record.write_text(record.read_text().replace('"expires_at": "20', '"expires_at": "19'))

    with store.locks.exclusive(f"/trash/{held}", seconds=0):
        assert [purged.entry.id for purged in store.sweep()] == [other]

    assert [purged.entry.id for purged in store.sweep()] == [held]


def test_a_deletion_succeeds_even_if_its_entry_is_restored_at_once(store: Store) -> None:
    """Another process can restore an entry while the deletion still syncs the folders: both are in the journal."""
    names = [f"{number}.bin" for number in range(40)]
    for name in names:
        (store.root / name).write_bytes(b"content")

    is_over = Event()

    def restore_each() -> None:
        while not is_over.is_set() or store.trash.entries():
            for entry in store.trash.entries():
                store.trash.restore(entry.id, f"restored/{entry.name}", ME)

    with ThreadPoolExecutor(1) as thread:
        restoring = thread.submit(restore_each)
        try:
            trashed = {trash(store, name) for name in names}
        finally:
            is_over.set()
        restoring.result(timeout=120)

    entries = list(store.journal.latest(1000))
    assert {entry.trash_id for entry in entries if entry.action == "trashed"} == trashed
    assert {entry.trash_id for entry in entries if entry.action == "restored"} == trashed
