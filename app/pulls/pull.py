"""The work of one pull: list the request's files, then download, verify and publish each file, one after another."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from app.errors import PartialBusy, PartialNotFound, SourceMismatch, SourceUnavailable
from app.jobs.records import Job
from app.jobs.runner import Work
from app.pulls.conditions import publication_conditions
from app.pulls.pull_partials import discard_partials, partial_id
from app.pulls.request import PullRequest
from app.pulls.sources.base import Answer, Source, SourceFile, resolve_files
from app.store import SHA256, Action, Conditions, Model, PartialRecord, StagedFile, Store, write_all

LONGEST_PAUSE_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 600.0
"""A source that asks for a longer pause than this fails the pull."""

T = TypeVar("T")
OnPublished = Callable[[Model], Awaitable[None]]
"""Called with each published model before the job finishes."""


@dataclass(frozen=True, slots=True)
class PullLimits:
    """The limits on the retries of a pull and on the age of its partial files."""

    retries: int
    """How many failures in a row are retried. Any byte that arrives resets the count."""
    pause_seconds: float
    """The pause before the first retry; each further pause is twice as long."""
    partial_retention: timedelta
    """How long a partial file is kept after its last byte when no process runs the pull."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """One model of a pull's result: downloaded, or already there and kept."""

    name: str
    size_bytes: int
    sha256: str | None
    outcome: str
    """`pulled` or `kept`."""


class PullRun(Work):
    """One run of a pull in this process; an earlier run, in this or another service, may have begun the work."""

    unit = "bytes"
    phase = "resolving"

    def __init__(
        self,
        job: Job,
        store: Store,
        source: Source,
        limits: PullLimits,
        on_published: OnPublished,
    ) -> None:
        self._job = job
        self._request = PullRequest.from_record(job.request)
        self._store = store
        self._source = source
        self._limits = limits
        self._on_published = on_published
        self._threads = CapacityLimiter(2)  # not the shared threads, so that a slow disk delays no other work
        self._files: list[SourceFile] = []
        self._finished_bytes = 0
        self._staged: StagedFile | None = None

    @property
    def done_bytes(self) -> int:
        """The number of bytes that have arrived, of all files together."""
        return self._finished_bytes + (self._staged.size_bytes if self._staged else 0)

    @property
    def total_bytes(self) -> int | None:
        """The size of all files together; None while it is unknown."""
        sizes = [file.size_bytes for file in self._files]
        return None if not sizes or None in sizes else sum(size or 0 for size in sizes)

    def count(self) -> tuple[int, int | None]:
        """Return how many bytes have arrived, and how many there are in total; None for an unknown total."""
        return self.done_bytes, self.total_bytes

    async def run(self) -> dict[str, Any]:
        """Download and publish every file, and return the models for the job's record.

        Raises errors of the source and of `Incoming.publish`, and StoreFull, StoreReadOnly, StoreUnavailable. On an
        error, the partial file is removed, and the files before it stay published.
        """
        self._files = await self._retrying(lambda: resolve_files(self._source, self._request, self._threads))
        pulled = [await self._pull_file(file) for file in self._files]
        return {"models": [asdict(each) for each in pulled]}

    async def _pull_file(self, file: SourceFile) -> Pulled:
        if pulled := await self._in_thread(self._published_before, file):
            return pulled
        conditions = await self._in_thread(publication_conditions, self._store, file, self._request.if_exists)
        if conditions is None:
            return await self._in_thread(self._kept, file)
        staged, record = await self._staged_when_free(file)
        self._staged = staged
        is_to_stay = False
        try:
            await self._download(staged, record, file)
            pulled = await self._publish(staged, file, conditions)
            is_to_stay = True  # the partial's record shows that the file is published until the job's record does
        except asyncio.CancelledError:
            is_to_stay = not self.is_cancelled
            raise
        finally:
            self._staged = None
            with CancelScope(shield=True):
                await self._in_thread(staged.release if is_to_stay else staged.discard)
        self._finished_bytes += pulled.size_bytes
        return pulled

    async def _staged_when_free(self, file: SourceFile) -> tuple[StagedFile, PartialRecord]:
        """Stage a file. Wait if a killed runner's lock is still held; a file server releases it only after seconds."""
        deadline = time.monotonic() + LONGEST_PAUSE_SECONDS
        while True:
            try:
                return await self._in_thread(self._stage, file)
            except PartialBusy:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(max(0.5, self._limits.pause_seconds))

    def clean_up(self) -> None:
        """Remove the partial files of this run and of earlier runs, with their records."""
        for file in self._files:
            with contextlib.suppress(PartialNotFound):
                self._store.incoming.discard(partial_id(self._job.id, file.name))
        discard_partials(self._store, self._job.id)

    def _published_before(self, file: SourceFile) -> Pulled | None:
        """Return the model if an earlier run published it and was killed before it wrote the job's record."""
        try:
            partial = self._store.incoming.find(partial_id(self._job.id, file.name))
        except PartialNotFound:
            return None
        if not partial.is_published:
            return None
        self._finished_bytes += partial.size_bytes
        return Pulled(file.name, partial.size_bytes, file.sha256, "pulled")

    def _kept(self, file: SourceFile) -> Pulled:
        model = self._store.find(file.name)
        self._finished_bytes += file.size_bytes or 0
        return Pulled(model.name, model.size_bytes, self._store.digests.of(model), "kept")

    def _stage(self, file: SourceFile) -> tuple[StagedFile, PartialRecord]:
        """Return the partial file of an earlier run if it is of the same version; otherwise a new, empty file."""
        incoming = self._store.incoming
        facts = {"job_id": self._job.id, "url": file.label, "sha256": file.sha256, "etag": None}
        try:
            staged, record = incoming.resume(partial_id(self._job.id, file.name))
        except PartialNotFound:
            # A file that has expired, or has no record because its writer was killed, may still occupy this name.
            incoming.sweep()
        else:
            if record.expected_bytes == file.size_bytes and facts | {"etag": record.extra.get("etag")} == record.extra:
                return staged, record
            staged.discard()
        record = PartialRecord(
            id=partial_id(self._job.id, file.name),
            name=file.name,
            kind="pull",
            actor=self._job.created_by.name,
            expected_bytes=file.size_bytes,
            created_at=datetime.now(UTC),
            retention=self._limits.partial_retention,
            extra=facts,
        )
        return incoming.begin((), file.size_bytes, keep=record), record

    async def _download(self, staged: StagedFile, record: PartialRecord, file: SourceFile) -> None:
        """Download the bytes that are missing in a partial file. A retry continues after the last byte that arrived."""
        self.phase = "downloading"
        etag: str | None = record.extra.get("etag")

        async def fetch() -> None:
            nonlocal etag
            if staged.size_bytes and staged.size_bytes == file.size_bytes:
                return
            if not etag and not file.sha256:
                # Without an ETag and a digest, bytes of two versions could be mixed unnoticed, so start again.
                await self._in_thread(staged.cut, 0)
            async with self._source.open(file, staged.size_bytes, etag) as answer:
                if answer.start != staged.size_bytes:
                    await self._in_thread(_start_over, staged, file, answer)
                if answer.etag != etag:
                    etag = answer.etag
                    noted = replace(record, extra=record.extra | {"etag": etag})
                    await self._in_thread(self._store.incoming.record, noted)
                await write_all(_checked(staged, file, answer), staged, self._threads)

        await self._retrying(fetch)

    async def _publish(self, staged: StagedFile, file: SourceFile, conditions: Conditions) -> Pulled:
        if not staged.size_bytes:
            raise SourceMismatch(file.label, "the file is empty, and a model must not be")
        self.phase = "verifying"
        # Abandoned on cancellation, because reading the bytes of an earlier run can take longer than a shutdown may.
        digesting = to_thread.run_sync(staged.digest, SHA256, limiter=self._threads, abandon_on_cancel=True)
        sha256 = (await digesting).hex()
        self.phase = "publishing"
        announced = {SHA256: {bytes.fromhex(file.sha256)}} if file.sha256 else {}
        incoming, actor = self._store.incoming, self._job.created_by
        with CancelScope(shield=True):  # publishing takes milliseconds, and the journal must record it
            published = await self._in_thread(
                lambda: incoming.publish(file.name, staged, conditions, actor, announced, action=Action.PULLED)
            )
        await self._on_published(published.model)
        return Pulled(file.name, published.model.size_bytes, sha256, "pulled")

    async def _retrying(self, attempt: Callable[[], Any]) -> Any:  # noqa: ANN401 - the attempt's own result
        """Call `attempt` until it succeeds and return its result. Retries SourceUnavailable, up to the limits."""
        failures = 0
        while True:
            before = self.done_bytes
            try:
                return await attempt()
            except SourceUnavailable as exc:
                failures = 1 if self.done_bytes > before else failures + 1
                pause_seconds = self._pause(failures, exc)
                if failures > self._limits.retries or pause_seconds > LONGEST_RETRY_AFTER_SECONDS:
                    raise
            await asyncio.sleep(pause_seconds)

    def _pause(self, failures: int, exc: SourceUnavailable) -> float:
        """Return the next pause in seconds: doubled each time, and random, so that clients spread their retries."""
        longest = min(LONGEST_PAUSE_SECONDS, self._limits.pause_seconds * 2.0 ** (failures - 1))
        return max(exc.retry_after_seconds or 0.0, longest * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._threads)


def _start_over(staged: StagedFile, file: SourceFile, answer: Answer) -> None:
    if answer.start:
        raise SourceMismatch(file.label, f"the source sent bytes from {answer.start} on, not from {staged.size_bytes}")
    staged.cut(0)


async def _checked(staged: StagedFile, file: SourceFile, answer: Answer) -> AsyncIterator[bytes]:
    """Yield the bytes of an answer. Raises SourceMismatch if there are too many, SourceUnavailable if too few."""
    size_bytes = answer.total_bytes if file.size_bytes is None else file.size_bytes
    if answer.total_bytes not in {None, size_bytes}:
        raise SourceMismatch(file.label, f"the file has {answer.total_bytes:,} bytes, not {size_bytes:,}")
    received_bytes = staged.size_bytes
    async for chunk in answer.chunks():
        received_bytes += len(chunk)
        if size_bytes is not None and received_bytes > size_bytes:
            raise SourceMismatch(file.label, f"the source sent more than the expected {size_bytes:,} bytes")
        yield chunk
    if size_bytes is not None and received_bytes < size_bytes:
        raise SourceUnavailable(file.label, f"the download ended after {received_bytes:,} of {size_bytes:,} bytes")
