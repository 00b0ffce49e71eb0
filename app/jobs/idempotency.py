"""Idempotency keys: a request that is sent again with its key gets the job that the key has created.

A key's record is `.store/jobs/<hash>.key`; the hash covers the caller's name and the key, so that callers cannot see
each other's. It is written before the job's record and names the job. A key whose job does not exist is ignored.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.errors import IdempotencyKeyReused, JobNotFound, ModelInUse, ModelLocked, PartialNotFound, StoreUnavailable
from app.jobs.records import Job
from app.store import Actor, Store, explaining_refusals
from app.store.records.forms import RecordDamaged, RecordForm, Sha256, Word
from app.store.records.reader import read_regular
from app.store.volume.renames import rename_path

IsAsAsked = Callable[[Job], bool]
"""Returns False if a job differs from a request in something that the request's fingerprint leaves out."""
KEY_SUFFIX = ".key"
KEY_LOCK_SECONDS = 30.0
"""How long a request waits for another one with the same key, in seconds."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The key of a request."""

    text: str
    fingerprint: str
    """The digest of the request."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What a key has created."""

    job_id: Word
    """The id of the job or of the upload."""
    fingerprint: Sha256
    """The digest of the request."""


KEY = RecordForm(KeyRecord, "job")


class IdempotencyKeys:
    """The keys of one model folder. The methods block."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def held(self, actor: Actor, key: str | None, what: str = "") -> "Iterator[HeldKey]":
        """Hold a caller's key, so that of several requests with the key one creates the job; do nothing without a key.

        `what` tells apart what keys are for: the same key can be sent for a job and, with "upload", for an upload.

        Raises StoreUnavailable, StoreReadOnly, StoreFull.
        """
        if key is None:
            yield HeldKey(self._store, None)
            return
        record = self._record_of(actor, key, what)
        self._store.volume.check_writable()
        try:
            with explaining_refusals(), self._store.locks.exclusive(f"/keys/{record.stem}", seconds=KEY_LOCK_SECONDS):
                yield HeldKey(self._store, record)
        except (ModelLocked, ModelInUse) as exc:
            raise StoreUnavailable("another request with this Idempotency-Key is still running") from exc

    def job_of(
        self,
        actor: Actor,
        key: str,
        fingerprint: str,
        get: Callable[[str], Job],
        is_as_asked: IsAsAsked = lambda _: True,
    ) -> Job | None:
        """Return what `HeldKey.job_of` returns. Raises what that and `held` raise."""
        with self.held(actor, key) as held:
            return held.job_of(fingerprint, get, is_as_asked)

    def has_job(self, actor: Actor, key: str, get: Callable[[str], Job]) -> bool:
        """Return True if a caller's key has created a job that exists, whatever the request was.

        Does not wait for another request with the key. Raises StoreUnavailable.
        """
        return HeldKey(self._store, self._record_of(actor, key)).has_job(get)

    def _record_of(self, actor: Actor, key: str, what: str = "") -> Path:
        name = hashlib.sha256(f"{len(actor.name)}:{actor.name}{f'{what} ' if what else ''}{key}".encode()).hexdigest()
        return self._store.volume.jobs_dir / f"{name}{KEY_SUFFIX}"

    def is_needed(self, record: Path, exists: Callable[[str], bool]) -> bool:
        """Return False if a key's record names no job and no upload that exists."""
        found = self._store.volume.records.read(record, KEY)
        return found is not None and (exists(found.job_id) or self.has_upload(found.job_id))

    def has_upload(self, upload_id: str) -> bool:
        """Return True if there is an upload with this id, also if its model is published. Raises StoreUnavailable."""
        try:
            self._store.incoming.find(upload_id)
        except PartialNotFound:
            return False
        return True


class HeldKey:
    """A key that the caller holds, or only reads."""

    def __init__(self, store: Store, record: Path | None) -> None:
        self._store = store
        self._record = record

    def job_of(
        self, fingerprint: str, get: Callable[[str], Job], is_as_asked: IsAsAsked = lambda _: True
    ) -> Job | None:
        """Return the job that the key has created; None if it has created none, or none that exists.

        Raises IdempotencyKeyReused if the key's request was another one, by its fingerprint or by `is_as_asked` of the
        job, and StoreUnavailable.
        """
        found = self._read()
        if found is None:
            return None
        try:
            job = get(found.job_id)
        except JobNotFound:
            return None
        if found.fingerprint != fingerprint or not is_as_asked(job):
            raise IdempotencyKeyReused(job.id)
        return job

    def has_job(self, get: Callable[[str], Job]) -> bool:
        """Return True if the key has created a job that exists. Raises StoreUnavailable."""
        found = self._read()
        with suppress(JobNotFound):
            return found is not None and bool(get(found.job_id))
        return False

    def upload_of(self, fingerprint: str, exists: Callable[[str], bool]) -> str | None:
        """Return the id of the upload that the key has created; None if it has created none, or none that exists.

        Raises IdempotencyKeyReused if the key's request was another one, and StoreUnavailable.
        """
        found = self._read()
        if found is None or not exists(found.job_id):
            return None
        if found.fingerprint != fingerprint:
            raise IdempotencyKeyReused(found.job_id, "upload")
        return found.job_id

    def _read(self) -> KeyRecord | None:
        """Return the key's record; None if it is missing. Raises StoreUnavailable if it is damaged."""
        if self._record is None:
            return None
        records = self._store.volume.records
        with explaining_refusals():
            try:
                return KEY.parse(read_regular(self._record, KEY.max_bytes))
            except FileNotFoundError:
                return None
            except RecordDamaged as exc:
                records.note(self._record, KEY.kind, str(exc))
                shown = self._record.relative_to(self._store.root)
                raise StoreUnavailable(
                    f"the record of this Idempotency-Key cannot be read: {exc}. Remove the file {shown}"
                ) from exc

    def note(self, job_id: str, fingerprint: str) -> None:
        """Write which job or upload the key creates, before the job's record is written. Raises OSError."""
        if self._record is None:
            return
        draft = self._record.with_name(f"{job_id}.{secrets.token_hex(4)}.new")
        with draft.open("x") as file:
            file.write(json.dumps(asdict(KeyRecord(job_id, fingerprint))))
            file.flush()
            os.fsync(file.fileno())
        rename_path(draft, self._record)
