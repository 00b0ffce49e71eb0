"""Kernel locks on models, between real processes."""

from dataclasses import asdict
from pathlib import Path

import pytest

from app.errors import ModelInUse, ModelLocked
from app.store.locks.leases import UNKNOWN
from app.store.locks.model_locks import ModelLocks, is_leased
from tests.support.processes import python

HOLD = """
import sys
from pathlib import Path
from app.store.locks.model_locks import ModelLocks
locks = ModelLocks(Path(sys.argv[1]))
kind, name = sys.argv[2:]
with locks.lease(name) if kind == "lease" else locks.exclusive(name, seconds=1):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path: Path) -> ModelLocks:
    (tmp_path / "models").touch()
    return ModelLocks(tmp_path / "models")


def test_a_lease_stands_in_the_way_of_a_change(locks: ModelLocks, tmp_path: Path) -> None:
    """A lease held by another process refuses the change at once, with the blockers; other models are free."""
    with python(HOLD, tmp_path / "models", "lease", "a.bin"):
        with pytest.raises(ModelInUse) as refused, locks.exclusive("a.bin", seconds=10):
            pass
        assert refused.value.blockers == [asdict(UNKNOWN)]
        with locks.exclusive("b.bin", seconds=0), locks.lease("a.bin"):
            pass


def test_a_killed_holder_holds_nothing(locks: ModelLocks, tmp_path: Path) -> None:
    """A lock goes with its holder; none is ever stale."""
    with python(HOLD, tmp_path / "models", "lease", "a.bin") as holder:
        holder.kill()
        holder.wait()
        with locks.exclusive("a.bin", seconds=0):
            pass


def test_changes_exclude_each_other_and_leases(locks: ModelLocks, tmp_path: Path) -> None:
    """Two changes of one model never run together, and no lease begins within one."""
    with python(HOLD, tmp_path / "models", "exclusive", "a.bin"):
        with pytest.raises(ModelLocked), locks.exclusive("a.bin", seconds=0.05):
            pass
        with pytest.raises(ModelLocked), locks.lease("a.bin"):
            pass


def test_locks_hold_between_threads_of_one_process_too(locks: ModelLocks) -> None:
    """The kernel counts each opened lock file, not each process."""
    with locks.exclusive("a.bin", seconds=0), pytest.raises(ModelLocked), locks.exclusive("a.bin", seconds=0.05):
        pass


def test_all_leases_can_be_seen_without_touching_them(locks: ModelLocks, tmp_path: Path) -> None:
    """Every leased model is known, whoever holds the lease and in whatever order; changes are not leases."""
    names = [f"model-{number}.bin" for number in range(40)]
    held = [locks.lease(name) for name in names[:20]]
    with python(HOLD, tmp_path / "models", "lease", names[20]), locks.exclusive(names[21], seconds=0):
        leased_positions = locks.leased_positions()
    for lease in held:
        lease.release()

    assert [name for name in names if is_leased(name, leased_positions)] == names[:21]
    assert locks.leased_positions() == frozenset()
