"""The partial files of pulls, in the staging folder.

A model has one shared partial file. If a pull fails, the next pull of the same file continues it. Two requests with
overlapping patterns can make two pulls of one model. Then one pull writes to the shared file, and the other pull to a
file of its own.
"""

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.errors import PartialBusy, PartialNotFound
from app.jobs.records import Job
from app.pulls.request import PullRequest
from app.pulls.sources.base import SourceFile
from app.store import Partial, PartialRecord, StagedFile, Store

JOB = "job_id"
"""The field of a partial file's record that has the id of the last job which wrote the file."""


def partial_id(job_id: str, name: str) -> str:
    """Return the id of a pull's own partial file for one model. Every runner of the job computes the same id."""
    return hashlib.sha256(f"{job_id}/{name}".encode()).hexdigest()[:32]


def shared_partial_id(name: str) -> str:
    """Return the id of the shared partial file of a model. No job's own file has this id: job ids are not empty."""
    return partial_id("", name)


def stage(store: Store, job: Job, file: SourceFile, retention: timedelta) -> tuple[StagedFile, PartialRecord]:
    """Return the partial file that an earlier run or pull left of this version of the file, else a new, empty one.

    Raises PartialBusy if a killed runner of this job still has the lock, and what `Incoming.begin` raises.
    """
    incoming = store.incoming
    own, shared = partial_id(job.id, file.name), shared_partial_id(file.name)
    facts = _facts(job, file)
    free = shared
    for each in (own, shared):
        try:
            staged, record = incoming.resume(each)
        except PartialNotFound:
            continue
        except PartialBusy:
            if each == own or _is_of(job.id, _found(store, shared)):
                raise
            free = own
            continue
        if _is_continuable(record, file, facts):
            taken = replace(record, extra=facts | {"etag": record.extra.get("etag")}, retention=retention)
            incoming.record(taken)
            return staged, taken
        staged.discard()
    # A file that has expired, or has no record because its writer was killed, may still occupy the name.
    incoming.sweep()
    record = PartialRecord(
        id=free,
        name=file.name,
        kind="pull",
        actor=job.created_by.name,
        expected_bytes=file.size_bytes,
        created_at=datetime.now(UTC),
        retention=retention,
        extra=facts,
    )
    try:
        return incoming.begin((), file.size_bytes, keep=record), record
    except FileExistsError:  # another pull has created the file first
        record = replace(record, id=own)
        return incoming.begin((), file.size_bytes, keep=record), record


def staged_bytes(store: Store, name: str) -> int:
    """Return how many bytes the shared partial file of a model has, which a pull need not download again."""
    partial = _found(store, shared_partial_id(name))
    return 0 if partial is None or partial.is_active or partial.is_published else partial.size_bytes


def published_partial(store: Store, job_id: str, name: str) -> Partial | None:
    """Return the job's partial file for the model `name` if it has been published already, else None."""
    for each in (partial_id(job_id, name), shared_partial_id(name)):
        partial = _found(store, each)
        if partial and partial.is_published and _is_of(job_id, partial):
            return partial
    return None


def published_single(store: Store, job_id: str, request: PullRequest) -> Partial | None:
    """Return the partial file that a pull of one file has published; None if there is none, and for several files.

    Which files a pattern means is known only to the source.
    """
    return None if request.files else published_partial(store, job_id, request.target)


def discard_published(store: Store, job_id: str, names: Iterable[str]) -> None:
    """Remove the records of the partial files that a job has published. The files themselves are models now."""
    for name in names:
        if partial := published_partial(store, job_id, name):
            with contextlib.suppress(PartialNotFound):
                store.incoming.discard(partial.id)


def discard_partials(store: Store, job_id: str) -> None:
    """Remove the partial files of a finished pull."""
    for partial in _inactive(store, job_id):
        with contextlib.suppress(PartialNotFound, PartialBusy):  # a sweep has removed the file, or is removing it
            store.incoming.discard(partial.id)


def keep_partials(store: Store, job_id: str) -> None:
    """Keep the partial files of a pull until they expire, even if the pull's job is cancelled or removed."""
    for partial in _inactive(store, job_id):
        with contextlib.suppress(PartialNotFound, PartialBusy):
            # `Incoming.resume` would purge trash entries to make room for the missing bytes.
            staged, record = store.incoming.staging.reopen(partial.id, ())
            try:
                extra = {name: value for name, value in record.extra.items() if name != JOB}
                store.incoming.record(replace(record, extra=extra))
            finally:
                staged.release()


def _inactive(store: Store, job_id: str) -> list[Partial]:
    return [each for each in store.incoming.partials() if _is_of(job_id, each) and not each.is_active]


def _facts(job: Job, file: SourceFile) -> dict[str, Any]:
    """Return the facts for a partial file's record.

    Of the URL's query, which may be a secret, the facts hold only a digest.
    """
    query = hashlib.sha256(file.url.partition("?")[2].encode()).hexdigest()[:16]
    return {JOB: job.id, "url": file.label, "query": query, "sha256": file.sha256, "etag": None}


def _is_continuable(record: PartialRecord, file: SourceFile, facts: dict[str, Any]) -> bool:
    """Return True if a partial file is of the same source file, and an ETag or a digest can identify its version."""
    before = record.extra
    if record.expected_bytes != file.size_bytes:
        return False
    if file.sha256 and before.get("sha256"):
        return bool(file.sha256 == before["sha256"])  # even if another URL or repository has the file
    is_same_place = all(before.get(name, facts[name]) == facts[name] for name in ("url", "query"))
    return is_same_place and bool(file.sha256 or before.get("etag"))


def _found(store: Store, partial: str) -> Partial | None:
    with contextlib.suppress(PartialNotFound):
        return store.incoming.find(partial)
    return None


def _is_of(job_id: str, partial: Partial | None) -> bool:
    return bool(partial and partial.record and partial.record.extra.get(JOB) == job_id)
