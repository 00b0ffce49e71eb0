"""The interface of a source of models. A source lists the files of a request and opens each file as a stream of bytes.

To add a source, write a module in this folder with a class that has the methods of `Source`, a line in `app.build`, and
its settings.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from anyio import CapacityLimiter

from app.errors import SourceMismatch, SourceNotAllowed, SourceNotFound
from app.fetching.foreign_text import printable
from app.pulls.request import PullRequest
from app.store.names import problem_with

MAX_FILES = 1000
"""How many files one pull may have."""
MAX_WARNINGS = 20
"""How many of the files that were left out a job's record names at most."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source, and the model that it becomes."""

    name: str
    """The model's name."""
    url: str
    size_bytes: int | None = None
    """The size of the file; None if the source does not state it."""
    sha256: str | None = None
    """The digest that the file must have; None if the request and the source state none."""

    @property
    def label(self) -> str:
        """The file's URL for messages: without the query, which may hold a signature."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files of a request at a source."""

    files: list[SourceFile]
    warnings: tuple[str, ...] = ()
    """Sentences for the job's record, such as the names of matching files that were left out."""


class Answer(Protocol):
    """The answer to one request for the bytes of a file."""

    @property
    def start(self) -> int:
        """Where in the file the answer's first byte belongs; 0 if the source sends the whole file."""

    @property
    def total_bytes(self) -> int | None:
        """The size of the whole file; None if the source does not state it."""

    @property
    def etag(self) -> str | None:
        """The ETag of the file's version, which a later request for the rest of the file can send; None without one."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they arrive; raises SourceUnavailable if the connection breaks or stalls."""


class Source(Protocol):
    """A place that models are pulled from."""

    def accepts(self, request: PullRequest) -> bool:
        """Return True if this source serves the request."""

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
        """Return the files of a request, all of one version. Calls that block run in `threads`.

        Raises SourceNotAllowed, SourceNotFound, SourceRefused, SourceMismatch, SourceUnavailable.
        """

    def open(self, file: SourceFile, start: int = 0, etag: str | None = None) -> AbstractAsyncContextManager[Answer]:
        """Request a file's bytes from position `start` on, or the whole file if its ETag is no longer `etag`.

        Raises what `resolve` raises; SourceUnavailable is for failures that may pass.
        """

    async def aclose(self) -> None:
        """Close the connections of the source."""


def source_for(sources: Sequence[Source], request: PullRequest) -> Source:
    """Return the first source that accepts a request; raises SourceNotAllowed if no source does."""
    for source in sources:
        if source.accepts(request):
            return source
    raise SourceNotAllowed(request.target, "no source of this service accepts it")


async def resolve_files(source: Source, request: PullRequest, threads: CapacityLimiter) -> FoundFiles:
    """Return the files of a request. A digest in the request replaces the digest that the source states.

    If the request has a pattern, files whose names no model can have are left out. Raises what `Source.resolve` raises,
    SourceNotFound if no file is left, and SourceMismatch if the source lists more than MAX_FILES.
    """
    found = await source.resolve(request, threads)
    if len(found) > MAX_FILES:
        raise SourceMismatch(
            request.target, f"the source has {len(found):,} such files, and a pull may have {MAX_FILES}"
        )
    files = [replace(file, sha256=request.sha256 or file.sha256) for file in found]
    return _without_impossible_names(files, request) if request.files else FoundFiles(files)


def _without_impossible_names(files: list[SourceFile], request: PullRequest) -> FoundFiles:
    kept, left_out = list[SourceFile](), list[str]()
    for file in files:
        if problem := problem_with(file.name):
            left_out.append(f"{printable(file.name)} was left out, because no model can have this name: {problem}")
        else:
            kept.append(file)
    if not kept:
        raise SourceNotFound(
            f"file that matches {request.files!r} and has a valid model name",
            f"{left_out[0]}. Give another pattern" if left_out else "Give another pattern",
        )
    more = len(left_out) - MAX_WARNINGS
    return FoundFiles(kept, (*left_out[:MAX_WARNINGS], *([f"{more:,} more files were left out"] if more > 0 else ())))
