"""Kernel locks on models, across threads, processes and replicas: one byte of one lock file for each name.

Open-file-description locks (Linux 3.15) end with their holder even if the holder is killed, work over NFS, and can be
queried without being taken. There is one file with a byte for each model, and not a file for each model: so no lock
file needs to be deleted, while another process may wait for it. A byte's position is a hash of the name; among 2^62
positions a collision is practically impossible.
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from app.errors import ModelInUse, ModelLocked
from app.store.locks.leases import UNKNOWN, Blocker, Lease, LeaseRecords
from app.store.locks.lock_file import LockFile
from app.store.locks.ofd import EXCLUSIVE, SHARED, find_lock, try_lock_byte
from app.store.records.reader import RecordReader

STORE_LOCK_SECONDS = 2.0
"""How long, in seconds, a change or a lease waits for another change of the same file. A change takes milliseconds."""
RETRY_SECONDS = 0.01


class ModelLocks:
    """The locks of one model folder."""

    def __init__(self, lock_file: Path, reader: RecordReader | None = None) -> None:
        """`reader` reads the records of leases and remembers damaged records.

        Without `reader`, a new reader is used, so that no other part of the service learns of damaged records.
        """
        self._file = LockFile(lock_file)
        self._records = LeaseRecords(lock_file.with_name("leases"), reader or RecordReader(lock_file.parent))
        self._leases: set[Lease] = set()
        self._changing_leases = threading.Lock()

    @contextmanager
    def exclusive(self, name: str, *, seconds: float) -> Iterator[None]:
        """Hold the exclusive lock of a model during one change of the model.

        Raises ModelInUse at once if the model is leased, and ModelLocked if another change holds the lock for longer
        than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            with self._file.opened(os.O_RDWR) as lock_file:
                self._lock(lock_file, name, deadline)
                # A lock on a file that was removed meanwhile would exclude no other process.
                if self._file.is_present(lock_file) and self._is_free_on_former(lock_file, name):
                    yield
                    return
            if time.monotonic() >= deadline + RETRY_SECONDS:
                raise ModelLocked(name)

    def _lock(self, lock_file: int, name: str, deadline: float) -> None:
        while not try_lock_byte(lock_file, EXCLUSIVE, _position_of(name)):
            found = find_lock(lock_file, _position_of(name), 1)
            if (found and found[0] == SHARED) or self._is_leased_here(name):
                raise self._in_use(name)
            if time.monotonic() >= deadline:
                raise ModelLocked(name)
            time.sleep(RETRY_SECONDS)

    def _is_free_on_former(self, lock_file: int, name: str) -> bool:
        """True if no process holds a lock of the model on a lock file that was removed or replaced.

        Returns False if `lock_file` was removed just now, so that the lock may be the caller's own. Raises ModelInUse
        or ModelLocked if another process holds it.
        """
        kind = self._file.lock_on_former(_position_of(name))
        if kind == EXCLUSIVE:
            if not self._file.is_present(lock_file):
                return False
            raise ModelLocked(name)
        if kind == SHARED or self._records.has_older_than(os.fstat(lock_file).st_mtime_ns, name):
            raise self._in_use(name)
        return True

    def _in_use(self, name: str) -> ModelInUse:
        return ModelInUse(name, [asdict(blocker) for blocker in self._holders_of(name)])

    def lease(
        self,
        name: str,
        *,
        kind: str | None = None,
        holder: str | None = None,
        pid: int | None = None,
        seconds: float = 0.0,
    ) -> Lease:
        """Take a shared lock that prevents every change of a model while it is in use.

        With `kind`, a record describes the lease: the `kind` of use, the name of the `holder`, and the process `pid`,
        by default this process. Raises ModelLocked if a change holds the lock for longer than `seconds`. Works on a
        read-only disk too.
        """
        deadline = time.monotonic() + seconds
        with ExitStack() as held:
            record = self._records.write(name, kind, holder, pid) if kind else None
            if record:
                held.callback(record.remove)
            try:
                # The lock is released before the record is removed: a record without a lease is ignored, but a lease
                # without a record has an unknown holder.
                lock_file = held.enter_context(self._file.opened(os.O_RDONLY))
            except FileNotFoundError:
                if self._file.could_be_made():
                    raise
                # The disk is read-only and has no lock file: no process can change a model, so no lock is needed.
                return Lease(name, held.pop_all(), [])
            while not try_lock_byte(lock_file, SHARED, _position_of(name)):
                if time.monotonic() >= deadline:
                    raise ModelLocked(name)
                time.sleep(RETRY_SECONDS)
            lease = Lease(name, held.pop_all(), [lock_file, *([record.descriptor] if record else [])])
            with self._changing_leases:
                self._leases.add(lease)
            lease.on_release(self._forget)
            return lease

    def retake_lost_leases(self) -> Iterator[Lease]:
        """Take again the locks of this process's leases that the file system has lost.

        A file system loses locks if its server restarts, for example. Yields each lease whose lock was lost. If the
        lock could not be taken again because the model is being changed, sets the lease's `is_lost`. Costs 1 µs for
        each lease.
        """
        self._file.carry_leases()
        with self._changing_leases:
            leases = [lease for lease in self._leases if not lease.is_lost]
        for lease in leases:
            if not self._has_lock(lease.name):
                with self._changing_leases:
                    if lease in self._leases:
                        self._retake(lease)
                yield lease

    def _retake(self, lease: Lease) -> None:
        lock_file = self._file.open(os.O_RDONLY)
        if try_lock_byte(lock_file, SHARED, _position_of(lease.name)):
            lease.add_lock(lock_file)
        else:
            os.close(lock_file)
            lease.is_lost = True

    def _has_lock(self, name: str) -> bool:
        with self._file.opened(os.O_RDONLY) as lock_file:
            found = find_lock(lock_file, _position_of(name), 1)
        return found is not None and found[0] == SHARED

    def _leased_here(self) -> set[str]:
        """Return the names of the models that this process leases.

        This list is needed because CIFS does not report locks that are held on the same machine.
        """
        with self._changing_leases:
            return {lease.name for lease in self._leases if not lease.is_lost}

    def _is_leased_here(self, name: str) -> bool:
        return name in self._leased_here()

    def _forget(self, lease: Lease) -> None:
        with self._changing_leases:
            self._leases.discard(lease)

    def leased_positions(self) -> frozenset[int]:
        """Return the lock positions of all leases of all processes, for `is_leased()`.

        Takes 1 µs, and 2 µs for each lease.
        """
        return self._file.leased_positions() | {_position_of(name) for name in self._leased_here()}

    def blockers(self, name: str) -> list[Blocker]:
        """List the holders of a model's leases by their records; [UNKNOWN] if the model is leased without a record."""
        found = None
        with suppress(FileNotFoundError), self._file.opened(os.O_RDONLY) as lock_file:
            found = find_lock(lock_file, _position_of(name), 1)
        is_leased = (
            (found and found[0] == SHARED)
            or self._is_leased_here(name)
            or self._file.lock_on_former(_position_of(name)) == SHARED
        )
        return self._holders_of(name) if is_leased else []

    def is_locked(self, name: str) -> bool:
        """True if a process holds the exclusive lock of a model. Takes no lock."""
        with self._file.opened(os.O_RDONLY) as lock_file:
            found = find_lock(lock_file, _position_of(name), 1)
        return found is not None and found[0] == EXCLUSIVE

    def sweep(self) -> None:
        """Delete the records of killed holders of leases."""
        self._records.sweep()

    def _holders_of(self, name: str) -> list[Blocker]:
        return self._records.of(name) or [UNKNOWN]


def is_leased(name: str, leased_positions: frozenset[int]) -> bool:
    """True if a model is leased, according to the result of `ModelLocks.leased_positions()`."""
    return bool(leased_positions) and _position_of(name) in leased_positions


def _position_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 2
