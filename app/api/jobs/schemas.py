"""The schemas of jobs."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import NonNegativeInt

from app import errors
from app.api.http.problem_table import INTERNAL_ERROR, PROBLEM_TYPES
from app.api.http.problem_types import TYPE_PREFIX
from app.api.http.schema import DamagedRecordOut, InlineEnum, Schema, Timestamp
from app.jobs.progress import Progress, ProgressUnit, aged
from app.jobs.records import Failure, Job, JobState
from app.jobs.units.queue_places import QueuePlace
from app.webhooks.records import Delivery, DeliveryState

BY_NAME = {
    exception.__name__: kind for exception, kind in PROBLEM_TYPES.items() if issubclass(exception, errors.ServiceError)
}


class ProgressOut(Schema):
    """The progress of a job."""

    done: NonNegativeInt
    """Bytes or items that are done."""
    total: NonNegativeInt | None
    """The total; null while unknown."""
    unit: ProgressUnit
    """The unit of the counts."""
    rate: float | None
    """Bytes a second over the last 10 seconds, or items a second over the last 20; null while unknown."""
    eta_seconds: float | None
    """The remaining seconds at the present rate; null while unknown."""


class JobProblemOut(Schema):
    """Why a job failed, with the members of a problem document."""

    type: str
    """The URI of the problem type."""
    title: str
    """The name of the problem type."""
    status: int
    """The HTTP status of the problem type."""
    detail: str
    """What happened, and what to do about it."""


class WebhookOut(Schema):
    """The webhook of a job, and what became of it."""

    url: str
    """The URL, without its query."""
    state: InlineEnum[DeliveryState]
    """`pending` until the job's end has been sent, or has been given up."""
    attempts: NonNegativeInt
    """How often it has been sent."""
    last_error: str | None
    """Why the last attempt failed; null if it did not."""
    next_attempt_at: Timestamp | None
    """When the next attempt is due; null if there is none."""


class QueueOut(Schema):
    """Where a job is among the units of all jobs: an estimate."""

    units_ahead: NonNegativeInt
    """How many files and texts of other jobs come before the job's next one."""
    expected_seconds: float | None
    """In how many seconds the job is expected to end; null while no rate is known."""


class JobOut(Schema):
    """A job, with its present state and progress."""

    id: str
    """The job's id. Ids sort by the time of creation."""
    kind: str
    """The kind of job, such as `pull`."""
    state: InlineEnum[JobState]
    """The state; `succeeded`, `failed` and `cancelled` are final."""
    phase: str
    """The current step, which the route that gets the job lists; of an ended job `done`, `failed` or `cancelled`."""
    progress: ProgressOut
    """The progress of the job."""
    queue: QueueOut | None
    """Its place in the queue; null once it is finished, and for a pull."""
    request: dict[str, Any]
    """The parameters of the request. A URL is shown without its query."""
    result: dict[str, Any] | None
    """The result, once the job has succeeded. The route that gets the job lists the members."""
    warnings: list[str]
    """Notes, such as files of a pull that were left out or misnamed, and files of the job that cannot be used."""
    error: JobProblemOut | None
    """Why the job failed; null if it has not failed."""
    created_at: Timestamp
    """When the job was created."""
    created_by: str
    """Who created the job: the name of an API key, `anonymous`, or `cli:` and a user."""
    updated_at: Timestamp
    """When the record was last written."""
    finished_at: Timestamp | None
    """When the job finished; null while it is not finished."""
    owner: str | None
    """The host and the process that last wrote the record."""
    webhook: WebhookOut | None
    """The webhook to which the end of the job is sent; null if there is none."""


class JobEventOut(JobOut):
    """One record of a job's stream."""

    final: bool
    """Whether the job is finished and this is the last record."""


class JobListOut(Schema):
    """One page of the jobs."""

    count: NonNegativeInt
    """How many jobs match, on all pages."""
    jobs: list[JobOut]
    """The jobs of this page, newest first."""
    next_cursor: str | None
    """The `cursor` of the next page; null on the last page."""
    warnings: list[DamagedRecordOut]
    """The records of jobs, of any kind, that cannot be read."""


def describe(job: Job, delivery: Delivery | None = None, place: QueuePlace | None = None) -> JobOut:
    """Return a job as the API shows it. Without a `delivery`, the job's webhook has not been sent yet.

    `place` is the place of an unfinished job; None if it is not known, or the job has none.
    """
    return JobOut(**_fields(job, delivery), queue=QueueOut.model_validate(place) if place else None)


def _fields(job: Job, delivery: Delivery | None) -> dict[str, Any]:
    request = {name: value for name, value in job.request.items() if value is not None}
    if isinstance(request.get("url"), str):
        request["url"] = request["url"].partition("?")[0]  # a query may hold a signature
    return {
        name: getattr(job, name)
        for name in JobOut.model_fields
        if name not in {"queue", "phase", "request", "result", "warnings", "error", "created_by", "webhook"}
    } | {
        "result": job.result and {name: value for name, value in job.result.items() if name != "warnings"},
        "warnings": _warnings(job.result or {}),
        "phase": _phase(job),
        "progress": ProgressOut.model_validate(_progress(job)),
        "request": request,
        "error": _problem(job.failure) if job.failure else None,
        "created_by": job.created_by.name,
        "webhook": _webhook(job.webhook, delivery or Delivery(job.id, job.updated_at)) if job.webhook else None,
    }


def _warnings(result: dict[str, Any]) -> list[str]:
    """Return the notes in a result. What another program has put there in another form is left out."""
    found = result.get("warnings")
    return [note for note in found if isinstance(note, str)] if isinstance(found, list) else []


def _phase(job: Job) -> str:
    """Return the step of a job; of one that was cancelled or has failed, how it ended."""
    return job.state if job.state in {JobState.CANCELLED, JobState.FAILED} else job.phase


def _progress(job: Job) -> Progress:
    """Return the progress of a job now. An ended job whose units were not all done has no remaining time."""
    if job.is_finished:
        is_whole = job.progress.done == job.progress.total
        return job.progress if is_whole else replace(job.progress, rate=None, eta_seconds=None)
    return aged(job.progress, (datetime.now(UTC) - job.updated_at).total_seconds())


def _webhook(url: str, delivery: Delivery) -> WebhookOut:
    return WebhookOut(
        url=url.partition("?")[0],  # a query may hold a secret
        state=delivery.state,
        attempts=delivery.attempts,
        last_error=delivery.last_error,
        next_attempt_at=delivery.next_attempt_at,
    )


def _problem(failure: Failure) -> JobProblemOut:
    kind = BY_NAME.get(failure.error, INTERNAL_ERROR)  # a newer service may have written an error unknown here
    return JobProblemOut(type=TYPE_PREFIX + kind.slug, title=kind.title, status=kind.status, detail=failure.detail)
