"""Kernel locks on models, between real processes."""

from dataclasses import asdict
from pathlib import Path

import pytest

from app.errors import ModelInUse, ModelLocked, StoreUnavailable
from app.store.locks import lock_file
from app.store.locks.leases import UNKNOWN
from app.store.locks.model_locks import ModelLocks, is_leased
from app.store.records.reader import open_regular
from tests.support.memory import kept_bytes
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


def test_a_lease_of_another_process_prevents_a_change(locks: ModelLocks, tmp_path: Path) -> None:
    """A change of a leased model raises ModelInUse at once, with the holders; other models can be changed."""
    with python(HOLD, tmp_path / "models", "lease", "a.bin"):
        with pytest.raises(ModelInUse) as refused, locks.exclusive("a.bin", seconds=10):
            pass
        assert refused.value.blockers == [asdict(UNKNOWN)]
        with locks.exclusive("b.bin", seconds=0), locks.lease("a.bin"):
            pass


def test_the_lease_of_a_killed_process_ends(locks: ModelLocks, tmp_path: Path) -> None:
    """The model can be changed as soon as the holder of the lease is killed."""
    with python(HOLD, tmp_path / "models", "lease", "a.bin") as holder:
        holder.kill()
        holder.wait()
        with locks.exclusive("a.bin", seconds=0):
            pass


def test_changes_exclude_each_other_and_leases(locks: ModelLocks, tmp_path: Path) -> None:
    """While a process changes a model, another change and a lease raise ModelLocked."""
    with python(HOLD, tmp_path / "models", "exclusive", "a.bin"):
        with pytest.raises(ModelLocked), locks.exclusive("a.bin", seconds=0.05):
            pass
        with pytest.raises(ModelLocked), locks.lease("a.bin"):
            pass


def test_locks_hold_between_threads_of_one_process_too(locks: ModelLocks) -> None:
    """Two changes in one process exclude each other, since each opens the lock file anew."""
    with locks.exclusive("a.bin", seconds=0), pytest.raises(ModelLocked), locks.exclusive("a.bin", seconds=0.05):
        pass


def test_leased_positions_has_the_leases_of_all_processes(locks: ModelLocks, tmp_path: Path) -> None:
    """`leased_positions` has every leased model, of any process, and no model that is only being changed."""
    names = [f"model-{number}.bin" for number in range(40)]
    held = [locks.lease(name) for name in names[:20]]
    with python(HOLD, tmp_path / "models", "lease", names[20]), locks.exclusive(names[21], seconds=0):
        leased_positions = locks.leased_positions()
    for lease in held:
        lease.release()

    assert [name for name in names if is_leased(name, leased_positions)] == names[:21]
    assert locks.leased_positions() == frozenset()


def test_no_lock_file_is_made_through_a_link(tmp_path: Path) -> None:
    """If the folder of the lock file is a link, nothing is created in the folder it leads to."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "locks").symlink_to("outside")
    locks = ModelLocks(tmp_path / "locks/models")

    with pytest.raises(StoreUnavailable), locks.exclusive("a.bin", seconds=0):
        pass

    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("instead", ["file", "link"])
def test_a_folder_that_is_replaced_while_the_lock_file_is_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    """Once the lock file was found missing, its folder is replaced: a change and a lease raise StoreUnavailable.

    The replacement is made by the function that looks for the lock file, since another program cannot be made to act at
    just that moment.
    """
    folder = tmp_path / "locks"
    locks = ModelLocks(folder / "models")

    def look(path: Path, flags: int) -> int:
        try:
            return open_regular(path, flags)
        finally:
            if instead == "file" and not folder.exists():
                folder.write_bytes(b"nothing of the service")
            elif instead == "link" and not folder.is_symlink():
                folder.symlink_to(tmp_path / "nowhere")

    monkeypatch.setattr(lock_file, "open_regular", look)
    named = f"{folder / 'models'} cannot be used as the lock file"
    with pytest.raises(StoreUnavailable, match=named), locks.exclusive("a.bin", seconds=0):
        pass
    folder.unlink()
    with pytest.raises(StoreUnavailable, match=named):
        locks.lease("a.bin")


def test_nothing_is_kept_for_each_locked_name(locks: ModelLocks, tmp_path: Path) -> None:
    """Changes of many names keep no memory: a caller chooses names, and may choose a new one for each change."""

    def change(names: range) -> None:
        for number in names:
            with locks.exclusive(f"{number}.bin", seconds=10):
                pass

    with locks.lease("leased.bin", kind="command"):
        change(range(50))
        assert kept_bytes(lambda: change(range(50, 350))) < 50_000
