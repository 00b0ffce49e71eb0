"""The stream of the results of a job of units, as server-sent events or as JSON lines, while the job runs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import structlog
from anyio import to_thread
from fastapi import Request
from fastapi.responses import Response
from fastapi.sse import format_sse_event

from app.api.http.problems import ProblemContext, problem_of
from app.api.jobs.long_poll import next_record
from app.api.jobs.stream import (
    JSON_LINES,
    KEEP_ALIVE,
    KEEP_ALIVE_SECONDS,
    RETRY_MILLISECONDS,
    SSE,
    STREAM_HEADERS,
    STREAMS,
    Records,
)
from app.api.jobs.unit_results import ResultPage, UnitResults
from app.errors import JobNotFound, StoreError
from app.events import EventName
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.watcher import JobWatcher
from app.store import explaining_refusals

log = structlog.get_logger()

_RESULT = '{"index":0,"text":"The quick brown fox","diff":null,"uncorrected_lines":[],"error":null}'
RESULT_STREAMS: dict[int | str, dict[str, Any]] = {
    # Text, as the stream of a job's records: a generated client would parse a schema of results as one document.
    200: {
        "content": {
            JSON_LINES: {"schema": {"type": "string"}, "example": f"{_RESULT}\n"},
            SSE: {"schema": {"type": "string"}, "example": format_sse_event(data_str=_RESULT, id="1").decode()},
        }
    },
    204: STREAMS[204],
}
PAGE = 100
"""How many results are read at once."""


@dataclass(frozen=True, slots=True)
class ResultStream:
    """The results of one job for one caller."""

    request: Request
    jobs: Jobs
    watcher: JobWatcher
    results: UnitResults[Any]
    media_type: str

    async def answer(self, job: Job, after: int, *, is_resumed: bool) -> Response:
        """Return the response that streams the results after the first `after` ones, until the job has ended.

        The answer to HEAD has the headers only. If a client has resumed the stream (`is_resumed`), and has all results
        of a finished job, the answer is 204. Raises JobNotFound and StoreUnavailable if the results cannot be read.
        """
        # `job` was read before the results, so a finished job has no more results than these.
        page = await to_thread.run_sync(self._read, job, after)
        if is_resumed and job.is_finished and not page.items:
            return Response(status_code=204, headers={"cache-control": "no-cache"})
        if self.request.method == "HEAD":
            return Response(headers=STREAM_HEADERS, media_type=self.media_type)
        return Records(self._lines(job, page), media_type=self.media_type, headers=STREAM_HEADERS)

    async def _lines(self, job: Job, page: ResultPage[Any]) -> AsyncIterator[bytes]:
        if self.media_type == SSE:
            yield format_sse_event(retry=RETRY_MILLISECONDS)
        stopping: asyncio.Event = self.request.app.state.stopping
        try:
            while not stopping.is_set():
                for position, item in enumerate(page.items, page.next_cursor - len(page.items) + 1):
                    yield self._line(item.model_dump_json(), position)
                if not page.has_more:
                    if job.is_finished:
                        return
                    before = job
                    job = await next_record(self.request, self.watcher, job, KEEP_ALIVE_SECONDS)
                    if job == before:
                        yield KEEP_ALIVE[self.media_type]
                with explaining_refusals():
                    page = await to_thread.run_sync(self._read, job, page.next_cursor)
        except JobNotFound:  # the job was removed
            return
        except StoreError as exc:
            yield self._last_line(exc)

    def _read(self, job: Job, after: int) -> ResultPage[Any]:
        return self.results.read(self.jobs, job, after=after, limit=PAGE)

    def _line(self, result: str, position: int) -> bytes:
        """Return one result. The id of an event is how many results the caller has with it."""
        return format_sse_event(data_str=result, id=str(position)) if self.media_type == SSE else f"{result}\n".encode()

    def _last_line(self, exc: StoreError) -> bytes:
        """Log why the stream ends early, and return the problem as its last line: an event `error` without an id."""
        path, request_id = self.request.url.path, str(self.request.scope["request_id"])
        log.warning(EventName.REQUEST_CUT, id=request_id, path=path, cause=str(exc))
        problem = problem_of(exc, ProblemContext(path, request_id)).model_dump_json()
        return format_sse_event(data_str=problem, event="error") if self.media_type == SSE else f"{problem}\n".encode()
