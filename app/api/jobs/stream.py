"""The stream of a job's records, as server-sent events or as JSON lines."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Header, Request
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import format_sse_event
from pydantic.json_schema import SkipJsonSchema

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
    200: {"model": JobEvent, "content": {SSE: {"schema": {"$ref": "#/components/schemas/JobEvent"}}}},
    204: {"description": "The job is finished, and `Last-Event-ID` shows that the caller has its final record."},
}
LastEventId = Annotated[
    str | SkipJsonSchema[None],
    Header(
        alias="last-event-id",
        description="The `id` of the last server-sent event that the caller has, as a browser sends it when it "
        "reconnects. That record is not sent again. If it is the final one, the answer is 204, and the browser stops.",
    ),
]


class Records(StreamingResponse):
    """The response of a stream; its default media type is JSON lines."""

    media_type = JSON_LINES


def follow(request: Request, jobs: Jobs, job: Job, last_event_id: str | None) -> Response:
    """Return the response that streams a job's records until the job is finished or this service stops.

    The answer to HEAD has the headers only. `last_event_id` is respected in a stream of server-sent events only.
    """
    media_type = best_or_first((JSON_LINES, SSE), request.headers.getlist("accept"))
    # These headers tell proxies not to buffer the records.
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    has_current = media_type == SSE and last_event_id == _id_of(job)
    if has_current and job.is_finished:
        return Response(status_code=204, headers={"cache-control": "no-cache"})
    if request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    stopping: asyncio.Event = request.app.state.stopping
    records = _records(jobs, job, media_type, stopping, has_current=has_current)
    return Records(records, media_type=media_type, headers=headers)


async def _records(
    jobs: Jobs, job: Job, media_type: str, stopping: asyncio.Event, *, has_current: bool
) -> AsyncIterator[bytes]:
    yield KEEP_ALIVE[media_type] if has_current else _encoded(job, media_type)
    sent_at = time.monotonic()
    while not job.is_finished and not await _is_set(stopping):
        before = job
        with contextlib.suppress(StoreUnavailable):  # the record can be read again when the folder is available
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
    return format_sse_event(data_str=record, id=_id_of(job)) if media_type == SSE else record.encode() + b"\n"


def _id_of(job: Job) -> str:
    """Return the event id for a job's present record: the time when it was written, which differs for each record."""
    return job.updated_at.isoformat()
