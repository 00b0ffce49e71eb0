"""The work of one pull: list the request's files, then download, verify and publish each file, one after another."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from app.errors import (
    ConditionFailed,
    DigestMismatch,
    InvalidModelName,
    ModelChanged,
    ModelExists,
    ModelProtected,
    NotAModel,
    PartialBusy,
    ServiceError,
    SourceMismatch,
    SourceNotAllowed,
    SourceNotFound,
    StoreFull,
)
from app.jobs.records import Job
from app.jobs.units.unit_claims import JobEnded
from app.pulls.conditions import check_space, publication_conditions
from app.pulls.download import Download
from app.pulls.pull_partials import (
    discard_partials,
    discard_published,
    published_partial,
    published_single,
    stage,
)
from app.pulls.request import PullRequest
from app.pulls.retries import LONGEST_PAUSE_SECONDS, OnRetry, PullLimits, Retries, Waiting
from app.pulls.sources.base import Source, SourceFile, resolve_files, source_for
from app.store import SHA256, Action, Conditions, Model, Published, Store

__all__ = ["OnPublished", "PullLimits", "PullRun", "Pulled"]

WORTHLESS = (
    ConditionFailed,
    DigestMismatch,
    InvalidModelName,
    ModelChanged,
    ModelExists,
    ModelProtected,
    NotAModel,
    SourceNotAllowed,
    SourceNotFound,
    StoreFull,
)
"""The errors after which a partial file is removed: its bytes are wrong, cannot be published, or fill the disk. After
any other error the file is kept, so that the next equal request continues it."""

DIGEST_ADVICE = "check the source, and the request's sha256 if it has one, then pull it again"

T = TypeVar("T")
Unended = Callable[[], AbstractContextManager[object]]
OnPublished = Callable[[Model], Awaitable[None]]
"""Called with each published model before the job finishes."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """One model of a pull's result: downloaded, or already there and kept."""

    name: str
    size_bytes: int
    sha256: str | None
    outcome: str
    """`pulled` or `kept`."""


class PullRun:
    """One run of a pull in this process; an earlier run, in this or another service, may have begun the work."""

    def __init__(
        self,
        job: Job,
        store: Store,
        sources: Sequence[Source],
        limits: PullLimits,
        on_published: OnPublished,
        *,
        waiting: Waiting = nullcontext,
        on_retry: OnRetry = lambda *_: None,
        unended: Unended = nullcontext,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """`waiting` is entered during each pause between attempts; `on_retry` is told of each pause.

        `unended` is entered to publish a file: it raises JobEnded if the job has ended, and lets nobody cancel the job
        meanwhile. `is_cancelled` says why `run` is cancelled: because the job is, or because the service stops.
        """
        self.phase = "resolving"
        self._job = job
        self._request = PullRequest.from_record(job.request)
        self._store = store
        self._sources = sources
        self._limits = limits
        self._on_published = on_published
        self._retries = Retries(limits, lambda: self.done_bytes, waiting=waiting, on_retry=on_retry)
        self._threads = CapacityLimiter(2)  # not the shared threads, so that a slow disk delays no other work
        self._files: list[SourceFile] = []
        self._warnings: list[str] = []
        self._finished_bytes = 0
        self._download: Download | None = None
        self._unended = unended
        self._is_cancelled = is_cancelled
        self._failure: BaseException | None = None

    @property
    def done_bytes(self) -> int:
        """The number of bytes that have arrived, of all files together."""
        return self._finished_bytes + (self._download.staged.size_bytes if self._download else 0)

    @property
    def total_bytes(self) -> int | None:
        """The size of all files together, in bytes; None while a size is unknown."""
        sizes = [file.size_bytes for file in self._files]
        return None if not sizes or None in sizes else sum(size or 0 for size in sizes)

    def count(self) -> tuple[int, int | None]:
        """Return how many bytes have arrived, and how many there are in total; None for an unknown total."""
        return self.done_bytes, self.total_bytes

    async def run(self) -> dict[str, Any]:
        """Download and publish every file, and return the models for the job's record.

        Raises JobEnded if the job has ended; errors of the source and of `Incoming.publish`; StoreFull, StoreReadOnly,
        StoreUnavailable. After an
        error, the files that were published before stay published. The partial file is removed after the errors in
        WORTHLESS, and kept after any other error.
        """
        try:
            try:
                self._source = source_for(self._sources, self._request)
                found = await self._retries.run(lambda: resolve_files(self._source, self._request, self._threads))
            except ServiceError:
                if result := await self._in_thread(self._published_result):
                    return result
                raise
            self._files, self._warnings = found.files, list(found.warnings)
            await self._in_thread(self._check_space)
            pulled = [await self._pull_file(file) for file in self._files]
        except BaseException as exc:
            self._failure = exc
            raise
        warnings = {"warnings": self._warnings} if self._warnings else {}
        return {"models": [asdict(each) for each in pulled]} | warnings

    def _check_space(self) -> None:
        """Check that the files may be published and fit on the disk. Skip files that an earlier run has published."""
        missing = [each for each in self._files if published_partial(self._store, self._job.id, each.name) is None]
        check_space(self._store, missing, self._request.if_exists, self._limits)

    async def _pull_file(self, file: SourceFile) -> Pulled:
        if pulled := await self._in_thread(self._published_before, file):
            return pulled
        conditions = await self._in_thread(publication_conditions, self._store, file, self._request.if_exists)
        if conditions is None:
            return await self._in_thread(self._kept, file)
        download = self._download = await self._staged_when_free(file)
        is_to_stay = False
        try:
            pulled = await self._download_and_publish(download, file, conditions)
            is_to_stay = True  # the partial's record shows that the file is published until the job's record does
        except asyncio.CancelledError:
            is_to_stay = not self._is_cancelled()
            raise
        except Exception as exc:
            is_to_stay = not isinstance(exc, (JobEnded, *WORTHLESS)) and download.can_continue
            raise
        finally:
            self._download = None
            with CancelScope(shield=True):
                await self._in_thread(download.staged.release if is_to_stay else download.staged.drop)
        self._finished_bytes += pulled.size_bytes
        return pulled

    async def _download_and_publish(self, download: Download, file: SourceFile, conditions: Conditions) -> Pulled:
        """Download and publish a file.

        If the bytes are from several answers, because the download was resumed, and the digest is wrong, the file is
        downloaded again from the start.
        """
        while True:
            self.phase = "downloading"
            await self._retries.run(download.attempt)
            try:
                return await self._publish(download, file, conditions)
            except DigestMismatch:
                if not download.is_pieced:
                    raise
            await download.start_over()

    async def _staged_when_free(self, file: SourceFile) -> Download:
        """Stage a file. Wait if a killed runner's lock is still held: a file server releases such a lock with delay."""
        deadline = time.monotonic() + LONGEST_PAUSE_SECONDS
        while True:
            try:
                staged = await self._in_thread(stage, self._store, self._job, file, self._limits.partial_retention)
                return Download(self._store, self._source, file, staged, self._limits, self._threads)
            except PartialBusy:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(max(0.5, self._limits.pause_seconds))

    def _published_result(self) -> dict[str, Any] | None:
        """Return the result if an earlier run published the only model of the pull and could not write the outcome."""
        partial = published_single(self._store, self._job.id, self._request)
        if partial is None:
            return None
        self._finished_bytes = partial.size_bytes
        pulled = Pulled(self._request.target, partial.size_bytes, self._request.sha256, "pulled")
        return {"models": [asdict(pulled)]}

    def clean_up(self, *, is_failed: bool) -> None:
        """Remove the partial files of this run and earlier runs, except a file that the next pull can continue.

        Called when the job has ended; `is_failed` says whether it has failed.
        """
        discard_published(self._store, self._job.id, [file.name for file in self._files] or [self._request.target])
        if not is_failed or isinstance(self._failure, WORTHLESS):
            discard_partials(self._store, self._job.id)

    def _published_before(self, file: SourceFile) -> Pulled | None:
        """Return the model if an earlier run published it and was killed before it wrote the job's record."""
        partial = published_partial(self._store, self._job.id, file.name)
        if partial is None:
            return None
        self._finished_bytes += partial.size_bytes
        return Pulled(file.name, partial.size_bytes, file.sha256, "pulled")

    def _kept(self, file: SourceFile) -> Pulled:
        model = self._store.find(file.name)
        self._finished_bytes += file.size_bytes or 0
        return Pulled(model.name, model.size_bytes, self._store.digests.of(model), "kept")

    async def _publish(self, download: Download, file: SourceFile, conditions: Conditions) -> Pulled:
        staged = download.staged
        if not staged.size_bytes:
            raise SourceMismatch(file.label, "the file is empty, and a model must not be")
        self.phase = "verifying"
        # Abandoned on cancellation, because reading the bytes of an earlier run can take longer than a shutdown may.
        digesting = to_thread.run_sync(staged.digest, SHA256, limiter=self._threads, abandon_on_cancel=True)
        sha256 = (await digesting).hex()
        if file.sha256 and sha256 != file.sha256:
            raise DigestMismatch(file.name, SHA256, file.sha256, sha256, advice=DIGEST_ADVICE)
        self.phase = "publishing"
        incoming, actor = self._store.incoming, self._job.created_by

        def publish() -> Published:
            staged.sync()  # takes longest, and needs no lock
            with self._unended():
                return incoming.publish(file.name, staged, conditions, actor, action=Action.PULLED)

        # Not to be cancelled: publishing takes milliseconds, the journal must record it, and a job whose only model has
        # been published has succeeded.
        with CancelScope(shield=True):
            published = await self._in_thread(publish)
            if problem := published.description.problem:
                self._warnings.append(f"{file.name}: {problem}")
            await self._on_published(published.model)
        return Pulled(file.name, published.model.size_bytes, sha256, "pulled")

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._threads)
