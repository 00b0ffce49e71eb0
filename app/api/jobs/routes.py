"""The routes of jobs. Every resource whose work runs as jobs has these routes, below its own path."""

import inspect
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from app import errors
from app.api.examples.ids import JOB_ID
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import JobsDep, StoreDep, part
from app.api.http.header_fields import JSON
from app.api.http.keys import Scope
from app.api.http.negotiation import best_or_first
from app.api.http.problems import problems
from app.api.http.request_errors import CallerGone
from app.api.http.schema import DamagedRecordOut, InlineEnum
from app.api.jobs.described_job import DescribeJobDep
from app.api.jobs.former_results import former_results
from app.api.jobs.long_poll import JobQuery, JobWatcherDep, finished_or_latest
from app.api.jobs.result_stream import RESULT_STREAMS, ResultStream
from app.api.jobs.schemas import JobListOut, JobOut
from app.api.jobs.stream import JSON_LINES, SSE, STREAMS, LastEventId, Records, follow
from app.api.jobs.unit_results import ResultsQuery, ResultsStreamQuery, UnitResults
from app.jobs.folder import Jobs
from app.jobs.records import DONE, Job, JobState
from app.jobs.records import JOB_ID as JOB_ID_FORM
from app.jobs.units.unit_runner import UnitRunner
from app.store import Store

JobId = Annotated[str, Path(description="The job's id, from its `Location`.", examples=[JOB_ID])]
JOB_ERRORS = (errors.JobNotFound, errors.StoreUnavailable)
COUNT = re.compile(r"[0-9]+")
"""Matches the id of an event of a stream of results: how many results the caller has."""
MAX_CURSOR_DIGITS = 12
"""How many digits of the id of an event are used."""
CANCELLING: dict[int | str, dict[str, Any]] = {
    202: {"model": JobOut, "description": "Not ended yet: a former version runs it, or its model was just published."}
}


class JobsQuery(BaseModel):
    """The parameters of a list of jobs."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    state: InlineEnum[JobState] | SkipJsonSchema[None] = None
    """Only jobs in this state."""
    limit: int = Field(default=100, ge=1, le=1000)
    """The page size."""
    cursor: str | SkipJsonSchema[None] = None
    """The `next_cursor` of the previous page. Send the same `state` with it; `limit` may differ."""

    @field_validator("cursor")
    @classmethod
    def _check_cursor(cls, text: str | None) -> str | None:
        if text is not None and not JOB_ID_FORM.fullmatch(text):
            raise PydanticCustomError(
                "cursor",
                "this is not a cursor of this list; send 'next_cursor' unchanged, or no cursor for the first page",
            )
        return text


def _cancel(_: Store, jobs: Jobs, job_id: str) -> Job:
    return jobs.cancel(job_id)


@dataclass(frozen=True, kw_only=True)
class JobKind:
    """A kind of job as a resource of the API."""

    prefix: str
    """The path of the list of the jobs of this kind, such as `/pulls`."""
    noun: str
    """The kind's name in texts; in operation ids, with `_` for spaces."""
    kind: str
    """The kind's name in jobs' records."""
    tag: str
    phases: tuple[str, ...]
    """The values of `phase`, for the descriptions."""
    result: str
    """The members of `result`, for the descriptions: a phrase."""
    cancel_scope: Scope
    read_scope: Scope = Scope.READ
    results: UnitResults[Any] | None = None
    """How the results are shown, if the jobs of this kind are made of units."""
    cancel: Callable[[Store, Jobs, str], Job] = _cancel

    def describe(self) -> str:
        """Return sentences for the API's descriptions: the phases and the result that jobs of this kind have."""
        phases = ", ".join(f"`{phase}`" for phase in (*self.phases, DONE))
        results = f" The results themselves are at `{self.prefix}/{{job_id}}/results`." if self.results else ""
        return f"The `phase` is one of {phases}. The `result` has {self.result}.{results}"

    async def bind(self, request: Request) -> None:
        """Store this kind in the state of a request, where `JobKindDep` finds it."""
        request.state.job_kind = self


async def _kind(request: Request) -> JobKind:
    kind: JobKind = request.state.job_kind
    return kind


JobKindDep = Annotated[JobKind, Depends(_kind)]


async def _job(job_id: JobId, kind: JobKindDep, jobs: JobsDep) -> Job:
    """Return the job that the path names. Raises JobNotFound if it does not exist or is of another kind."""
    job = await to_thread.run_sync(jobs.get, job_id)
    if job.kind != kind.kind:
        raise errors.JobNotFound(job_id)
    return job


JobDep = Annotated[Job, Depends(_job)]


async def list_jobs(
    query: Annotated[JobsQuery, Query()], kind: JobKindDep, jobs: JobsDep, described: DescribeJobDep
) -> JobListOut:
    """List the jobs of all services on the folder, newest first.

    The answer is one page, and its `next_cursor` requests the next page. Jobs that are created after the first
    request are not on later pages, because they are newer; jobs that are removed meanwhile are missing.
    """
    page = await to_thread.run_sync(lambda: jobs.page(kind.kind, query.state, limit=query.limit, after=query.cursor))
    damaged = await to_thread.run_sync(jobs.volume.records.damaged, "job")
    return JobListOut(
        count=page.count,
        jobs=await described.all(page.jobs),
        next_cursor=page.jobs[-1].id if page.has_more else None,
        warnings=[DamagedRecordOut.model_validate(each) for each in damaged],
    )


async def get_job(
    request: Request,
    job_id: JobId,
    kind: JobKindDep,
    jobs: JobsDep,
    watcher: JobWatcherDep,
    described: DescribeJobDep,
    query: Annotated[JobQuery, Query()],
) -> JobOut:
    """Get the job's state, its progress and its result, whichever service on the folder runs it.

    `wait=30` is a long poll: the answer comes at the job's end, or after 30 seconds with the job as it is. Repeat the
    request until the state is final. If the service stops, it answers at once, too.
    """
    job = await _job(job_id, kind, jobs)  # no dependency: a wrong parameter is refused before anything is looked up
    return await described.one(await finished_or_latest(request, watcher, job, query.wait))


async def cancel_job(
    job: JobDep,
    kind: JobKindDep,
    store: StoreDep,
    jobs: JobsDep,
    described: DescribeJobDep,
    runner: Annotated[UnitRunner, part("unit_runner")],
    response: Response,
) -> JobOut:
    """Cancel the job, whichever service on the folder runs it. That service notices it within a second.

    A finished job is not changed: the answer is 200 with the job, and its results stay until they expire. The answer is
    202 if a service has still to end the job: a former version runs it, or its model was just published.
    """
    cancelled = await to_thread.run_sync(kind.cancel, store, jobs, job.id, limiter=threads.changes)
    if cancelled.units is not None and not job.is_finished:
        await runner.queue.cancelled(cancelled)
    response.status_code = 200 if cancelled.is_finished else 202
    return await described.one(cancelled)


async def stream_job_events(
    request: Request,
    job: JobDep,
    watcher: JobWatcherDep,
    described: DescribeJobDep,
    last_event_id: LastEventId = None,
) -> Response:
    """Stream the job's records: the present one, one for each change, and exactly one with `final` true, the last.

    `Accept: text/event-stream` requests server-sent events; any other value gets JSON lines. Each record is JSON: the
    job as `GET` returns it, with `final`. A comment or an empty line every 15 seconds keeps the connection open. If a
    stream ends without a final record, for example because this service stops, request it again from this or another
    service on the folder. A client without support for streams uses the long poll instead, `GET` with `wait`.
    """
    return follow(request, watcher, described, job, last_event_id)


async def get_job_results(
    job: JobDep, kind: JobKindDep, jobs: JobsDep, query: Annotated[ResultsQuery, Query()]
) -> Response:
    """Get the results so far, while the job runs and after its end: the result or the problem of each item.

    Each result has the item's `index`. The results of a page are in the order of the items; pages follow one another in
    the order in which the results were completed. While the job runs, `next_cursor` is the place of the next result.
    """
    results = _results_of(kind)
    if job.units is None:
        return Response(await to_thread.run_sync(former_results, jobs, job, results.page), media_type=JSON)
    page = await to_thread.run_sync(results.answer, jobs, job, query)
    return Response(await to_thread.run_sync(page.model_dump_json), media_type=JSON)


async def stream_job_results(
    request: Request,
    job: JobDep,
    kind: JobKindDep,
    jobs: JobsDep,
    watcher: JobWatcherDep,
    query: Annotated[ResultsStreamQuery, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Stream the results as they are completed, until the job has ended.

    `Accept: text/event-stream` requests server-sent events; any other value gets JSON lines. The id of an event, and
    `cursor`, count the results that the caller has. A job that a former version ran has no stream.
    """
    if job.units is None:
        raise errors.JobWithoutResults(job.id, job.state)
    media_type = best_or_first((JSON_LINES, SSE), request.headers.getlist("accept"))
    is_resumed = media_type == SSE and last_event_id is not None and bool(COUNT.fullmatch(last_event_id))
    after = int(last_event_id[:MAX_CURSOR_DIGITS]) if is_resumed and last_event_id else query.cursor
    stream = ResultStream(request, jobs, watcher, _results_of(kind), media_type)
    return await stream.answer(job, after, is_resumed=is_resumed)


def _results_of(kind: JobKind) -> UnitResults[Any]:
    assert kind.results  # noqa: S101 - kinds without results have no routes for them
    return kind.results


class JobRoute(NamedTuple):
    """A route that each kind of job has."""

    method: str
    path: str
    """The path of the route, below the path of the list of jobs."""
    endpoint: Callable[..., Coroutine[Any, Any, Any]]
    operation_id: str
    summary: str
    options: dict[str, Any]


LIST = JobRoute(
    "GET",
    "",
    list_jobs,
    "list_{slug}s",
    "List {noun}s",
    {"response_description": "The jobs.", "responses": problems(errors.StoreUnavailable, RequestValidationError)},
)
GET = JobRoute(
    "GET",
    "/{job_id}",
    get_job,
    "get_{slug}",
    "Get a {noun}",
    {"response_description": "The job.", "responses": problems(*JOB_ERRORS, CallerGone)},
)
CANCEL = JobRoute(
    "DELETE",
    "/{job_id}",
    cancel_job,
    "cancel_{slug}",
    "Cancel a {noun}",
    {
        "response_description": "The finished job.",
        "responses": CANCELLING | problems(*JOB_ERRORS, *errors.UNWRITABLE, errors.StoreFull),
    },
)
STREAM = JobRoute(
    "GET",
    "/{job_id}/events",
    stream_job_events,
    "stream_{slug}_events",
    "Stream a {noun}'s events",
    {
        "response_class": Records,
        "response_description": "The job's records; the last one has `final`.",
        "responses": STREAMS | problems(*JOB_ERRORS),
    },
)
RESULTS = JobRoute(
    "GET",
    "/{job_id}/results",
    get_job_results,
    "get_{slug}_results",
    "Get a {noun}'s results",
    {
        "response_description": "A page of results.",
        "responses": problems(*JOB_ERRORS, errors.JobWithoutResults, RequestValidationError),
    },
)

RESULTS_STREAM = JobRoute(
    "GET",
    "/{job_id}/results/events",
    stream_job_results,
    "stream_{slug}_results",
    "Stream a {noun}'s results",
    {
        "response_class": Records,
        "response_description": "The results, one a line or an event.",
        "responses": RESULT_STREAMS | problems(*JOB_ERRORS, errors.JobWithoutResults, RequestValidationError),
    },
)


def job_routes(kind: JobKind) -> APIRouter:
    """Return the routes of a kind of job; those of results only if the jobs of this kind are made of units."""
    router = APIRouter(tags=[kind.tag], route_class=GuardedRoute, dependencies=[Depends(kind.bind)])
    words = {"noun": kind.noun, "slug": kind.noun.replace(" ", "_")}
    for route in (LIST, GET, CANCEL, STREAM, RESULTS, RESULTS_STREAM):
        if (route is RESULTS or route is RESULTS_STREAM) and not kind.results:
            continue
        options = route.options | ({"response_model": kind.results.page} if route is RESULTS and kind.results else {})
        description = inspect.getdoc(route.endpoint) or ""
        router.add_api_route(
            kind.prefix + route.path,
            route.endpoint,
            methods=[route.method],
            name=route.operation_id.format(**words),
            summary=route.summary.format(**words),
            description=f"{description}\n\n{kind.describe()}" if route is GET else description,
            openapi_extra=needs(kind.cancel_scope if route is CANCEL else kind.read_scope),
            **options,
        )
    return router
