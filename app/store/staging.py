"""Staging: where a model's bytes lie until all of them are there, checked and on the disk. Then one rename shows them.

A staging file is alive while its writer holds the kernel's lock on it, which ends with the writer, however it was
killed. What is not locked is swept, unless a record beside it says that it is kept: then any process may go on with it.
"""

import contextlib
import io
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from app.errors import PartialBusy, PartialNotFound
from app.store.locks.ofd import is_locked, try_to_lock
from app.store.partials import Partial, PartialRecord, modified_at
from app.store.staged import StagedFile

SUFFIX = ".part"
KEPT_ID = re.compile(r"[0-9a-f]{32}")


class Staging:
    """The staging folder of one model folder, and on the same file system as it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, algorithms: Iterable[str], *, keep: PartialRecord | None = None) -> StagedFile:
        """A new file, empty and locked. `algorithms` are those of `hashlib` by which it is to have digests.

        With `keep` it has that record's id, and stays when its writer lets go of it or is killed. Raises
        FileExistsError for an id that is taken.
        """
        file, path = self._created()
        staged = StagedFile(file, path, algorithms)
        if keep:
            try:
                staged.rename(keep.id + SUFFIX)
                # Only now: while it is locked it needs no record, and a record alone would say that it was published.
                self.record(keep)
                staged.record_path = self._record_of(keep.id)
            except BaseException:
                staged.discard()
                raise
        return staged

    def reopen(self, partial_id: str, algorithms: Iterable[str]) -> tuple[StagedFile, PartialRecord]:
        """Go on with a file that was kept, at its end. What lies there is read again when a digest is asked for.

        Raises PartialNotFound, also when it was published or has expired, and PartialBusy while somebody writes it.
        """
        record, path = self._read(partial_id), self._folder / f"{partial_id}{SUFFIX}"
        try:
            file = io.FileIO(path, "r+")
        except FileNotFoundError:
            raise PartialNotFound(partial_id) from None
        try:
            if not try_to_lock(file.fileno()):
                raise PartialBusy(partial_id)
            # Who held the lock before may have published or removed it since it was opened.
            if record is None or not _lies_at(file, path) or _has_expired(record, path):
                raise PartialNotFound(partial_id)
            file.seek(0, os.SEEK_END)
        except BaseException:
            file.close()
            raise
        return StagedFile(file, path, algorithms, self._record_of(partial_id)), record

    def record(self, record: PartialRecord) -> None:
        """Write a record in place of the one before, whole. Only the writer of the file may."""
        draft, path = self._created()  # locked, so no sweep takes it
        with draft:
            try:
                draft.write(record.to_json().encode())
                os.fsync(draft.fileno())
                path.rename(self._record_of(record.id))
            except OSError:
                path.unlink(missing_ok=True)
                raise

    def find(self, partial_id: str) -> Partial:
        """What is known of one that is kept, or was published; raises PartialNotFound."""
        record = self._read(partial_id)
        if record is None:
            raise PartialNotFound(partial_id)
        with contextlib.suppress(FileNotFoundError):
            partial = _look(self._folder / f"{partial_id}{SUFFIX}", record)
            if not partial.is_active and record.expires_at(partial.modified_at) <= datetime.now(UTC):
                raise PartialNotFound(partial_id)
            return partial
        with contextlib.suppress(FileNotFoundError):
            published_at = modified_at(self._record_of(partial_id).stat().st_mtime)
            size_bytes = record.expected_bytes or 0
            return Partial(partial_id, size_bytes, published_at, is_active=False, is_published=True, record=record)
        raise PartialNotFound(partial_id)

    def partials(self) -> list[Partial]:
        """Everything that is staged now, by id. Nothing is locked for it."""
        return sorted(self._partials(), key=lambda partial: partial.id)

    def discard(self, partial_id: str) -> None:
        """Remove one that is kept, or the record of one that was published; raises PartialNotFound, PartialBusy."""
        if self.find(partial_id).is_published:
            self._record_of(partial_id).unlink(missing_ok=True)
            return
        staged, _ = self.reopen(partial_id, ())
        staged.discard()

    def sweep(self, is_over: Callable[[PartialRecord], bool] = lambda _: False) -> list[str]:
        """Remove what no living process writes and no record keeps, and say what it was.

        `is_over` says of a record that what it is kept for has ended before its time.
        """
        swept = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                # Asked before the lock is taken: that would be in the way of somebody who goes on with it.
                if not self._is_kept(path, is_over) and self._swept(path, is_over):
                    swept.append(path.name)
        for record in self._folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                if not record.with_suffix(SUFFIX).exists() and not self._is_kept(record, is_over):
                    record.unlink()
        return swept

    def _swept(self, path: Path, is_over: Callable[[PartialRecord], bool]) -> bool:
        with path.open("r+b") as file:
            if not try_to_lock(file.fileno()) or self._is_kept(path, is_over):
                return False
            self._record_of(path.stem).unlink(missing_ok=True)
            path.unlink()
            return True

    def _created(self) -> tuple[io.FileIO, Path]:
        while True:
            path = self._folder / f"{secrets.token_hex(16)}{SUFFIX}"
            file = io.FileIO(path, "x+")
            try:
                # A sweeper may have come before the lock did.
                if try_to_lock(file.fileno()) and os.fstat(file.fileno()).st_nlink:
                    return file, path
            except BaseException:
                path.unlink(missing_ok=True)
                file.close()
                raise
            file.close()

    def _partials(self) -> Iterator[Partial]:
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                yield _look(path, self._read(path.stem))

    def _is_kept(self, path: Path, is_over: Callable[[PartialRecord], bool]) -> bool:
        record = self._read(path.stem)
        return record is not None and not _has_expired(record, path) and not is_over(record)

    def _read(self, partial_id: str) -> PartialRecord | None:
        if KEPT_ID.fullmatch(partial_id):
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                return PartialRecord.from_json(self._record_of(partial_id).read_text())
        return None

    def _record_of(self, partial_id: str) -> Path:
        return self._folder / f"{partial_id}.json"


def _look(path: Path, record: PartialRecord | None) -> Partial:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        is_active = is_locked(file.fileno())
    return Partial(path.stem, status.st_size, modified_at(status.st_mtime), is_active, record=record)


def _has_expired(record: PartialRecord, path: Path) -> bool:
    return record.expires_at(modified_at(path.stat().st_mtime)) <= datetime.now(UTC)


def _lies_at(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
