"""Downloads one file into a partial file. A download continues after the last byte, and never mixes two versions."""

from collections.abc import AsyncIterator
from dataclasses import replace

from anyio import CapacityLimiter, to_thread

from app.errors import SourceMismatch, SourceNotAllowed, SourceUnavailable
from app.fetching.checked_chunks import LeastRate, checked_chunks
from app.fetching.http_client import STRONG_ETAG
from app.pulls.retries import PullLimits
from app.pulls.sources.base import Answer, Source, SourceFile
from app.store import PartialRecord, StagedFile, Store, write_all


class Download:
    """Downloads the bytes of a file that its partial file lacks, in one or more attempts."""

    def __init__(
        self,
        store: Store,
        source: Source,
        file: SourceFile,
        partial: tuple[StagedFile, PartialRecord],
        limits: PullLimits,
        threads: CapacityLimiter,
    ) -> None:
        self.staged, self._record = partial
        self.is_pieced = self.staged.size_bytes > 0
        """True if the bytes come from several answers, so that only a digest proves that all are of one version."""
        self._store = store
        self._source = source
        self._file = file
        self._limits = limits
        self._threads = threads
        etag = self._record.extra.get("etag")  # from a file that any program may have written
        self._etag = etag if isinstance(etag, str) and STRONG_ETAG.fullmatch(etag) else None
        self._relies_on_etags = True
        self._restarts = 0

    @property
    def can_continue(self) -> bool:
        """True if a later request can fetch the rest: an ETag or a digest shows whether the file is unchanged."""
        return bool(self.staged.size_bytes and (self._etag or self._file.sha256))

    async def attempt(self) -> None:
        """Request the bytes that the partial file lacks, and write them to it.

        Raises SourceUnavailable if some bytes do not arrive; the attempt may then be repeated. Also raises
        SourceNotAllowed, SourceNotFound, SourceRefused, SourceMismatch, and StoreFull and the other errors of
        `StagedFile.write`.
        """
        staged, file = self.staged, self._file
        if staged.size_bytes and staged.size_bytes == file.size_bytes:
            return
        if not self.can_continue:
            # Without an ETag and a digest, bytes of two versions could be mixed unnoticed.
            await self.start_over()
        etag = self._etag if self._relies_on_etags else None
        async with self._source.open(file, staged.size_bytes, etag) as answer:
            self._check_size(answer)  # before `start_over` drops bytes: the answer may be a login page
            if file.sha256 and etag and answer.start < staged.size_bytes and answer.etag != etag:
                # The servers of one source may send different ETags for one version, and a download that reaches
                # another server would start over each time. The digest checks the whole file, so request without an
                # ETag.
                self._relies_on_etags = False
            else:
                await self._receive(answer)
                return
        async with self._source.open(file, staged.size_bytes, None) as answer:
            self._check_size(answer)
            await self._receive(answer)

    async def _receive(self, answer: Answer) -> None:
        staged, file = self.staged, self._file
        if answer.start != staged.size_bytes:
            if answer.start:
                reason = f"the source sent bytes from {answer.start} on, not from {staged.size_bytes}"
                raise SourceMismatch(file.label, reason)
            await self.start_over()
        elif answer.start and not file.sha256 and answer.etag != self._etag:
            await self.start_over()
            raise SourceUnavailable(file.label, "the file has changed, and the source sent a part of the new version")
        self.is_pieced = self.is_pieced or answer.start > 0
        await self._note(answer.etag)
        await write_all(self._checked(answer), staged, self._threads)

    async def start_over(self) -> None:
        """Drop the bytes that have arrived, for a new start. Raises SourceMismatch if it restarts too often."""
        if not self.staged.size_bytes:
            return
        self._restarts += 1
        if self._restarts > max(1, self._limits.retries):
            raise SourceMismatch(
                self._file.label,
                f"the download ended early {self._restarts} times, and the source cannot continue it where it ended",
            )
        await to_thread.run_sync(self.staged.cut, 0, limiter=self._threads)
        self.is_pieced = False

    async def _note(self, etag: str | None) -> None:
        """Write the ETag to the partial file's record, so that a later run can ask for the rest of the same version."""
        if etag != self._etag:
            self._etag = etag
            noted = replace(self._record, extra=self._record.extra | {"etag": etag})
            await to_thread.run_sync(self._store.incoming.record, noted, limiter=self._threads)

    def _check_size(self, answer: Answer) -> None:
        file = self._file
        size_bytes = answer.total_bytes if file.size_bytes is None else file.size_bytes
        if answer.total_bytes not in {None, size_bytes}:
            raise SourceMismatch(file.label, f"the file has {answer.total_bytes:,} bytes, not {size_bytes:,}")
        check_limit(file, size_bytes or 0, self._limits)

    def _checked(self, answer: Answer) -> AsyncIterator[bytes]:
        """Return the bytes of an answer; raises what `checked_chunks` and `check_limit` raise."""
        file, limits = self._file, self._limits
        return checked_chunks(
            answer.chunks(),
            file.label,
            LeastRate(limits.min_rate, limits.rate_seconds),
            lambda received_bytes: check_limit(file, received_bytes, limits),
            expected_bytes=answer.total_bytes if file.size_bytes is None else file.size_bytes,
            received_bytes=self.staged.size_bytes,
        )


def check_limit(file: SourceFile, size_bytes: int, limits: PullLimits) -> None:
    """Raise SourceNotAllowed if a file of this size is larger than the limits allow."""
    if limits.max_bytes and size_bytes > limits.max_bytes:
        reason = f"it has {size_bytes:,} bytes or more, and OCR_MAX_PULL_BYTES allows {limits.max_bytes:,}"
        raise SourceNotAllowed(file.label, reason)
