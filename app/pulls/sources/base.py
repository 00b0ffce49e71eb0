"""The interface of a source of models. A source lists the files of a request and opens each file as a stream of bytes.

To add a source, write a module in this folder with a class that has the methods of `Source`, a line in `app.build`, and
its settings.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from anyio import CapacityLimiter

from app.errors import SourceNotAllowed
from app.pulls.request import PullRequest


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


class Answer(Protocol):
    """The answer to one request for the bytes of a file."""

    @property
    def start(self) -> int:
        """The position in the file of the answer's first byte; 0 if the source sends the whole file."""

    @property
    def total_bytes(self) -> int | None:
        """The size of the whole file; None if the source does not state it."""

    @property
    def etag(self) -> str | None:
        """The ETag of the file's version, with which a later request can ask for the rest; None if there is none."""

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
        """Request a file's bytes from position `start` on; the whole file if its ETag is no longer `etag`.

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


async def resolve_files(source: Source, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
    """Return the files of a request. The request's digest, if it has one, replaces that of the source.

    Raises what `Source.resolve` raises.
    """
    files = await source.resolve(request, threads)
    return [replace(file, sha256=request.sha256 or file.sha256) for file in files]
