"""One staging file in the hands of its writer."""

import errno
import hashlib
import io
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from app.store.headers.description import Description, describe
from app.store.volume.renames import rename_without_replacing, sync_folder
from app.store.volume.volume import explaining_refusals

READ_BYTES = 4 << 20


class StagedFile:
    """A file in the staging folder, locked. It blocks: call it from threads, any number of them."""

    def __init__(self, file: io.FileIO, path: Path, algorithms: Iterable[str], record_path: Path | None = None) -> None:
        self.size_bytes = os.fstat(file.fileno()).st_size
        self.record_path = record_path
        """The record beside it, by which it is kept."""
        self._file = file
        self._path = path
        self._algorithms = tuple(algorithms)
        self._start_hashing()
        # A request that ends early lets go of the file while a thread may still write it.
        self._working = threading.Lock()
        self._is_ending = False

    @property
    def is_kept(self) -> bool:
        """Whether it stays in staging when its writer lets go of it."""
        return self.record_path is not None

    def write(self, data: bytes | bytearray) -> None:
        """Append, and take it into the digests; raises StoreFull, StoreReadOnly, with what fitted written.

        What was written outlives this process: the kernel has it. It outlives the machine's power once it is synced.
        """
        with explaining_refusals(), self._working:
            rest = memoryview(data)
            while rest:
                written = self._file.write(rest)
                if self._hashed_bytes == self.size_bytes:
                    self._hash(rest[:written])
                self.size_bytes += written
                rest = rest[written:]

    def digest(self, algorithm: str) -> bytes:
        """The digest of everything in it, by one of the algorithms that were asked for in the beginning.

        Costs the reading of it when some was written before this writer had it, which may take minutes; raises
        ValueError when its writer lets go of it meanwhile.
        """
        while True:
            with self._working:
                if self._hashed_bytes >= self.size_bytes:
                    return self._hashes[algorithm].digest()
                if self._is_ending:  # close waits for the lock, and this loop would take it again first
                    raise ValueError("the staging file is being closed")
                self._hash(self._read(self._hashed_bytes, self.size_bytes))

    def digest_since(self, start: int, algorithm: str) -> bytes:
        """The digest of what lies behind a position, read again; by any algorithm of `hashlib`."""
        digest = hashlib.new(algorithm)
        with self._working:
            while start < self.size_bytes:
                data = self._read(start, self.size_bytes)
                digest.update(data)
                start += len(data)
        return digest.digest()

    def describe(self, name: str) -> Description:
        """What it says of itself in its header, as a model of that name."""
        with self._working:
            return describe(self._file.fileno(), self.size_bytes, name)

    def sync(self) -> None:
        """Have everything that was written on the disk; raises StoreFull, StoreReadOnly."""
        with explaining_refusals(), self._working:
            os.fsync(self._file.fileno())

    def cut(self, size_bytes: int) -> None:
        """Give up what lies behind a position."""
        with explaining_refusals(), self._working:
            self._file.truncate(size_bytes)
            self._file.seek(size_bytes)
            self.size_bytes = size_bytes
            if self._hashed_bytes > size_bytes:
                self._start_hashing()

    def stamp(self, step_ns: int, *, other_than: tuple[int, int] | None) -> int:
        """Give it a modification time of its own, which the version's etag is made of, and return that in nanoseconds.

        Raises StoreReadOnly.

        `step_ns` are the steps in which the file system keeps times. `other_than` are the size and the time, in
        nanoseconds, of another version: of the same size, it gets another time.
        """
        with explaining_refusals(), self._working:
            now_ns = time.time_ns() // step_ns * step_ns
            if other_than == (self.size_bytes, now_ns):
                now_ns += step_ns
            os.utime(self._file.fileno(), ns=(now_ns, now_ns))
            return now_ns

    def rename(self, leaf: str) -> None:
        """Give it another name in the staging folder; raises FileExistsError when that is taken."""
        with self._working:
            self._move_without_replacing(None, leaf)
            self._path = self._path.with_name(leaf)

    def move(self, folder: int, leaf: str, *, replacing: bool) -> os.stat_result:
        """Give it a name in an open folder, in one step, and return what is there then; it is staged no longer.

        Unless `replacing`, raises FileExistsError when the name is taken.
        """
        with self._working:
            if replacing:
                os.rename(self._path, leaf, dst_dir_fd=folder)
            else:
                self._move_without_replacing(folder, leaf)
            sync_folder(folder)
            return os.fstat(self._file.fileno())

    def release(self) -> None:
        """Close and unlock the file. A kept one can be resumed by any process; another is swept."""
        self._is_ending = True
        with self._working:
            self._file.close()

    def discard(self) -> None:
        """Let go of it for good: what has no name elsewhere is gone, and its record too."""
        self._is_ending = True
        with self._working, self._file:
            if self.record_path:
                self.record_path.unlink(missing_ok=True)
            # Its name is nobody else's, and after a move there is nothing at it.
            self._path.unlink(missing_ok=True)

    def _start_hashing(self) -> None:
        self._hashes = {algorithm: hashlib.new(algorithm) for algorithm in self._algorithms}
        self._hashed_bytes = 0

    def _hash(self, data: bytes | memoryview) -> None:
        for each in self._hashes.values():
            each.update(data)
        self._hashed_bytes += len(data)

    def _read(self, start: int, end: int) -> bytes:
        data = os.pread(self._file.fileno(), min(READ_BYTES, end - start), start)
        if not data:
            raise OSError(errno.EIO, "the staging file is shorter than what was written")
        return data

    def _move_without_replacing(self, folder: int | None, leaf: str) -> None:
        """Into the staging folder when no other is given."""
        staging = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            target_folder = staging if folder is None else folder
            rename_without_replacing(self._path.name, leaf, source_folder=staging, target_folder=target_folder)
        finally:
            os.close(staging)
