"""The staged file: a file in staging that its writer has opened and locked."""

import errno
import hashlib
import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from app.store.aftermath import after_change
from app.store.headers.description import Description, describe
from app.store.volume.refusals import explaining_refusals
from app.store.volume.renames import rename, rename_without_replacing, sync_folder

REREAD_BYTES = 4 << 20

MakeRoom = Callable[[int], object]
"""A function that makes room on the disk for the given number of bytes, before they are written. Raises StoreFull."""


class StagedFile:
    """An open and locked file in the staging folder. Its methods block, and may be called from several threads."""

    def __init__(
        self,
        file: io.FileIO,
        path: Path,
        algorithms: Iterable[str],
        record_path: Path | None = None,
        make_room: MakeRoom = lambda _: None,
    ) -> None:
        """`make_room` is called before bytes are written; see `DiskSpace.free`."""
        self._make_room = make_room
        self.size_bytes = os.fstat(file.fileno()).st_size
        self.record_path = record_path
        """The path of the record that keeps the file; None if it is not kept."""
        self._file = file
        self._path = path
        self._algorithms = tuple(algorithms)
        self._start_hashing()
        # Every method holds this lock: a request that ends early releases the file while a thread may still write it.
        self._working = threading.Lock()
        self._is_ending = False

    @property
    def is_kept(self) -> bool:
        """True if the file stays in staging when its writer releases it."""
        return self.record_path is not None

    def write(self, data: bytes | bytearray) -> None:
        """Append bytes to the file and update the digests. Before that, purge trash entries if the bytes do not fit.

        If not all bytes fit, writes those that fit and raises StoreFull. Raises StoreReadOnly.

        Written bytes survive the end of this process, because the kernel has the bytes. They survive a power cut only
        after `sync()`.
        """
        with explaining_refusals(), self._working:
            rest = memoryview(data)
            while rest:
                self._make_room(len(rest))
                written = self._file.write(rest)
                if self._hashed_bytes == self.size_bytes:
                    self._hash(rest[:written])
                self.size_bytes += written
                rest = rest[written:]

    def digest(self, algorithm: str) -> bytes:
        """Return the digest of the whole file, by one of the algorithms that were given to the constructor.

        If an earlier writer began the file, the method reads the file's bytes again, which may take minutes. Raises
        ValueError if the file is released meanwhile.
        """
        while True:
            with self._working:
                if self._hashed_bytes >= self.size_bytes:
                    return self._hashes[algorithm].digest()
                if self._is_ending:  # release() waits for the lock, and this loop would take the lock again first
                    raise ValueError("the staging file is being closed")
                self._hash(self._read(self._hashed_bytes, self.size_bytes))

    def digest_since(self, start: int, algorithm: str) -> bytes:
        """Return the digest of the bytes from `start` to the end, read from the disk, by any algorithm of `hashlib`."""
        digest = hashlib.new(algorithm)
        with self._working:
            while start < self.size_bytes:
                data = self._read(start, self.size_bytes)
                digest.update(data)
                start += len(data)
        return digest.digest()

    def describe(self, name: str) -> Description:
        """Return the description of the file's header. `name` is the model's name, whose suffix may state a format."""
        with self._working:
            return describe(self._file.fileno(), self.size_bytes, name)

    def sync(self) -> None:
        """Sync all written bytes to the disk. Raises StoreFull, StoreReadOnly."""
        with explaining_refusals(), self._working:
            os.fsync(self._file.fileno())

    def cut(self, size_bytes: int) -> None:
        """Truncate the file to `size_bytes`."""
        with explaining_refusals(), self._working:
            self._file.truncate(size_bytes)
            self._file.seek(size_bytes)
            self.size_bytes = size_bytes
            if self._hashed_bytes > size_bytes:
                self._start_hashing()

    def stamp(self, step_ns: int, *, other_than: tuple[int, int] | None) -> int:
        """Set the file's modification time to now, and return that time in nanoseconds. Raises StoreReadOnly.

        The ETag consists of size and time, so it must differ from the ETag of the model's present version. `other_than`
        is the size and the time of that version: if both are equal to those of this file, the time is set one step
        later. `step_ns` is the precision of the file system's times.
        """
        with explaining_refusals(), self._working:
            now_ns = time.time_ns() // step_ns * step_ns
            if other_than == (self.size_bytes, now_ns):
                now_ns += step_ns
            os.utime(self._file.fileno(), ns=(now_ns, now_ns))
            return now_ns

    def rename(self, leaf: str) -> None:
        """Rename the file within the staging folder. Raises FileExistsError if the name is taken."""
        with self._working:
            self._move(None, leaf, replacing=False)
            self._path = self._path.with_name(leaf)

    def move(self, folder: int, leaf: str, *, replacing: bool) -> os.stat_result:
        """Move the file out of staging to a name in an open folder, in one step, and return its status there.

        With `replacing`, a file of that name is replaced. Otherwise, raises FileExistsError if the name is taken.
        """
        with self._working:
            before = os.fstat(self._file.fileno())
            self._move(folder, leaf, replacing=replacing)
            with after_change("a power cut may undo the change, because its folder could not be synced to the disk"):
                sync_folder(folder)
            with after_change("the time of the change could not be read"):
                return os.fstat(self._file.fileno())
            return before

    def link(self, target: Path) -> None:
        """Give the file a second name outside staging; copy it if the file system has no hard links.

        Raises FileExistsError, StoreFull, StoreReadOnly.
        """
        with explaining_refusals(), self._working:
            try:
                os.link(self._path, target, follow_symlinks=False)
            except FileExistsError:
                raise
            except OSError:
                with target.open("xb") as copy:
                    self._file.seek(0)
                    shutil.copyfileobj(self._file, copy)
                    os.fsync(copy.fileno())

    def release(self) -> None:
        """Close and unlock the file. Any process can resume a kept file; a sweep deletes any other file."""
        self._is_ending = True
        with self._working:
            self._file.close()

    def discard(self) -> None:
        """Close the file, and delete the file and its record from staging. If the file was published, the model stays.

        A second call has no effect.
        """
        self._is_ending = True
        with self._working:
            try:
                if self.record_path:
                    self.record_path.unlink(missing_ok=True)
                # Names in staging are never used again, so after `move` no file has this name.
                self._path.unlink(missing_ok=True)
            finally:
                self._file.close()

    def drop(self) -> None:
        """Discard the file as `discard` does, but raise no error: a sweep deletes what remains of the file."""
        with after_change("the staged bytes could not be deleted, and a later sweep deletes them"):
            self.discard()

    def _start_hashing(self) -> None:
        self._hashes = {algorithm: hashlib.new(algorithm) for algorithm in self._algorithms}
        self._hashed_bytes = 0

    def _hash(self, data: bytes | memoryview) -> None:
        for each in self._hashes.values():
            each.update(data)
        self._hashed_bytes += len(data)

    def _read(self, start: int, end: int) -> bytes:
        data = os.pread(self._file.fileno(), min(REREAD_BYTES, end - start), start)
        if not data:
            raise OSError(errno.EIO, "the staging file is shorter than what was written")
        return data

    def _move(self, folder: int | None, leaf: str, *, replacing: bool) -> None:
        """Move the file to a name in an open folder; if `folder` is None, in the staging folder.

        Raises FileExistsError.
        """
        staging = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            target_folder = staging if folder is None else folder
            move = rename if replacing else rename_without_replacing
            move(self._path.name, leaf, source_folder=staging, target_folder=target_folder)
        finally:
            os.close(staging)
