"""The store finds, deletes, sweeps and refuses correctly on real folders."""

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


def test_a_deleted_model_is_in_the_trash_with_its_record(root: Path) -> None:
    """A deleted model is gone from the folder, and the trash has its bytes and a record to restore it."""
    store = opened(root)

    receipt = delete(store, "org_repo/b.gguf")

    (entry,) = store.trash.entries()
    assert (entry.id, entry.name, entry.size_bytes) == (receipt.trash_id, "org_repo/b.gguf", 2)
    assert entry.expires_at - entry.deleted_at == DAY
    assert trashed(root)[entry.id] == b"bb"
    assert list(store.scan().models) == ["a.bin"]
    with pytest.raises(ModelNotFound):
        delete(store, "org_repo/b.gguf")


def test_without_retention_a_deletion_is_permanent(root: Path) -> None:
    """With a retention of zero a deleted model is not kept in the trash."""
    store = opened(root, retention=timedelta(0))

    receipt = delete(store, "a.bin")

    assert (receipt.size_bytes, receipt.trash_id, receipt.expires_at) == (4, None, None)
    assert trashed(root) == {}
    assert not (root / "a.bin").exists()


def test_deleting_a_model_that_a_pattern_protects_is_refused(root: Path) -> None:
    """A pattern that matches the whole name or the last part of it prevents the deletion."""
    store = opened(root, Policy(protected_patterns=("org_repo/*", "a.*")))

    for name in ("org_repo/b.gguf", "a.bin"):
        with pytest.raises(ModelProtected):
            delete(store, name)
    assert len(store.scan().models) == 2


def test_deleting_a_leased_model_is_refused(root: Path) -> None:
    """Deleting a leased model raises ModelInUse, and the file stays."""
    store = opened(root)

    with store.locks.lease("a.bin"), pytest.raises(ModelInUse):
        delete(store, "a.bin")

    assert (root / "a.bin").exists()
    assert trashed(root) == {}


@pytest.mark.parametrize("name", ["out/passwd", "out", "inside", "org_repo", "pipe", "via/b.gguf"])
def test_links_folders_and_pipes_are_neither_deleted_nor_followed(root: Path, tmp_path: Path, name: str) -> None:
    """A link, a folder or a pipe raises NotAModel, and the target of a link stays, inside the folder or outside."""
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


def test_a_name_below_a_file_is_not_found(root: Path) -> None:
    """A name below a model raises ModelNotFound."""
    with pytest.raises(ModelNotFound):
        opened(root).find("a.bin/b")


def test_of_concurrent_deletions_exactly_one_succeeds(root: Path) -> None:
    """Of 32 threads that delete one model, one succeeds and the others get ModelNotFound."""
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


def test_a_sweep_purges_only_expired_entries(root: Path) -> None:
    """An entry expires by its own record, even if the retention of the present store is another."""
    delete(opened(root, retention=timedelta(microseconds=1)), "a.bin")
    store = opened(root)
    delete(store, "org_repo/b.gguf")

    purged = store.sweep()

    assert [gone.entry.name for gone in purged] == ["a.bin"]
    assert [entry.name for entry in store.trash.entries()] == ["org_repo/b.gguf"]
    assert len(trashed(root)) == 2


def test_a_sweep_deletes_a_record_without_a_file_when_it_expires(root: Path) -> None:
    """A record without a file, as a killed service leaves one, is deleted when it would have expired."""
    store = opened(root)
    record = root / ".store/trash/20260101T000000Z-abcabcabcabc.json"
    record.write_text('{"id": "20260101T000000Z-abcabcabcabc"')

    assert store.trash.entries() == []
    store.sweep()
    assert record.exists()
    os.utime(record, (0, 0))
    store.sweep()

    assert trashed(root) == {}
    assert (root / "a.bin").exists()


def test_a_missing_folder_refuses_every_operation(root: Path) -> None:
    """Every operation on a missing folder raises StoreUnavailable and does not create the folder."""
    store = opened(root)
    root.rename(root.parent / "unmounted")

    for verb in (store.scan, store.sweep, lambda: store.find("a.bin"), lambda: delete(store, "a.bin")):
        with pytest.raises(StoreUnavailable):
            verb()
    assert not root.exists()


def test_another_folder_at_the_path_refuses_every_operation(root: Path) -> None:
    """Another folder at the path raises StoreUnavailable and stays empty; the right folder works when it is back."""
    store = opened(root)
    root.rename(root.parent / "unmounted")
    root.mkdir()

    with pytest.raises(StoreUnavailable, match="not the folder the service started with"):
        delete(store, "a.bin")
    assert list(root.iterdir()) == []

    root.rmdir()
    (root.parent / "unmounted").rename(root)
    assert delete(store, "a.bin").size_bytes == 4


def test_an_unreadable_identity_makes_the_store_unavailable(root: Path) -> None:
    """An unreadable or damaged identity file raises StoreUnavailable, at the start and later."""
    store = opened(root)
    identity = root / ".store/store.json"
    identity.unlink()

    identity.mkdir()  # reading a folder raises OSError, for root as well
    for verb in (store.volume.check, lambda: opened(root)):
        with pytest.raises(StoreUnavailable):
            verb()
    identity.rmdir()
    identity.write_text("")
    for verb in (store.volume.check, lambda: opened(root)):
        with pytest.raises(StoreUnavailable, match="is damaged"):
            verb()


def test_services_that_start_together_agree_on_one_identity(tmp_path: Path) -> None:
    """Of 16 stores that open a new folder at once, one writes the identity, and all use it."""
    with ThreadPoolExecutor(16) as threads:
        stores = list(threads.map(lambda _: opened(tmp_path / "models"), range(16)))

    for store in stores:
        store.volume.check()
    assert sorted(path.name for path in (tmp_path / "models/.store").iterdir()) == [
        "aside", "corrupt", "digests", "jobs", "locks", "protection", "services", "staging", "store.json", "trash",
        "webhooks",
    ]  # fmt: skip


def test_the_modification_time_of_a_model_is_that_of_its_file(root: Path) -> None:
    """`modified_at` is the file's modification time in UTC."""
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    os.utime(root / "a.bin", (moment.timestamp(), moment.timestamp()))

    assert opened(root).find("a.bin").modified_at == moment
