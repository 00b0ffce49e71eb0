"""The stream of a job's records, as server-sent events or as JSON lines."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import format_sse_event

from app.api.http.negotiation import best_or_first
from app.api.jobs.schemas import JobEvent, describe_event
from app.errors import StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.progress import PROGRESS_INTERVAL_SECONDS
from app.jobs.records import Job

KEEP_ALIVE_SECONDS = 15.0
SSE, JSON_LINES = "text/event-stream", "application/x-ndjson"
KEEP_ALIVE = {SSE: b": still there\n\n", JSON_LINES: b"\n"}
STREAMS: dict[int | str, dict[str, Any]] = {
    200: {"model": JobEvent, "content": {SSE: {"schema": {"$ref": "#/components/schemas/JobEvent"}}}}
}


class Records(StreamingResponse):
    """The response of a stream; its default media type is JSON lines."""

    media_type = JSON_LINES


def follow(request: Request, jobs: Jobs, job: Job) -> Response:
    """Return a response that streams a job's records until the job is finished or this service stops.

    The answer to HEAD has the headers only.
    """
    media_type = best_or_first((JSON_LINES, SSE), request.headers.getlist("accept"))
    # These headers tell proxies not to buffer the records.
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    stopping: asyncio.Event = request.app.state.stopping
    return Records(_records(jobs, job, media_type, stopping), media_type=media_type, headers=headers)


async def _records(jobs: Jobs, job: Job, media_type: str, stopping: asyncio.Event) -> AsyncIterator[bytes]:
    yield _encoded(job, media_type)
    sent_at = time.monotonic()
    while not job.is_finished and not await _is_set(stopping):
        before = job
        with contextlib.suppress(StoreUnavailable):  # the record can be read again when the folder is back
            job = await to_thread.run_sync(jobs.get, job.id)
        if job != before:
            yield _encoded(job, media_type)
            sent_at = time.monotonic()
        elif time.monotonic() - sent_at > KEEP_ALIVE_SECONDS:
            yield KEEP_ALIVE[media_type]
            sent_at = time.monotonic()


async def _is_set(event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), PROGRESS_INTERVAL_SECONDS)
    return event.is_set()


def _encoded(job: Job, media_type: str) -> bytes:
    record = describe_event(job).model_dump_json()
    return format_sse_event(data_str=record) if media_type == SSE else record.encode() + b"\n"
