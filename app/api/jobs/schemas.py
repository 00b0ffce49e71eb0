"""What a job looks like on the wire."""

from typing import Any, Literal

from pydantic import NonNegativeInt

from app import errors
from app.api.http.problem_table import INTERNAL_ERROR, PROBLEM_TYPES
from app.api.http.problem_types import TYPE_PREFIX
from app.api.http.schema import Schema, Timestamp
from app.jobs.records import Failure, Job

BY_NAME = {
    exception.__name__: kind for exception, kind in PROBLEM_TYPES.items() if issubclass(exception, errors.ServiceError)
}


class ProgressOut(Schema):
    """How far a job is."""

    done: NonNegativeInt
    """What is done of it."""
    total: NonNegativeInt | None
    """What there is to do; null while nobody knows."""
    unit: Literal["bytes", "items"]
    """What is counted."""
    rate: float | None
    """Units a second, in the last ten seconds."""
    eta_seconds: float | None
    """How long the rest takes at that rate."""


class JobProblem(Schema):
    """Why a job failed, with the members of a problem."""

    type: str
    """Which problem it is."""
    title: str
    """The same for people."""
    status: int
    """The HTTP status that a request would have had for an answer."""
    detail: str
    """What happened, and what to do about it."""


class JobOut(Schema):
    """A job as it is now."""

    id: str
    """Sorts by the time of its creation."""
    kind: str
    """What it does, such as `pull`."""
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    """The last three are final."""
    phase: str
    """What it does just now, or did last. A pull: `waiting`, `resolving`, `downloading`, `verifying`, `publishing`."""
    progress: ProgressOut
    """How far it is."""
    request: dict[str, Any]
    """What was asked for; a URL without its query."""
    result: dict[str, Any] | None
    """What came of it, once it succeeded. A pull: `models`, each with `name`, `size_bytes`, `sha256` and `outcome`,
    which is `pulled` or `kept`. Work on texts and
    images: `failed_count`; the results lie at `/ai/jobs/{id}/results` and `/ocr/jobs/{id}/results`."""
    error: JobProblem | None
    """Why it failed, if it did."""
    created_at: Timestamp
    """When it was asked for."""
    created_by: str
    """By whom: the name of an API key, `anonymous`, or `cli:` and a user."""
    updated_at: Timestamp
    """When this was last written."""
    finished_at: Timestamp | None
    """When it ended."""
    owner: str | None
    """The host and the process that wrote this."""


class JobEvent(JobOut):
    """One record of a job's stream."""

    final: bool
    """Whether the job is finished and this the last record."""


class JobList(Schema):
    """The newest jobs."""

    count: NonNegativeInt
    """How many are shown."""
    jobs: list[JobOut]
    """The jobs, newest first."""


def describe(job: Job) -> JobOut:
    """A job for the wire."""
    return JobOut(**_fields(job))


def describe_event(job: Job) -> JobEvent:
    """A record of its stream."""
    return JobEvent(**_fields(job), final=job.is_finished)


def _fields(job: Job) -> dict[str, Any]:
    request = {name: value for name, value in job.request.items() if value is not None}
    if "url" in request:
        request["url"] = request["url"].partition("?")[0]  # the rest may be a signature
    return {
        name: getattr(job, name) for name in JobOut.model_fields if name not in {"request", "error", "created_by"}
    } | {
        "progress": ProgressOut.model_validate(job.progress),
        "request": request,
        "error": _problem(job.failure) if job.failure else None,
        "created_by": job.created_by.name,
    }


def _problem(failure: Failure) -> JobProblem:
    kind = BY_NAME.get(failure.error, INTERNAL_ERROR)  # a newer service may know errors that this one does not
    return JobProblem(type=TYPE_PREFIX + kind.slug, title=kind.title, status=kind.status, detail=failure.detail)
