"""The staging folder holds a model's bytes until all are written, checked and synced. Then one rename publishes them.

A staged file is active while its writer holds a kernel lock on it, which ends with the writer, even if the writer is
killed. A sweep deletes files that are not locked, unless a record beside the file keeps it for a later resumption.

On a shared volume, a machine may still see a file in staging that another machine has published or removed. So a
process that resumes a file first claims the file by a rename, which the file system's server decides.
"""

import contextlib
import io
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from app.errors import PartialBusy, PartialNotFound, StoreError
from app.store.expiry import Expiry
from app.store.incoming.partials import PARTIAL, Partial, PartialRecord, modified_at
from app.store.incoming.staged_file import MakeRoom, StagedFile
from app.store.locks.ofd import is_locked, try_lock_file
from app.store.records.forms import RecordDamaged
from app.store.records.name_records import RECORD_SUFFIX
from app.store.records.reader import RecordReader, open_regular
from app.store.volume.claims import Claims
from app.store.volume.renames import rename_path
from app.store.volume.server_lookups import files_on_server

SUFFIX = ".part"
UNREADABLE_SECONDS = 86_400.0
"""How long, in seconds, a file with an unreadable record is kept after the last write of the file or the record."""
MAX_FINISHED = 1000
"""How many records of published files are kept. With the record, a caller who did not receive the last answer can ask
again."""
PARTIAL_ID = re.compile(r"[0-9a-f]{32}")


class Staging:
    """The staging folder of one model folder. Both are on the same file system."""

    def __init__(
        self,
        folder: Path,
        claims: Claims,
        reader: RecordReader,
        expiry: Expiry,
        make_room: MakeRoom = lambda _: None,
    ) -> None:
        """`expiry` decides when a kept file has expired."""
        self._expiry = expiry
        self._make_room = make_room
        self._folder = folder
        self._claims = claims
        self._reader = reader

    def begin(self, algorithms: Iterable[str], *, keep: PartialRecord | None = None) -> StagedFile:
        """Create an empty staged file whose digests are computed by these algorithms of `hashlib`.

        With `keep`, the file gets this record and its id, and stays in staging when its writer releases it or is
        killed. Raises FileExistsError if the id is taken.
        """
        file, path = self._created()
        staged = StagedFile(file, path, algorithms, make_room=self._make_room)
        if keep:
            try:
                staged.rename(keep.id + SUFFIX)
                # The record is written after the file is there: a record without a file could mean a publication.
                self.record(keep)
                staged.record_path = self._record_of(keep.id)
            except BaseException:
                staged.discard()
                raise
        return staged

    def reopen(self, partial_id: str, algorithms: Iterable[str]) -> tuple[StagedFile, PartialRecord]:
        """Open and lock a kept file, positioned at its end; return the file and its record.

        The file's first call of `digest` reads its bytes again. Raises PartialNotFound, also if the file was published
        or has expired, and PartialBusy if a living process writes the file.
        """
        record, path = self._read(partial_id), self._folder / f"{partial_id}{SUFFIX}"
        try:
            file = io.FileIO(open_regular(path, os.O_RDWR), "r+")
        except (FileNotFoundError, RecordDamaged):
            raise PartialNotFound(partial_id) from None
        try:
            if not try_lock_file(file.fileno()):
                raise PartialBusy(partial_id)
            # Another process may have published or removed the file between the opening and the lock.
            if record is None or not self._is_still_there(file, path) or self._has_expired(record, file):
                raise PartialNotFound(partial_id)
            file.seek(0, os.SEEK_END)
        except BaseException:
            file.close()
            raise
        return StagedFile(file, path, algorithms, self._record_of(partial_id), self._make_room), record

    @contextlib.contextmanager
    def publishing(self, staged: StagedFile) -> Iterator[None]:
        """Mark the record of a staged file, if any, as being published; remove the mark if the `with` block raises."""
        record = self._read(staged.record_path.stem) if staged.record_path else None
        if record:
            self.record(replace(record, is_publishing=True))
        try:
            yield
        except BaseException:
            if record:
                with contextlib.suppress(OSError, StoreError):
                    self.record(record)
            raise

    def record(self, record: PartialRecord) -> None:
        """Replace a record in one step. Only the writer of the file may call this."""
        draft, path = self._created()  # locked, so that no sweep deletes the draft
        with draft:
            try:
                draft.write(record.to_json().encode())
                os.fsync(draft.fileno())
                rename_path(path, self._record_of(record.id))
            except OSError:
                path.unlink(missing_ok=True)
                raise

    def find(self, partial_id: str) -> Partial:
        """Get the state of a kept file by its id. Raises PartialNotFound.

        A published file is found as long as its record is there.
        """
        record = self._read(partial_id)
        if record is None:
            raise PartialNotFound(partial_id)
        path = self._folder / f"{partial_id}{SUFFIX}"
        for pause_seconds in self._claims.lookup_pauses:
            if pause_seconds:
                time.sleep(pause_seconds)  # another machine may hold a claim on the file for a moment
            with contextlib.suppress(FileNotFoundError, RecordDamaged):
                partial = _partial_at(path, record)
                if not partial.is_active and self._is_over(record, partial.modified_at):
                    raise PartialNotFound(partial_id)
                return partial
        if not record.is_publishing or path.name in self._names() or self._is_claimed(path.name):
            raise PartialNotFound(partial_id)
        with contextlib.suppress(FileNotFoundError):
            published_at = modified_at(self._record_of(partial_id).stat().st_mtime)
            size_bytes = record.expected_bytes or 0
            return Partial(partial_id, size_bytes, published_at, is_active=False, is_published=True, record=record)
        raise PartialNotFound(partial_id)

    def partials(self) -> list[Partial]:
        """List all partial files, by id. Takes no lock."""
        return sorted(self._partials(), key=lambda partial: partial.id)

    def discard(self, partial_id: str) -> None:
        """Delete a kept file and its record, or the record of a published one. Raises PartialNotFound, PartialBusy."""
        if self.find(partial_id).is_published:
            self._record_of(partial_id).unlink(missing_ok=True)
            return
        staged, _ = self.reopen(partial_id, ())
        staged.discard()

    def sweep(self, has_ended: Callable[[PartialRecord], bool] = lambda _: False) -> list[str]:
        """Delete files that no process writes and no record keeps, and return their names.

        `has_ended` receives the record of a kept file and returns True if its upload or pull has ended. Then the file
        is deleted although its record has not expired.
        """
        swept = []
        names = self._names()
        forgotten = self._oldest_finished(names)
        for name in sorted(names):
            path = self._folder / name
            if not PARTIAL_ID.fullmatch(path.stem):
                continue  # the store puts no such file here
            try:
                if path.suffix == SUFFIX:
                    # Checked before locking, because the lock would block a request that resumes the upload.
                    if not self._is_kept(path, has_ended) and self._swept(path, has_ended):
                        swept.append(name)
                elif path.suffix == RECORD_SUFFIX and path.stem + SUFFIX not in names:
                    self._sweep_record(path, has_ended, is_forgotten=name in forgotten)
            except FileNotFoundError:
                pass
            except (RecordDamaged, OSError) as exc:  # the sweep of the other files continues
                self._reader.note(path, PARTIAL.kind, str(exc))
        self._expiry.seen_all(set(self._keys()))
        return swept

    def _keys(self) -> Iterator[str]:
        """Yield the key of each file and each record, for `Expiry`."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    yield _key_of(Path(entry.name).stem, modified_at(entry.stat(follow_symlinks=False).st_mtime))

    def _oldest_finished(self, names: set[str]) -> set[str]:
        """Return the records of published files among `names`, without the newest MAX_FINISHED of them."""
        finished = [name for name in names if name.endswith(RECORD_SUFFIX) and Path(name).stem + SUFFIX not in names]
        if len(finished) <= MAX_FINISHED:
            return set()

        def written_at(name: str) -> float:
            with contextlib.suppress(FileNotFoundError):
                return (self._folder / name).stat().st_mtime
            return 0.0

        return set(sorted(finished, key=written_at)[:-MAX_FINISHED])

    def _sweep_record(self, path: Path, has_ended: Callable[[PartialRecord], bool], *, is_forgotten: bool) -> None:
        """Delete the record of a file that is gone from staging, if the record is no longer needed.

        The record is no longer needed if it has expired, if `has_ended` returns True for it, or if the file was
        published and `is_forgotten` is True.
        """
        if self._is_claimed(path.stem + SUFFIX):
            return
        record = self._read(path.stem)
        if record is None:
            is_over = _is_old(path)
        else:
            is_over = self._has_expired(record, path) or has_ended(record) or (is_forgotten and record.is_publishing)
        if is_over:
            path.unlink()

    def _swept(self, path: Path, has_ended: Callable[[PartialRecord], bool]) -> bool:
        with open(open_regular(path, os.O_RDWR), "r+b") as file:  # noqa: PTH123 - of a descriptor
            if not try_lock_file(file.fileno()):
                return False
            if self._is_kept(path, has_ended):
                return False
            self._record_of(path.stem).unlink(missing_ok=True)
            path.unlink()
            return True

    def _is_claimed(self, name: str) -> bool:
        return self._claims.is_shared and self._claims.has(self._folder / name)

    def _names(self) -> set[str]:
        if self._claims.is_shared:
            return set(files_on_server(self._folder))
        return {path.name for path in self._folder.iterdir()}

    def _is_still_there(self, file: io.FileIO, path: Path) -> bool:
        """True if an open and locked file still has its name, so that it was neither published nor removed."""
        try:
            if not self._claims.is_shared:
                return os.path.samestat(os.fstat(file.fileno()), path.stat())
            claim = self._claims.claim(path)
            try:
                return os.path.samestat(os.fstat(file.fileno()), claim.status())
            finally:
                claim.give_back()
        except FileNotFoundError:
            return False

    def _created(self) -> tuple[io.FileIO, Path]:
        while True:
            path = self._folder / f"{secrets.token_hex(16)}{SUFFIX}"
            file = io.FileIO(path, "x+")
            try:
                # A sweep may have deleted the file before it was locked.
                if try_lock_file(file.fileno()) and os.fstat(file.fileno()).st_nlink:
                    return file, path
            except BaseException:
                path.unlink(missing_ok=True)
                file.close()
                raise
            file.close()

    def _partials(self) -> Iterator[Partial]:
        try:
            found = list(self._folder.iterdir())
        except FileNotFoundError:
            return
        for path in found:
            if path.suffix != SUFFIX or not PARTIAL_ID.fullmatch(path.stem):
                continue
            try:
                yield _partial_at(path, self._read(path.stem))
            except FileNotFoundError:
                pass
            except RecordDamaged as exc:
                self._reader.note(path, PARTIAL.kind, str(exc))

    def _is_kept(self, path: Path, has_ended: Callable[[PartialRecord], bool]) -> bool:
        record = self._read(path.stem)
        if record is None:
            # A file whose record cannot be read is kept for a while: a newer version of this service may understand the
            # record, or another machine may have written it just now.
            if os.path.lexists(self._record_of(path.stem)):
                return not (_is_old(path) and _is_old(self._record_of(path.stem)))
            return self._claims.is_shared and path.with_suffix(RECORD_SUFFIX).name in self._names()
        return not self._has_expired(record, path) and not has_ended(record)

    def _has_expired(self, record: PartialRecord, file: io.FileIO | Path) -> bool:
        status = os.fstat(file.fileno()) if isinstance(file, io.FileIO) else file.lstat()
        return self._is_over(record, modified_at(status.st_mtime))

    def _is_over(self, record: PartialRecord, written_at: datetime) -> bool:
        return self._expiry.is_over(_key_of(record.id, written_at), record.expires_at(written_at), record.retention)

    def _read(self, partial_id: str) -> PartialRecord | None:
        if PARTIAL_ID.fullmatch(partial_id):
            record = self._reader.read(self._record_of(partial_id), PARTIAL)
            if record and record.id != partial_id:
                self._reader.note(self._record_of(partial_id), PARTIAL.kind, "it names another file than its own name")
                return None
            return record
        return None

    def _record_of(self, partial_id: str) -> Path:
        return self._folder / f"{partial_id}{RECORD_SUFFIX}"


def _key_of(partial_id: str, written_at: datetime) -> str:
    return f"{partial_id} {written_at.timestamp()}"


def _partial_at(path: Path, record: PartialRecord | None) -> Partial:
    with open(open_regular(path), "rb") as file:  # noqa: PTH123 - of a descriptor
        status = os.fstat(file.fileno())
        is_active = is_locked(file.fileno())
    return Partial(path.stem, status.st_size, modified_at(status.st_mtime), is_active, record=record)


def _is_old(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > UNREADABLE_SECONDS
