"""Webhooks in the API: how a request gives one, and the event that is sent to it at the job's end."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import SkipJsonSchema

from app.api.http.deps import part
from app.api.jobs.schemas import JobEventOut, JobOut, describe
from app.jobs.records import Job
from app.store.volume.volume import Volume
from app.webhooks.records import delivery_of
from app.webhooks.sender import CLOUD_EVENT
from app.webhooks.targets import WebhookRefused, WebhookTargets

WebhookUrl = str | SkipJsonSchema[None]
"""The URL of a webhook, as a request gives it. `WebhookTargets.checked` says whether it is allowed."""
WEBHOOK = "A URL below one of `OCR_WEBHOOK_ALLOWED_URLS`, to which the end of the job is sent."
"""The description of the option `webhook`."""
MAX_EVENT_BYTES = 256 << 10
"""An event of a job with more bytes of JSON than this has no result: the receiver gets it from the job."""
WebhookTargetsDep = Annotated[WebhookTargets, part("webhook_targets")]


def checked_webhook(
    url: str | None, targets: WebhookTargets, *, is_for_job: bool = True, where: str = "query"
) -> str | None:
    """Return the URL of a request's webhook; None without one. `where` is the part of the request that has it.

    Raises RequestValidationError if the URL is not allowed, or the request is not for a job, which alone has a webhook.
    """
    try:
        if url is None:
            return None
        if is_for_job:
            return targets.checked(url)
        reason = "only a job has a webhook; send `Prefer: respond-async` too, or leave it out"
    except WebhookRefused as exc:
        reason = str(exc)
    raise RequestValidationError([{"loc": (where, "webhook"), "msg": reason}])


async def _described(request: Request) -> "DescribeJob":
    return DescribeJob(request.state.store.volume)


class DescribeJob:
    """Describes jobs with what became of their webhooks, which is in a record of its own."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    async def one(self, job: Job) -> JobOut:
        """Return a job as the API shows it."""
        return (await self.all([job]))[0]

    async def event(self, job: Job) -> JobEventOut:
        """Return a job as one record of its stream."""
        return JobEventOut(**dict(await self.one(job)), final=job.is_finished)

    async def all(self, jobs: list[Job]) -> list[JobOut]:
        """Return jobs as the API shows them. Only the records of jobs with a webhook are read."""
        if all(job.webhook is None for job in jobs):
            return [describe(job) for job in jobs]
        return await to_thread.run_sync(lambda: [describe(job, delivery_of(self._volume, job)) for job in jobs])


DescribeJobDep = Annotated[DescribeJob, Depends(_described)]


def cloud_event(job: Job, source: str) -> dict[str, Any]:
    """Return the event that tells the end of a job: a CloudEvent 1.0, the same each time.

    `source` names the model folder. The event's id is made of the job's, so that every service gives it the same.
    """
    described = describe(job).model_copy(update={"webhook": None})
    if len(described.model_dump_json()) > MAX_EVENT_BYTES:
        described = described.model_copy(update={"result": None, "warnings": []})
    data = described.model_dump(mode="json")
    return {
        "specversion": "1.0",
        "id": f"msg_{job.id}",
        "source": source,
        "type": f"ocr.job.{job.state}",
        "subject": job.id,
        "time": data["finished_at"],
        "datacontenttype": "application/json",
        "data": data,
    }


_TEXTS = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype")
_EVENT = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in _TEXTS} | {"data": {"$ref": "#/components/schemas/JobOut"}},
}
_ENDED = {
    "post": {
        "summary": "A job has ended",
        "operationId": "job_ended",
        "security": [],
        "description": "A CloudEvent, signed as Standard Webhooks are.",
        "requestBody": {"required": True, "content": {CLOUD_EVENT: {"schema": _EVENT}}},
        "responses": {
            "2XX": {"description": "The event has arrived."},
            "default": {"description": "Sent again later."},
        },
    }
}
PATH_ITEMS = {"jobEnded": _ENDED}
"""The path items of the OpenAPI document's components."""
BY_BODY, BY_QUERY = (
    {"callbacks": {"jobEnded": {expression: {"$ref": "#/components/pathItems/jobEnded"}}}}
    for expression in ("{$request.body#/webhook}", "{$request.query.webhook}")
)
"""What operations add that take a webhook in their JSON body, and in their query."""
