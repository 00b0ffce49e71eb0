"""Leases that say who holds them, between real processes."""

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


def test_a_lease_says_who_where_and_since_when(store: Store, locks: ModelLocks) -> None:
    """Every living holder is among the blockers of a refusal, the longest first; other models have none."""
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


def test_a_killed_holder_is_nobody_at_once(store: Store, locks: ModelLocks) -> None:
    """Its record counts for nothing, even while another's lease stands; and a sweep takes it away."""
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


def test_a_sweep_leaves_the_living(store: Store, locks: ModelLocks) -> None:
    """However often it sweeps, and it never is in a holder's way."""
    with python(HOLD, store.volume.lock_file):
        store.sweep()
        (blocker,) = locks.blockers("a.bin")
        assert blocker.holder == "one"


def test_leases_begin_while_others_sweep(store: Store, locks: ModelLocks) -> None:
    """No record is swept between its making and its lock, and none stays."""
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


def test_a_lease_is_given_back_once_from_any_thread(store: Store, locks: ModelLocks) -> None:
    """Explicitly, a second time to no effect; its record goes with it."""
    lease = locks.lease("a.bin", kind="engine")
    thread = threading.Thread(target=lease.release)
    thread.start()
    thread.join()
    lease.release()

    assert locks.blockers("a.bin") == []
    assert records(store) == []


def test_a_lease_that_cannot_begin_leaves_nothing(store: Store, locks: ModelLocks) -> None:
    """A change is under way, or there is no such model: no lock, no record."""
    with locks.exclusive("a.bin", seconds=0), pytest.raises(ModelLocked):
        locks.lease("a.bin", kind="engine")
    with pytest.raises(ModelNotFound):
        store.lease("missing.bin", kind="engine")

    assert records(store) == []
    with locks.exclusive("a.bin", seconds=0), locks.exclusive("missing.bin", seconds=0):
        pass


@pytest.fixture
def broken_records(store: Store) -> Path:
    """A file where the folder of records should be, as a read-only disk would refuse it."""
    blocked = store.root / ".store/locks/leases"
    blocked.write_text("")
    return blocked


def test_a_lease_without_a_record_holds_all_the_same(locks: ModelLocks, broken_records: Path) -> None:
    """Where nothing can be written it is only unknown whose it is."""
    with locks.lease("a.bin", kind="engine"):
        assert locks.blockers("a.bin") == [UNKNOWN]
        with pytest.raises(ModelInUse), locks.exclusive("a.bin", seconds=0):
            pass
    assert broken_records.exists()


def test_a_folder_without_a_lock_file_has_nothing_to_hold(tmp_path: Path) -> None:
    """As a read-only volume that no service ever wrote: its models can be used, and nobody there deletes them."""
    locks = ModelLocks(tmp_path / "models")
    with locks.lease("a.bin", kind="engine"):
        assert locks.blockers("a.bin") == []
    assert list((tmp_path / "leases").iterdir()) == []
