"""Leases with records of their holders, between real processes."""

import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.errors import ModelInUse, ModelLocked, ModelNotFound
from app.store.locks.leases import UNKNOWN
from app.store.locks.model_locks import ModelLocks
from app.store.policy import Policy
from app.store.store import Store
from tests.support.processes import python

HOLD = """
import sys
from pathlib import Path
from app.store.locks.model_locks import ModelLocks
lease = ModelLocks(Path(sys.argv[1])).lease("a.bin", kind="engine", holder="one")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    (store.root / "a.bin").write_bytes(b"a")
    return store


@pytest.fixture
def locks(store: Store) -> ModelLocks:
    return store.locks


def records(store: Store) -> list[Path]:
    return list((store.root / ".store/locks/leases").glob("*"))


def test_a_refusal_names_the_holders_of_the_leases(store: Store, locks: ModelLocks) -> None:
    """ModelInUse has every living holder with kind, name, process, host and time, the oldest lease first."""
    with python(HOLD, store.volume.lock_file) as other, locks.lease("a.bin", kind="command", holder="two", pid=77):
        with pytest.raises(ModelInUse) as refused, locks.exclusive("a.bin", seconds=0):
            pass
        one, two = refused.value.blockers
        assert (one["kind"], one["holder"], one["pid"], one["host"]) == (
            "engine",
            "one",
            other.pid,
            socket.gethostname(),
        )
        assert (two["kind"], two["holder"], two["pid"]) == ("command", "two", 77)
        assert datetime.now(UTC) - datetime.fromisoformat(one["since"]) < timedelta(minutes=1)
        assert locks.blockers("b.bin") == []


def test_the_record_of_a_killed_holder_is_ignored(store: Store, locks: ModelLocks) -> None:
    """The record of a killed process does not count, even beside another lease, and a sweep deletes it."""
    with python(HOLD, store.volume.lock_file) as killed:
        killed.kill()
        killed.wait()
        assert len(records(store)) == 1
        assert locks.blockers("a.bin") == []
        with locks.lease("a.bin"):
            assert locks.blockers("a.bin") == [UNKNOWN]
        store.deletions.delete(store.deletions.plan("a.bin"))

    store.sweep()

    assert records(store) == []


def test_a_sweep_keeps_the_records_of_living_holders(store: Store, locks: ModelLocks) -> None:
    """The record of a living holder is still there after a sweep."""
    with python(HOLD, store.volume.lock_file):
        store.sweep()
        (blocker,) = locks.blockers("a.bin")
        assert blocker.holder == "one"


def test_a_sweep_never_deletes_the_record_of_a_new_lease(store: Store, locks: ModelLocks) -> None:
    """While another thread sweeps, each of 300 new leases has its record, and no record is left in the end."""
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            locks.sweep()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(300):
            with locks.lease("a.bin", kind="command", holder="me"):
                assert [blocker.holder for blocker in locks.blockers("a.bin")] == ["me"]
    finally:
        done.set()
        sweeper.join()
    assert records(store) == []


def test_a_lease_can_be_released_from_another_thread(store: Store, locks: ModelLocks) -> None:
    """A release by another thread frees the lock and deletes the record; a second release has no effect."""
    lease = locks.lease("a.bin", kind="engine")
    thread = threading.Thread(target=lease.release)
    thread.start()
    thread.join()
    lease.release()

    assert locks.blockers("a.bin") == []
    assert records(store) == []


def test_a_refused_lease_leaves_no_lock_and_no_record(store: Store, locks: ModelLocks) -> None:
    """A lease on a missing model, or on one that is being changed, leaves no lock and no record."""
    with locks.exclusive("a.bin", seconds=0), pytest.raises(ModelLocked):
        locks.lease("a.bin", kind="engine")
    with pytest.raises(ModelNotFound):
        store.lease("missing.bin", kind="engine")

    assert records(store) == []
    with locks.exclusive("a.bin", seconds=0), locks.exclusive("missing.bin", seconds=0):
        pass


@pytest.fixture
def broken_records(store: Store) -> Path:
    """A file in place of the folder of lease records, so that no record can be written."""
    blocked = store.root / ".store/locks/leases"
    blocked.write_text("")
    return blocked


def test_a_lease_without_a_record_prevents_changes(locks: ModelLocks, broken_records: Path) -> None:
    """A lease whose record cannot be written prevents changes, and its holder is unknown."""
    with locks.lease("a.bin", kind="engine"):
        assert locks.blockers("a.bin") == [UNKNOWN]
        with pytest.raises(ModelInUse), locks.exclusive("a.bin", seconds=0):
            pass
    assert broken_records.exists()


def test_a_lease_works_without_a_lock_file(tmp_path: Path) -> None:
    """A lease succeeds if no lock file can be made, as on a read-only volume that no service ever wrote."""
    locks = ModelLocks(tmp_path / "missing" / "locks" / "models")
    with locks.lease("a.bin", kind="engine"):
        assert locks.blockers("a.bin") == []
    assert list(tmp_path.iterdir()) == []
