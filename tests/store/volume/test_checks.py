"""The checks of a volume, and the errors of its file system."""

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from app.errors import ModelLocked, StoreDenied, StoreReadOnly, StoreUnavailable, StoreUnsafe
from app.store.locks.model_locks import ModelLocks
from app.store.locks.ofd import try_lock_file
from app.store.store import Store
from app.store.volume import checks
from app.store.volume.checks import PROBE_PREFIX, CheckName, try_volume
from app.store.volume.filesystem import FileSystem, file_system_of
from app.store.volume.monitor import VolumeMonitor
from app.store.volume.refusals import explaining_refusals
from tests.support.waiting import eventually


def test_a_local_disk_passes_every_check_and_nothing_is_left(store: Store) -> None:
    """A local disk passes every check, and the temporary folders are removed, also those of a killed process."""
    left = store.volume.store_dir / f"{PROBE_PREFIX}left"
    left.mkdir()
    os.utime(left, (0, 0))
    watch = VolumeMonitor(store.volume, lambda *_: None)

    watch.check()
    watch.close()

    assert {check.name for check in watch.checks} == set(CheckName) - {CheckName.SHARED_LOCKS}
    assert [check.reason for check in watch.checks if not check.ok] == []
    assert store.volume.time_step_ns == 1
    assert list(store.volume.store_dir.glob(f"{PROBE_PREFIX}*")) == []


def test_a_failed_required_check_refuses_changes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a required check fails, changes raise StoreUnsafe with the reason, and models can still be listed."""
    # No file system here gives one lock twice, so a patched call claims to have taken the lock.
    monkeypatch.setattr(checks, "try_lock_file", lambda _: True)
    watch = VolumeMonitor(store.volume, lambda *_: None, is_single=True)
    watch.check()
    watch.close()
    (store.root / "a.bin").touch()

    with pytest.raises(StoreUnsafe, match="second time"):
        store.deletions.plan("a.bin")
    assert list(store.scan().models) == ["a.bin"]


def test_coarse_times_fail_the_check_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report has the precision of the file system's times, and the check fails if it is 1 s."""
    utime = os.utime
    # Every file system here stores nanoseconds, so a patched call rounds the time that it sets.
    monkeypatch.setattr(os, "utime", lambda path, ns: utime(path, ns=tuple(each // 10**9 * 10**9 for each in ns)))

    report = try_volume(tmp_path, FileSystem("fuse.sshfs"))

    assert report.time_step_ns == 10**9
    (times,) = [check for check in report.checks if check.name == "times"]
    assert (times.ok, times.required) == (False, False)
    assert "steps of 1 s" in str(times.reason)


def test_the_mount_table_shows_whether_a_file_system_is_local(tmp_path: Path) -> None:
    """A folder on this machine's disk is local; a network file system and an unknown one are shared."""
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
def test_each_error_of_a_file_system_has_its_own_exception(number: int, refusal: type[Exception]) -> None:
    """Read-only, denied and lost file systems raise StoreReadOnly, StoreDenied and StoreUnavailable."""
    with pytest.raises(refusal), explaining_refusals():
        raise OSError(number, os.strerror(number))


def test_eacces_for_a_lock_means_that_it_is_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """POSIX allows EACCES for a held lock, and CIFS returns it; here a patched call returns it."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("app.store.locks.ofd.fcntl.fcntl", refuse)

    with (store.root / "a").open("w") as file:
        assert try_lock_file(file.fileno()) is False
    monkeypatch.undo()
    with store.locks.exclusive("a", seconds=0), pytest.raises(ModelLocked), store.locks.exclusive("a", seconds=0):
        pass


def test_a_volume_that_does_not_answer_is_unavailable_until_it_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that waits for a lock stands in for a server that hangs, since no local file makes a call hang."""
    watch, hanging = VolumeMonitor(store.volume, lambda *_: None), threading.Event()
    monkeypatch.setattr(store.volume, "check", hanging.wait)
    looking = threading.Thread(target=watch.check)
    looking.start()

    assert watch.unanswered is None
    eventually(lambda: watch.unanswered is not None)
    assert "not answered" in str(watch.unanswered)

    hanging.set()
    looking.join()
    assert watch.unanswered is None
    watch.close()


def test_a_lost_lease_is_retaken(store: Store) -> None:
    """A lease whose lock was lost, here by a replaced lock file, is held again after `retake_lost_leases`."""
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


def test_a_lease_that_cannot_be_retaken_is_reported_lost(store: Store) -> None:
    """If all locks were removed and another process changes the model, `retake_lost_leases` sets `is_lost`."""
    (store.root / "a.bin").touch()
    with store.lease("a.bin", kind="engine"):
        shutil.rmtree(store.volume.lock_file.parent)
        of_other_process = ModelLocks(store.volume.lock_file)

        with of_other_process.exclusive("a.bin", seconds=0):
            assert [each.is_lost for each in store.locks.retake_lost_leases()] == [True]
