"""A source of models that exists only in this test: a class with the methods of `Source` is enough."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from anyio import CapacityLimiter

from app.build import build_jobs
from app.errors import SourceNotAllowed, SourceUnavailable
from app.pulls.pull import PullLimits
from app.pulls.request import PullRequest
from app.pulls.sources.base import Answer, SourceFile
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store
from tests.support.own_pulls import PullService

pytestmark = pytest.mark.anyio

ME = Actor("me")
CONTENT = bytes(range(256)) * 100


@dataclass
class Bytes:
    """The answer of the source: the bytes of a file from a position on. The first answer breaks off."""

    start: int
    is_cut: bool
    total_bytes: int | None = len(CONTENT)
    etag: str | None = '"1"'

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.is_cut:
            yield CONTENT[self.start : self.start + 1000]
            raise SourceUnavailable("memory", "it broke off")
        yield CONTENT[self.start :]


class Memory:
    """A source that serves URLs that begin with `memory:`."""

    def __init__(self) -> None:
        self.opened_at: list[int] = []

    def accepts(self, request: PullRequest) -> bool:
        return (request.url or "").startswith("memory:")

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
        return [SourceFile(request.target, request.url or "", len(CONTENT))]

    def open(self, file: SourceFile, start: int = 0, etag: str | None = None) -> AbstractAsyncContextManager[Answer]:
        @asynccontextmanager
        async def answer() -> AsyncIterator[Answer]:
            self.opened_at.append(start)
            yield Bytes(start, is_cut=len(self.opened_at) == 1)

        return answer()

    async def aclose(self) -> None:
        """Do nothing: the source has no connections."""


async def test_a_new_source_is_pulled_from(tmp_path: Path) -> None:
    """A pull from the new source resumes after a broken connection; a request that no source accepts is refused."""
    store = Store(tmp_path, Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    jobs, memory = build_jobs(store), Memory()

    service = PullService(store, jobs, [memory], PullLimits(3, 0, timedelta(days=1)))
    job, _ = await service.ask_for(PullRequest(url="memory://shelf/a.bin"), ME)
    await service.runner.work_on(job)

    assert jobs.get(job.id).state == "succeeded"
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert memory.opened_at == [0, 1000]
    with pytest.raises(SourceNotAllowed):
        await service.ask_for(PullRequest(url="https://a.example/b.bin"), ME)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"repository": "org/repo"},
        {"repository": "org/repo", "file": "a.bin", "url": "https://a.example/a.bin"},
        {"repository": "org/repo\n", "file": "a.bin"},
        {"repository": "../repo/deeper", "file": "a.bin"},
        {"repository": "org/repo", "files": "*", "sha256": "0" * 64},
        {"repository": "org/repo", "file": "a.bin", "sha256": "0" * 63},
        {"repository": "org/repo", "file": ""},
        {"url": ""},
        {"url": "https://a.example/" + "a" * 2048},
    ],
)
def test_an_invalid_pull_request_raises_value_error(fields: dict[str, str]) -> None:
    """A PullRequest with missing, contradicting or malformed fields raises ValueError."""
    with pytest.raises(ValueError, match=r"[a-z]+"):
        PullRequest(**fields)  # type: ignore[arg-type]
