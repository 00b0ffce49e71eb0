"""What a source of models is: it lists the files that a request means, and opens each as a stream of bytes.

A new kind of source is a module here with a class that has these methods, a line in `app.build`, and its settings.
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
    """None where the source does not say."""
    sha256: str | None = None
    """The digest that its bytes must have, where one is known."""

    @property
    def label(self) -> str:
        """Its URL without the query, which may hold a signature."""
        return self.url.partition("?")[0]


class Answer(Protocol):
    """The answer to one request for the bytes of a file."""

    @property
    def start(self) -> int:
        """The position of the first byte: 0 when the source sends the whole file again."""

    @property
    def total_bytes(self) -> int | None:
        """The size of the whole file, if the source says."""

    @property
    def etag(self) -> str | None:
        """The tag of the file's version, with which a later request can ask for the rest; None without one."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they arrive; raises SourceUnavailable when they end early, or stall."""


class Source(Protocol):
    """A place that models are pulled from."""

    def accepts(self, request: PullRequest) -> bool:
        """Whether the request is for this source."""

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
        """Return every file that the request means, all of one version. Calls that block run in `threads`.

        Raises SourceNotAllowed, SourceNotFound, SourceRefused, SourceMismatch, SourceUnavailable.
        """

    def open(self, file: SourceFile, start: int = 0, etag: str | None = None) -> AbstractAsyncContextManager[Answer]:
        """Ask for a file's bytes from a position on, if it still has that tag, and for the whole file if not.

        Raises what `resolve` raises; SourceUnavailable is for what may pass.
        """

    async def aclose(self) -> None:
        """Close the connections."""


def source_for(sources: Sequence[Source], request: PullRequest) -> Source:
    """Return the first source that accepts a request; raises SourceNotAllowed when there is none."""
    for source in sources:
        if source.accepts(request):
            return source
    raise SourceNotAllowed(request.target, "this service has no source for it")


async def resolve_files(source: Source, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
    """Return the files that a request means, with its digest where it states one. Raises what `resolve` raises."""
    files = await source.resolve(request, threads)
    return [replace(file, sha256=request.sha256 or file.sha256) for file in files]
