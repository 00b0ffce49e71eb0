"""Protections of models, before, during and after deletions."""

import hashlib
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import ModelInUse, ModelLocked, ModelNotFound, ModelProtected
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.protections import PROTECTION_LOCK
from app.store.store import Store

ME = Actor("me")
VERBS = ("protect", "unprotect", "delete", "restore", "upload")


def opened(folder: Path) -> Store:
    store = Store(folder, Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    return store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(VERBS), st.booleans()), max_size=12))
def test_a_protected_model_stays_after_any_sequence_of_operations(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bool]]
) -> None:
    """Two services run any operations in any order: a model stays from its protection until the removal of that."""
    folder = tmp_path_factory.mktemp("store")
    stores = opened(folder), opened(folder)
    path = folder / "a.bin"
    path.write_bytes(b"1")
    is_protected = False
    for verb, which in steps:
        store = stores[which]
        there = path.exists()
        if verb == "protect" and there:
            store.protections.protect("a.bin", "mine", ME)
            is_protected = True
        elif verb == "unprotect" and (there or is_protected):
            store.protections.unprotect("a.bin", ME)
            is_protected = False
        elif verb == "delete" and there:
            if is_protected:
                with pytest.raises(ModelProtected):
                    store.deletions.delete(store.deletions.plan("a.bin"))
            else:
                store.deletions.delete(store.deletions.plan("a.bin"))
        elif verb == "restore" and not there and (entries := store.trash.entries()):
            store.trash.restore(entries[-1].id)
        elif verb == "upload" and not there:
            path.write_bytes(b"2")
        assert not is_protected or path.exists()
        for each in stores:
            assert (each.protections.of("a.bin") is not None) == is_protected
            assert ("a.bin" in each.protections.manual()) == is_protected


def test_a_protection_after_the_plan_prevents_the_deletion(tmp_path: Path) -> None:
    """`delete` checks the protections again under the lock."""
    store = opened(tmp_path)
    (tmp_path / "a.bin").touch()
    plan = store.deletions.plan("a.bin")
    store.protections.protect("a.bin", "mine", ME)

    with pytest.raises(ModelProtected):
        store.deletions.delete(plan)


def test_a_protection_and_a_deletion_at_once_never_both_succeed(tmp_path: Path) -> None:
    """Of a protection and a deletion at the same time at most one succeeds, and the file agrees with the result."""
    store = opened(tmp_path)
    for number in range(50):
        name = f"{number}.bin"
        (tmp_path / name).touch()
        won: list[str] = []
        threads = [threading.Thread(target=race, args=(store, name, verb, won)) for verb in ("protect", "delete")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (tmp_path / name).exists() == ("delete" not in won)
        assert (store.protections.of(name) is not None) == ("protect" in won)
        assert len(won) <= 1


def race(store: Store, name: str, verb: str, won: list[str]) -> None:
    try:
        if verb == "protect":
            store.protections.protect(name, "mine", ME)
        else:
            store.deletions.delete(store.deletions.plan(name))
    except (ModelNotFound, ModelProtected, ModelInUse, ModelLocked):
        return
    won.append(verb)


@pytest.mark.parametrize("verb", ["protect", "unprotect"])
def test_a_change_that_waits_for_the_records_names_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """If other protections are being changed for too long, the refusal has the name of the request's model."""
    monkeypatch.setattr("app.store.protections.STORE_LOCK_SECONDS", 0.0)
    (tmp_path / "a.bin").write_bytes(b"1")
    store, other = opened(tmp_path), opened(tmp_path)

    with other.locks.exclusive(PROTECTION_LOCK, seconds=0), pytest.raises(ModelLocked) as caught:
        store.protections.protect("a.bin", "mine", ME) if verb == "protect" else store.protections.unprotect(
            "a.bin", ME
        )

    assert caught.value.name == "a.bin"
    assert "'a.bin'" in str(caught.value)


def test_the_protections_are_one_cached_object_until_a_change(tmp_path: Path) -> None:
    """`manual` returns the identical object until a change. A damaged record still protects its model."""
    store = opened(tmp_path)
    (tmp_path / "a.bin").touch()
    before = store.protections.manual()
    assert store.protections.manual() is before
    store.protections.protect("a.bin", "mine", ME)

    after = store.protections.manual()

    assert after["a.bin"].reason == "mine"
    assert store.protections.manual() is after
    (record,) = store.volume.protection_dir.glob("*.json")
    record.write_text('{"name": "a.bin"}')
    with pytest.raises(ModelProtected, match="cannot be read"):
        store.deletions.plan("a.bin")


def test_an_unreadable_record_protects_its_model_and_affects_no_other(tmp_path: Path) -> None:
    """A model whose record cannot be read is protected; the protections and digests of other models can be read."""
    store = opened(tmp_path)
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(b"model")
        store.protections.protect(name, "mine", ME)
        store.digests.record(store.find(name), "0" * 64)
    for folder in (store.volume.protection_dir, store.volume.digests_dir):
        record = folder / f"{hashlib.sha256(b'a.bin').hexdigest()}.json"
        record.unlink()
        record.mkdir()  # reading a folder raises OSError, for root as well

    with pytest.raises(ModelProtected, match="cannot be read"):
        store.deletions.plan("a.bin")
    manual = opened(tmp_path).protections.manual()
    assert [name in manual for name in ("a.bin", "b.bin", "c.bin")] == [True, True, False]
    assert [store.digests.of(store.find(name)) for name in ("a.bin", "b.bin")] == [None, "0" * 64]


def test_a_lack_of_descriptors_is_not_told_as_a_protection(tmp_path: Path) -> None:
    """Without a free descriptor the record cannot be read: that raises EMFILE, and is not called a protection."""
    store = opened(tmp_path)
    (tmp_path / "a.bin").touch()
    store.protections.protect("a.bin", "mine", ME)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)

    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            store.protections.of("a.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Without root's rights, which no mode of a folder restricts."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(60_001)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_closed_folder_of_protections_advises_nothing_that_cannot_work(tmp_path: Path) -> None:
    """If the records cannot be reached, every model is protected, and the advice is to correct the folder's rights."""
    store = opened(tmp_path)
    (tmp_path / "a.bin").touch()
    for parent in (tmp_path, *(each for each in tmp_path.parents if "pytest-of-" in str(each))):
        parent.chmod(parent.stat().st_mode | 0o011)  # pytest's own folders, of which pytest-xdist adds one
    folder = tmp_path / ".store/protection"
    folder.chmod(0)
    try:
        with as_ordinary_user(), pytest.raises(ModelProtected) as refused:
            store.protections.check("a.bin")
    finally:
        folder.chmod(0o700)

    assert f"The service's user may not change {folder}" in str(refused.value)
    assert "DELETE" not in str(refused.value)
