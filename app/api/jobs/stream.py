"""The stream of a job's records, as server-sent events or as JSON lines."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import format_sse_event
from pydantic.json_schema import SkipJsonSchema

from app.api.examples.jobs import JOB
from app.api.http.negotiation import best_or_first
from app.api.jobs.described_job import DescribeJob
from app.api.jobs.long_poll import next_record
from app.api.jobs.schemas import JobEventOut
from app.errors import JobNotFound
from app.jobs.records import Job
from app.jobs.watcher import JobWatcher

KEEP_ALIVE_SECONDS = 15.0
SSE, JSON_LINES = "text/event-stream", "application/x-ndjson"
KEEP_ALIVE = {SSE: b": still there\n\n", JSON_LINES: b"\n"}
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""The headers that tell proxies not to buffer the records."""
RETRY_MILLISECONDS = 2000
"""How long a browser waits before it reconnects, in milliseconds."""
_RECORD = JobEventOut.model_validate(JOB | {"final": True}).model_dump_json()
STREAMS: dict[int | str, dict[str, Any]] = {
    # A stream is text to the generators of clients: they would parse a schema of records as one JSON document.
    200: {
        "content": {
            JSON_LINES: {"schema": {"type": "string"}, "example": f"{_RECORD}\n"},
            SSE: {
                "schema": {"type": "string"},
                "example": format_sse_event(data_str=_RECORD, id=JOB["updated_at"]).decode(),
            },
        }
    },
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


def follow(
    request: Request, watcher: JobWatcher, described: DescribeJob, job: Job, last_event_id: str | None
) -> Response:
    """Return the response that streams a job's records until the job is finished or this service stops.

    The answer to HEAD has the headers only. `last_event_id` is respected in a stream of server-sent events only.
    """
    media_type = best_or_first((JSON_LINES, SSE), request.headers.getlist("accept"))
    has_current = media_type == SSE and last_event_id == _id_of(job)
    if has_current and job.is_finished:
        return Response(status_code=204, headers={"cache-control": "no-cache"})
    if request.method == "HEAD":
        return Response(headers=STREAM_HEADERS, media_type=media_type)
    records = _records(request, watcher, described, job, media_type, has_current=has_current)
    return Records(records, media_type=media_type, headers=STREAM_HEADERS)


async def _records(
    request: Request, watcher: JobWatcher, described: DescribeJob, job: Job, media_type: str, *, has_current: bool
) -> AsyncIterator[bytes]:
    if media_type == SSE:
        yield format_sse_event(retry=RETRY_MILLISECONDS)
    if not has_current:
        yield await _encoded(described, job, media_type)
    stopping: asyncio.Event = request.app.state.stopping
    while not job.is_finished and not stopping.is_set():
        before = job
        try:
            job = await next_record(request, watcher, job, KEEP_ALIVE_SECONDS)
        except JobNotFound:  # the record was removed from the folder
            return
        yield KEEP_ALIVE[media_type] if job == before else await _encoded(described, job, media_type)


async def _encoded(described: DescribeJob, job: Job, media_type: str) -> bytes:
    record = (await described.event(job)).model_dump_json()
    return format_sse_event(data_str=record, id=_id_of(job)) if media_type == SSE else record.encode() + b"\n"


def _id_of(job: Job) -> str:
    """Return the event id for a job's present record: the time when it was written, which differs for each record."""
    return job.updated_at.isoformat()
