"""Kernel locks on models, across threads, processes and replicas: one byte of one lock file for each name.

Open-file-description locks (Linux 3.15): they end with their holder whatever kills it, work over NFS, and can be asked
about without being taken. A byte of one file, rather than a file for each model, leaves nothing to clean up and no
lock file to unlink from under a waiter; the byte's position is a hash of the name, and 2^62 of them do not collide.
"""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from app.errors import ModelInUse, ModelLocked
from app.store.locks.leases import UNKNOWN, Blocker, Lease, LeaseRecords
from app.store.locks.ofd import EXCLUSIVE, SHARED, blocking, try_lock

LOCK_SECONDS = 2.0
"""How long a change or a lease waits for another change of the same model; each takes milliseconds."""
RETRY_SECONDS = 0.01
POSITIONS = 1 << 62


class ModelLocks:
    """The locks of one model folder."""

    def __init__(self, lock_file: Path) -> None:
        self._path = lock_file
        self._records = LeaseRecords(lock_file.with_name("leases"))
        self._leases: set[Lease] = set()
        self._changing_leases = threading.Lock()

    @contextmanager
    def exclusive(self, name: str, *, seconds: float) -> Iterator[None]:
        """Hold the lock for one change to one model.

        Raises ModelInUse at once when somebody holds a lease, and ModelLocked when another change holds the lock for
        longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        with self._opened(os.O_RDWR) as lock_file:
            while not try_lock(lock_file, EXCLUSIVE, _byte_of(name)):
                found = blocking(lock_file, _byte_of(name), 1)
                if (found and found[0] == SHARED) or self._is_leased_here(name):
                    raise ModelInUse(name, [asdict(blocker) for blocker in self._holders_of(name)])
                if time.monotonic() >= deadline:
                    raise ModelLocked(name)
                time.sleep(RETRY_SECONDS)
            yield

    def lease(
        self,
        name: str,
        *,
        kind: str | None = None,
        holder: str | None = None,
        pid: int | None = None,
        seconds: float = 0.0,
    ) -> Lease:
        """Say for a while that a model is in use: shared among users, and in the way of every change.

        With a `kind` it says who: which `holder` of that kind, in which process, this one if not another's `pid`.
        Raises ModelLocked when a change holds the lock for longer than `seconds`. On a read-only disk it works too.
        """
        deadline = time.monotonic() + seconds
        with ExitStack() as held:
            record = self._records.write(name, kind, holder, pid) if kind else None
            if record:
                held.callback(record.remove)
            try:
                # Left before the record is: a record without a lease is nobody's, a lease without one is somebody's.
                lock_file = held.enter_context(self._opened(os.O_RDONLY))
            except FileNotFoundError:
                # A read-only folder that no service ever wrote: there is nothing to hold, and nobody to be held off.
                return Lease(name, held.pop_all(), [])
            while not try_lock(lock_file, SHARED, _byte_of(name)):
                if time.monotonic() >= deadline:
                    raise ModelLocked(name)
                time.sleep(RETRY_SECONDS)
            lease = Lease(name, held.pop_all(), [lock_file, *([record.descriptor] if record else [])])
            with self._changing_leases:
                self._leases.add(lease)
            lease.on_release(self._forget)
            return lease

    def retake_lost_leases(self) -> Iterator[Lease]:
        """Take the leases of this process again whose locks the file system has lost, as a restarted server does.

        Yields each lease whose lock was lost. `is_lost` is set on those that could not be taken again, because their
        model is being changed. Costs 1 µs for each lease.
        """
        with self._changing_leases:
            leases = [lease for lease in self._leases if not lease.is_lost]
        for lease in leases:
            if not self._has_lock(lease.name):
                with self._changing_leases:
                    if lease in self._leases:
                        self._retake(lease)
                yield lease

    def _retake(self, lease: Lease) -> None:
        lock_file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if try_lock(lock_file, SHARED, _byte_of(lease.name)):
            lease.add_lock(lock_file)
        else:
            os.close(lock_file)
            lease.is_lost = True

    def _has_lock(self, name: str) -> bool:
        with self._opened(os.O_RDONLY) as lock_file:
            found = blocking(lock_file, _byte_of(name), 1)
        return found is not None and found[0] == SHARED

    def _leased_here(self) -> set[str]:
        """The models that this process leases: CIFS does not tell a machine of its own locks."""
        with self._changing_leases:
            return {lease.name for lease in self._leases if not lease.is_lost}

    def _is_leased_here(self, name: str) -> bool:
        return name in self._leased_here()

    def _forget(self, lease: Lease) -> None:
        with self._changing_leases:
            self._leases.discard(lease)

    def leased_positions(self) -> frozenset[int]:
        """The positions of all leases held now, by anybody; `is_leased()` says whose. Costs 1 µs, and 2 for each."""
        try:
            with self._opened(os.O_RDONLY) as lock_file:
                return frozenset(_leases(lock_file, 0, POSITIONS)) | {_byte_of(name) for name in self._leased_here()}
        except FileNotFoundError:
            return frozenset()

    def blockers(self, name: str) -> list[Blocker]:
        """Who uses a model now; empty when nobody does. A holder that left no record shows only when no other did."""
        try:
            with self._opened(os.O_RDONLY) as lock_file:
                found = blocking(lock_file, _byte_of(name), 1)
        except FileNotFoundError:
            return []
        is_leased = (found and found[0] == SHARED) or self._is_leased_here(name)
        return self._holders_of(name) if is_leased else []

    def is_locked(self, name: str) -> bool:
        """Whether anybody holds the exclusive lock, asked without taking it."""
        with self._opened(os.O_RDONLY) as lock_file:
            found = blocking(lock_file, _byte_of(name), 1)
        return found is not None and found[0] == EXCLUSIVE

    def sweep(self) -> None:
        """Remove what killed holders of leases left."""
        self._records.sweep()

    def _holders_of(self, name: str) -> list[Blocker]:
        return self._records.of(name) or [UNKNOWN]

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        # Closing this descriptor is what gives the lock back.
        descriptor = os.open(self._path, flags | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def is_leased(name: str, leased_positions: frozenset[int]) -> bool:
    """Whether the model's lease is among those held."""
    return bool(leased_positions) and _byte_of(name) in leased_positions


def _byte_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 2


def _leases(lock_file: int, start: int, end: int) -> Iterator[int]:
    """The kernel names one lock of the range, not the first: look again on both sides of it."""
    spans = [(start, end)]
    while spans:
        start, end = spans.pop()
        found = blocking(lock_file, start, end - start) if start < end else None
        if found:
            kind, at = found
            if kind == SHARED:
                yield at
            spans += [(start, at), (at + 1, end)]
