"""Waits for a job on behalf of a request, until it changes or is finished, but never longer than the service runs."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from app.api.http.deps import part
from app.api.http.disconnects import cancel_on_disconnect
from app.jobs.records import Job
from app.jobs.watcher import JobWatcher

T = TypeVar("T")

MAX_WAIT_SECONDS = 60
"""The longest time that a request may wait for a job. Many proxies end a request without an answer after a minute."""

JobWatcherDep = Annotated[JobWatcher, part("job_watcher")]


class JobQuery(BaseModel):
    """The parameters of a request for one job."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    wait: int = Field(default=0, ge=0, le=MAX_WAIT_SECONDS, examples=[30])
    """For how many seconds to wait for the job's end. The answer comes as soon as the job is finished, else after this
    time, with the job as it is then. Choose less than the timeout of a proxy."""


async def finished_or_latest(request: Request, watcher: JobWatcher, job: Job, seconds: float) -> Job:
    """Return the job once it is finished; after `seconds`, or when the service stops, return its latest record.

    Raises CallerGone if the caller disconnects first, and JobNotFound if the job is removed.
    """
    if job.is_finished or not seconds:
        return job
    return await cancel_on_disconnect(request, _until_finished(request, watcher, job, time.monotonic() + seconds))


async def next_record(request: Request, watcher: JobWatcher, job: Job, seconds: float) -> Job:
    """Return the job once its record differs from `job`. After `seconds`, or when the service stops, return `job`.

    Raises JobNotFound.
    """
    return await result_within(request, watcher.changed(job), seconds) or job


async def result_within(request: Request, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
    """Return the result of a coroutine. After `seconds`, or when the service stops, cancel it and return None."""
    stopping: asyncio.Event = request.app.state.stopping
    working, stopped = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({working, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopped):
            task.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)


async def _until_finished(request: Request, watcher: JobWatcher, job: Job, end: float) -> Job:
    stopping: asyncio.Event = request.app.state.stopping
    while not job.is_finished and not stopping.is_set() and (seconds := end - time.monotonic()) > 0:
        job = await next_record(request, watcher, job, seconds)
    return job
