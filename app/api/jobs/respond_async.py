"""The header `Prefer: respond-async` (RFC 7240), with which a caller requests a job instead of a late answer."""

from typing import Annotated, Any

import http_sf
from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.http.deps import part
from app.api.http.problems import problems
from app.api.jobs.schemas import JobOut, describe
from app.jobs.background import BackgroundJobs
from app.jobs.records import Job

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobOut,
        "description": "The job that does the work, if the request has `Prefer: respond-async`.",
        "headers": {"location": {"description": "The job's address.", "schema": {"type": "string"}}},
    }
}
BackgroundDep = Annotated[BackgroundJobs, part("background_jobs")]


def accepted_or(*exceptions: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses`: 202 with a job, and the problems of `exceptions` and of creating a job."""
    return ACCEPTED | problems(*exceptions, errors.StoreUnavailable, *errors.UNWRITABLE, errors.StoreFull)


def accepted(request: Request, prefix: str, job: Job) -> JSONResponse:
    """Return the 202 answer with a job, whose location is below `prefix`."""
    location = f"{request.scope.get('root_path', '')}{prefix}/{job.id}"
    headers = {"location": location, "preference-applied": "respond-async"}
    return JSONResponse(describe(job).model_dump(mode="json"), 202, headers)


async def _prefers_job(
    request: Request,
    _: Annotated[
        str | SkipJsonSchema[None],
        Header(
            alias="prefer",
            description="`respond-async`: answer at once with a job, which continues when its caller disconnects. "
            "A read-only service creates no jobs and ignores this.",
        ),
    ] = None,
) -> bool:
    # A job is a record in the model folder, where a read-only service writes nothing. RFC 7240 lets it ignore this.
    if request.state.access.read_only:
        return False
    # RFC 7240 is older than structured fields, but real values parse as one once their names are in lower case.
    text = ", ".join(request.headers.getlist("prefer")).lower()
    try:
        preferences: Any = http_sf.parse(text.encode("latin-1"), tltype="dictionary")
    except http_sf.StructuredFieldError:
        return False
    return "respond-async" in preferences and preferences["respond-async"][0] is True


PrefersJob = Annotated[bool, Depends(_prefers_job)]
