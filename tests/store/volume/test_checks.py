"""A volume is judged by what it does."""

import errno
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from app.errors import ModelLocked, StoreDenied, StoreReadOnly, StoreUnavailable, StoreUnsafe
from app.store.locks.model_locks import ModelLocks
from app.store.locks.ofd import try_lock_file
from app.store.policy import Policy
from app.store.store import Store
from app.store.volume import checks
from app.store.volume.checks import PROBE_PREFIX, CheckName, try_volume
from app.store.volume.filesystem import FileSystem, file_system_of
from app.store.volume.monitor import HUNG_SECONDS, VolumeMonitor
from app.store.volume.volume import explaining_refusals
from tests.support.waiting import eventually


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    return store


def test_a_local_disk_passes_every_check_and_nothing_is_left(store: Store) -> None:
    """Whatever a killed process left of an earlier trial is removed as well."""
    left = store.volume.store_dir / f"{PROBE_PREFIX}left"
    left.mkdir()
    os.utime(left, (0, 0))
    watch = VolumeMonitor(store.volume, lambda *_: None)

    watch.check()

    assert {check.name for check in watch.checks} == set(CheckName) - {CheckName.SHARED_LOCKS}
    assert [check.reason for check in watch.checks if not check.ok] == []
    assert store.volume.time_step_ns == 1
    assert list(store.volume.store_dir.glob(f"{PROBE_PREFIX}*")) == []


def test_what_a_volume_lacks_makes_it_unsafe(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are refused with the reason; lists are not."""
    # No file system here gives one lock twice, so the lock is told that it was given.
    monkeypatch.setattr(checks, "try_lock_file", lambda _: True)
    VolumeMonitor(store.volume, lambda *_: None, is_single=True).check()
    (store.root / "a.bin").touch()

    with pytest.raises(StoreUnsafe, match="second time"):
        store.deletions.plan("a.bin")
    assert list(store.scan().models) == ["a.bin"]


def test_coarse_times_are_found_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two versions of one size that come within one step would have the same etag."""
    utime = os.utime
    # Every file system here keeps nanoseconds, so the clock's step is put into the call that sets them.
    monkeypatch.setattr(os, "utime", lambda path, ns: utime(path, ns=tuple(each // 10**9 * 10**9 for each in ns)))

    report = try_volume(tmp_path, FileSystem("fuse.sshfs"))

    assert report.time_step_ns == 10**9
    (times,) = [check for check in report.checks if check.name == "times"]
    assert (times.ok, times.required) == (False, False)
    assert "steps of 1 s" in str(times.reason)


def test_a_network_file_system_is_told_by_its_mount(tmp_path: Path) -> None:
    """A folder on this machine's disk is local; what is not known is shared."""
    assert file_system_of(tmp_path).is_local
    assert not FileSystem("nfs4").is_local
    assert not FileSystem("unknown").is_local


@pytest.mark.parametrize(
    ("number", "refusal"),
    [
        (errno.EROFS, StoreReadOnly),
        (errno.EACCES, StoreDenied),
        (errno.EPERM, StoreDenied),
        (errno.ESTALE, StoreUnavailable),
        (errno.EIO, StoreUnavailable),
        (errno.ENOTCONN, StoreUnavailable),
    ],
)
def test_what_a_file_system_refuses_has_its_own_name(number: int, refusal: type[Exception]) -> None:
    """A lack of rights is not a read-only disk, and a lost server is not a defect of the service."""
    with pytest.raises(refusal), explaining_refusals():
        raise OSError(number, os.strerror(number))


def test_a_lock_conflict_that_is_told_as_a_lack_of_rights_is_a_conflict(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """POSIX allows it, and CIFS does it; no file system here does, so the call is told to."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("app.store.locks.ofd.fcntl.fcntl", refuse)

    with (store.root / "a").open("w") as file:
        assert try_lock_file(file.fileno()) is False
    monkeypatch.undo()
    with store.locks.exclusive("a", seconds=0), pytest.raises(ModelLocked), store.locks.exclusive("a", seconds=0):
        pass


def test_a_volume_that_does_not_answer_is_unavailable_until_it_does(store: Store) -> None:
    """A FIFO in place of the identity stands in for a server that hangs: to open it waits."""
    watch = VolumeMonitor(store.volume, lambda *_: None)
    identity = store.volume.store_dir / "store.json"
    content = identity.read_text()
    identity.unlink()
    os.mkfifo(identity)
    looking = threading.Thread(target=watch.check)
    looking.start()

    assert watch.unanswered is None
    eventually(lambda: watch.unanswered is not None, within=HUNG_SECONDS + 2)
    assert "not answered" in str(watch.unanswered)

    identity.write_text(content)  # which whoever reads the FIFO gets
    looking.join()
    assert watch.unanswered is None


def test_a_lease_that_its_file_system_lost_is_taken_again(store: Store) -> None:
    """As after the restart of a lock server; a lock file that was replaced loses locks as well."""
    (store.root / "a.bin").touch()
    lost, kept = store.lease("a.bin", kind="engine"), store.volume.lock_file
    kept.unlink()
    kept.touch()
    others = ModelLocks(store.volume.lock_file)
    assert others.blockers("a.bin") == []

    (retaken,) = store.locks.retake_lost_leases()

    assert (retaken, retaken.is_lost) == (lost, False)
    assert [blocker.kind for blocker in others.blockers("a.bin")] == ["engine"]
    assert list(store.locks.retake_lost_leases()) == []
    lost.release()
    assert others.blockers("a.bin") == []


def test_a_lease_that_cannot_be_taken_again_is_reported_lost(store: Store) -> None:
    """Somebody is changing the model by now."""
    (store.root / "a.bin").touch()
    lease = store.lease("a.bin", kind="engine")
    store.volume.lock_file.unlink()
    store.volume.lock_file.touch()

    with store.locks.exclusive("a.bin", seconds=0):
        assert [each.is_lost for each in store.locks.retake_lost_leases()] == [True]

    lease.release()
