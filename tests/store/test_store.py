"""The store's verbs on real folders."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import ModelInUse, ModelNotFound, ModelProtected, NotAModel, StoreUnavailable
from app.store.deletions import Receipt
from app.store.policy import Policy
from app.store.store import Store

DAY = timedelta(days=1)


def opened(root: Path, policy: Policy | None = None, retention: timedelta = DAY) -> Store:
    store = Store(root, policy or Policy(), trash_retention=retention, on_event=lambda *_: None)
    store.open()
    return store


def delete(store: Store, name: str, **options: Any) -> Receipt:
    return store.deletions.delete(store.deletions.plan(name, **options))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models" / "org_repo").mkdir(parents=True)
    (tmp_path / "models" / "a.bin").write_bytes(b"aaaa")
    (tmp_path / "models" / "org_repo" / "b.gguf").write_bytes(b"bb")
    return tmp_path / "models"


def trashed(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / ".store/trash").iterdir()}


def test_a_deleted_model_lies_whole_in_the_trash_with_its_record(root: Path) -> None:
    """It is gone from the folder, and everything that brings it back is kept."""
    store = opened(root)

    receipt = delete(store, "org_repo/b.gguf")

    (entry,) = store.trash.entries()
    assert (entry.id, entry.name, entry.size_bytes) == (receipt.trash_id, "org_repo/b.gguf", 2)
    assert entry.expires_at - entry.deleted_at == DAY
    assert trashed(root)[entry.id] == b"bb"
    assert list(store.scan().models) == ["a.bin"]
    with pytest.raises(ModelNotFound):
        delete(store, "org_repo/b.gguf")


def test_without_retention_a_model_is_gone_at_once(root: Path) -> None:
    """A retention of zero keeps nothing."""
    store = opened(root, retention=timedelta(0))

    receipt = delete(store, "a.bin")

    assert (receipt.size_bytes, receipt.trash_id, receipt.expires_at) == (4, None, None)
    assert trashed(root) == {}
    assert not (root / "a.bin").exists()


def test_a_protected_model_stays(root: Path) -> None:
    """A pattern of the configuration forbids deletion, by the whole name or by its last part."""
    store = opened(root, Policy(protected_patterns=("org_repo/*", "a.*")))

    for name in ("org_repo/b.gguf", "a.bin"):
        with pytest.raises(ModelProtected):
            delete(store, name)
    assert len(store.scan().models) == 2


def test_a_leased_model_stays(root: Path) -> None:
    """Nothing is deleted from under whoever uses it."""
    store = opened(root)

    with store.locks.lease("a.bin"), pytest.raises(ModelInUse):
        delete(store, "a.bin")

    assert (root / "a.bin").exists()
    assert trashed(root) == {}


@pytest.mark.parametrize("name", ["out/passwd", "out", "inside", "org_repo", "pipe", "via/b.gguf"])
def test_links_folders_and_devices_are_never_deleted_nor_followed(root: Path, tmp_path: Path, name: str) -> None:
    """Whatever a link points to stays untouched, inside the folder or out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "passwd").write_bytes(b"secret")
    (root / "out").symlink_to(outside)
    (root / "inside").symlink_to("a.bin")
    (root / "via").symlink_to("org_repo")
    os.mkfifo(root / "pipe")
    store = opened(root)

    with pytest.raises(NotAModel):
        store.find(name)
    with pytest.raises(NotAModel):
        delete(store, name)

    assert (outside / "passwd").read_bytes() == b"secret"
    assert (root / "org_repo/b.gguf").exists()
    assert trashed(root) == {}


def test_a_file_is_no_folder(root: Path) -> None:
    """A name below a model is no model."""
    with pytest.raises(ModelNotFound):
        opened(root).find("a.bin/b")


def test_of_many_threads_one_deletes(root: Path) -> None:
    """Within one process, too, exactly one wins and the others are told there is nothing."""
    store = opened(root)

    def try_to_delete(_: int) -> str:
        try:
            return delete(store, "a.bin").name
        except ModelNotFound:
            return "not found"

    with ThreadPoolExecutor(32) as threads:
        outcomes = list(threads.map(try_to_delete, range(32)))

    assert sorted(outcomes) == ["a.bin"] + ["not found"] * 31
    assert len(store.trash.entries()) == 1


def test_the_sweep_purges_what_has_expired_and_nothing_else(root: Path) -> None:
    """Each entry lives as long as its record says, whatever the retention is now."""
    delete(opened(root, retention=timedelta(microseconds=1)), "a.bin")
    store = opened(root)
    delete(store, "org_repo/b.gguf")

    purged = store.sweep()

    assert [gone.entry.name for gone in purged] == ["a.bin"]
    assert [entry.name for entry in store.trash.entries()] == ["org_repo/b.gguf"]
    assert len(trashed(root)) == 2


def test_the_sweep_clears_a_record_whose_file_was_never_moved(root: Path) -> None:
    """What a service killed between the record and the rename leaves goes when the entry would have expired."""
    store = opened(root)
    record = root / ".store/trash/20260101T000000Z-abc.json"
    record.write_text('{"id": "20260101T000000Z-abc"')

    assert store.trash.entries() == []
    store.sweep()
    assert record.exists()
    os.utime(record, (0, 0))
    store.sweep()

    assert trashed(root) == {}
    assert (root / "a.bin").exists()


def test_a_missing_folder_refuses_everything(root: Path) -> None:
    """An unmounted volume is neither empty nor filled anew."""
    store = opened(root)
    root.rename(root.parent / "unmounted")

    for verb in (store.scan, store.sweep, lambda: store.find("a.bin"), lambda: delete(store, "a.bin")):
        with pytest.raises(StoreUnavailable):
            verb()
    assert not root.exists()


def test_another_folder_in_its_place_refuses_everything(root: Path) -> None:
    """A mount point that is empty, or another volume, is not the store; it recovers when the right one is back."""
    store = opened(root)
    root.rename(root.parent / "unmounted")
    root.mkdir()

    with pytest.raises(StoreUnavailable, match="not the folder the service started with"):
        delete(store, "a.bin")
    assert list(root.iterdir()) == []

    root.rmdir()
    (root.parent / "unmounted").rename(root)
    assert delete(store, "a.bin").size_bytes == 4


def test_an_identity_that_cannot_be_read_is_no_crash(root: Path) -> None:
    """Neither while the service runs, as when a network's file system has lost its server, nor at the start."""
    store = opened(root)
    identity = root / ".store/store.json"
    identity.unlink()

    identity.mkdir()  # reading it is an OSError, for root as well
    for verb in (store.volume.check, lambda: opened(root)):
        with pytest.raises(StoreUnavailable):
            verb()
    identity.rmdir()
    identity.write_text("")
    for verb in (store.volume.check, lambda: opened(root)):
        with pytest.raises(StoreUnavailable, match="is damaged"):
            verb()


def test_services_that_start_together_agree_on_one_identity(tmp_path: Path) -> None:
    """The identity is written once, whole, whoever comes first."""
    with ThreadPoolExecutor(16) as threads:
        stores = list(threads.map(lambda _: opened(tmp_path / "models"), range(16)))

    for store in stores:
        store.volume.check()
    assert sorted(path.name for path in (tmp_path / "models/.store").iterdir()) == [
        "aside", "corrupt", "digests", "jobs", "locks", "protection", "services", "staging", "store.json", "trash",
    ]  # fmt: skip


def test_the_scan_shows_when_a_model_came(root: Path) -> None:
    """Times are the file's own, in UTC."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    os.utime(root / "a.bin", (moment.timestamp(), moment.timestamp()))

    assert opened(root).find("a.bin").modified_at == moment
