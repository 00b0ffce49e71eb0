"""Staging: where a model's bytes lie until all of them are there, checked and on the disk. Then one rename shows them.

A staging file is alive while its writer holds the kernel's lock on it, which ends with the writer, however it was
killed. What is not locked is swept.
"""

import contextlib
import hashlib
import io
import os
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path

from app.store.headers import Description, describe
from app.store.locks import try_to_lock
from app.store.renames import rename_without_replacing
from app.store.volume import explaining_refusals

SUFFIX = ".part"


class StagedFile:
    """One file in the staging folder. It blocks: call it from threads, any number of them."""

    def __init__(self, file: io.FileIO, path: Path, algorithms: Iterable[str]) -> None:
        self.size_bytes = 0
        self._file = file
        self._path = path
        self._hashes = {algorithm: hashlib.new(algorithm) for algorithm in algorithms}
        # A request that ends early discards the file while a thread may still write it.
        self._working = threading.Lock()

    def write(self, data: bytes | bytearray) -> None:
        """Append, and take it into the digests; raises StoreFull, StoreReadOnly."""
        with explaining_refusals(), self._working, memoryview(data) as rest:
            written = 0
            while written < len(rest):
                written += self._file.write(rest[written:])
            for each in self._hashes.values():
                each.update(rest)
            self.size_bytes += written

    def digest(self, algorithm: str) -> bytes:
        """The digest of everything written, by one of the algorithms that were asked for in the beginning."""
        return self._hashes[algorithm].digest()

    def describe(self, name: str) -> Description:
        """What it says of itself in its header, as a model of that name."""
        with self._working:
            return describe(self._file.fileno(), self.size_bytes, name)

    def sync(self) -> None:
        """Have everything that was written on the disk; raises StoreFull, StoreReadOnly."""
        with explaining_refusals(), self._working:
            os.fsync(self._file.fileno())

    def move(self, folder: int, leaf: str, *, replacing: bool) -> os.stat_result:
        """Give it a name in an open folder, in one step, and return what is there then; it is staged no longer.

        Unless `replacing`, raises FileExistsError when the name is taken.
        """
        with self._working:
            if replacing:
                os.rename(self._path, leaf, dst_dir_fd=folder)
            else:
                self._move_without_replacing(folder, leaf)
            os.fsync(folder)
            return os.fstat(self._file.fileno())

    def discard(self) -> None:
        """Let go of it: what has no name elsewhere is gone."""
        with self._working, self._file:
            # Its name is nobody else's, and after a move there is nothing at it.
            self._path.unlink(missing_ok=True)

    def _move_without_replacing(self, folder: int, leaf: str) -> None:
        staging = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            rename_without_replacing(self._path.name, leaf, source_folder=staging, target_folder=folder)
        finally:
            os.close(staging)


class Staging:
    """The staging folder of one model folder, and on the same file system as it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, algorithms: Iterable[str]) -> StagedFile:
        """A new file, empty and locked. `algorithms` are those of `hashlib` by which it is to have digests."""
        while True:
            path = self._folder / f"{secrets.token_hex(16)}{SUFFIX}"
            file = io.FileIO(path, "x+")
            try:
                # A sweeper may have come before the lock did.
                if try_to_lock(file.fileno()) and os.fstat(file.fileno()).st_nlink:
                    return StagedFile(file, path, algorithms)
            except BaseException:
                path.unlink(missing_ok=True)
                file.close()
                raise
            file.close()

    def sweep(self) -> list[str]:
        """Remove what no living process writes, and say what it was."""
        swept = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
                if try_to_lock(file.fileno()):
                    path.unlink()
                    swept.append(path.name)
        return swept
