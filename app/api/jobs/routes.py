"""Jobs over HTTP, whatever they do: list, read, follow, cancel. Each resource that runs as jobs has these routes."""

from collections.abc import Callable, Collection
from itertools import islice
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import JobsDep, StoreDep
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.jobs.schemas import JobList, JobOut, describe
from app.api.jobs.stream import STREAMS, Records, follow
from app.jobs.folder import Jobs
from app.jobs.records import Job, JobState
from app.store.store import Store

JobId = Annotated[
    str, Path(description="A job's id, as its Location has it.", examples=["20261121T092012Z-0a1b23a56954"])
]
JOB_ERRORS = (errors.JobNotFound, errors.StoreUnavailable)
NOT_YET: dict[int | str, dict[str, Any]] = {
    202: {"model": JobOut, "description": "The job, which was told to end and will."}
}


class JobsQuery(BaseModel):
    """What may be asked of the list."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    state: Literal["queued", "running", "succeeded", "failed", "cancelled"] | SkipJsonSchema[None] = None
    """Only jobs in this state."""
    limit: int = Field(default=100, ge=1, le=1000)
    """How many to show."""


def _cancel(_: Store, jobs: Jobs, job_id: str) -> Job:
    return jobs.cancel(job_id)


def job_routes(
    prefix: str,
    noun: str,
    kinds: Collection[str],
    tag: str,
    cancel: Callable[[Store, Jobs, str], Job] = _cancel,
    *,
    scope: Scope,
    reading: Scope = Scope.READ,
    results: type[BaseModel] | None = None,
) -> APIRouter:
    """The list of these jobs, and `GET`, `DELETE` and `GET .../events` of one; `GET .../results` if they have any.

    `scope` is what cancelling takes, `reading` what the rest takes.
    """
    router = APIRouter(tags=[tag], route_class=GuardedRoute)
    plural = f"{noun}s"
    slug = noun.lower().replace(" ", "_")

    def get(jobs: Jobs, job_id: str) -> Job:
        job = jobs.get(job_id)
        if job.kind not in kinds:
            raise errors.JobNotFound(job_id)
        return job

    @router.get(
        prefix,
        name=f"list_{slug}s",
        summary=f"List {plural}",
        response_description=f"The {plural}.",
        responses=problems(errors.StoreUnavailable, RequestValidationError),
        openapi_extra=needs(reading),
    )
    async def list_jobs(query: Annotated[JobsQuery, Query()], jobs: JobsDep) -> JobList:
        """List them, newest first, whichever service on the folder runs or ran them."""
        state = JobState(query.state) if query.state else None
        found = await to_thread.run_sync(lambda: list(islice(jobs.newest(kinds, state), query.limit)))
        return JobList(count=len(found), jobs=[describe(job) for job in found])

    @router.get(
        f"{prefix}/{{job_id}}",
        name=f"read_{slug}",
        summary=f"Read one {noun}",
        response_description="The job.",
        responses=problems(*JOB_ERRORS),
        openapi_extra=needs(reading),
    )
    async def read_job(job_id: JobId, jobs: JobsDep) -> JobOut:
        """Say how far it is, or what came of it, whichever service on the folder runs it."""
        return describe(await to_thread.run_sync(get, jobs, job_id))

    @router.delete(
        f"{prefix}/{{job_id}}",
        name=f"cancel_{slug}",
        summary=f"Cancel one {noun}",
        response_description="The job, which is finished, and nothing more happens.",
        responses=NOT_YET | problems(*JOB_ERRORS, *errors.UNWRITABLE, errors.StoreFull),
        openapi_extra=needs(scope),
    )
    async def cancel_job(job_id: JobId, store: StoreDep, jobs: JobsDep, response: Response) -> JobOut:
        """Ask for its end, whichever service on the folder runs it: that one hears of it within half a second.

        One that is finished already stays as it is.
        """
        await to_thread.run_sync(get, jobs, job_id)
        job = await to_thread.run_sync(cancel, store, jobs, job_id, limiter=threads.changes)
        response.status_code = 200 if job.is_finished else 202
        return describe(job)

    @router.get(
        f"{prefix}/{{job_id}}/events",
        name=f"follow_{slug}",
        summary=f"Follow one {noun}",
        response_class=Records,
        response_description="Records, the last of them final.",
        responses=STREAMS | problems(*JOB_ERRORS),
        openapi_extra=needs(reading),
    )
    async def follow_job(job_id: JobId, request: Request, jobs: JobsDep) -> Response:
        """Stream the job: a record at once, one whenever it changes, and exactly one with `final` when it is finished.

        `Accept: text/event-stream` asks for server-sent events, and anything else gets JSON lines, an empty one now and
        then to keep the connection. A stream that ends without a final record was cut, as by the end of this service:
        ask again, here or at another service on the folder.
        """
        job = await to_thread.run_sync(get, jobs, job_id)
        return follow(request, jobs, job)

    async def read_results(job_id: JobId, jobs: JobsDep) -> Response:
        """Give what came of each item, in order, once the job succeeded."""
        job = await to_thread.run_sync(get, jobs, job_id)
        if job.state is not JobState.SUCCEEDED:
            raise errors.JobWithoutResults(job_id, job.state)
        return await _results_of(jobs, job_id)

    if results:
        router.get(
            f"{prefix}/{{job_id}}/results",
            name=f"read_{slug}_results",
            summary=f"Read one {noun}'s results",
            response_model=results,
            response_description="A result for each item, in order.",
            responses=problems(*JOB_ERRORS, errors.JobWithoutResults),
            openapi_extra=needs(reading),
        )(read_results)
    return router


async def _results_of(jobs: Jobs, job_id: str) -> Response:
    file = jobs.result_file(job_id)
    try:
        found = await to_thread.run_sync(file.stat)
    except FileNotFoundError:  # its time came just now: the results go first
        raise errors.JobNotFound(job_id) from None
    return FileResponse(file, media_type="application/json", stat_result=found)
