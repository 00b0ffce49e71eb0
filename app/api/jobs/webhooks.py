"""Webhooks in the API: how a request gives one, and the event that is sent to it at the job's end."""

from typing import Annotated, Any

from fastapi.exceptions import RequestValidationError
from pydantic.json_schema import SkipJsonSchema

from app.api.http.deps import part
from app.api.jobs.schemas import describe
from app.jobs.records import Job
from app.webhooks.sender import CLOUD_EVENT
from app.webhooks.targets import WebhookRefused, WebhookTargets

WebhookUrl = str | SkipJsonSchema[None]
"""The URL of a webhook, as a request gives it. `WebhookTargets.checked` says whether it is allowed."""
WEBHOOK = "A URL below one of `OCR_WEBHOOK_ALLOWED_URLS`, to which the end of the job is sent."
"""The description of the option `webhook`."""
MAX_JOB_BYTES = 255 << 10
"""A job with more bytes of JSON has no result in its event, which so has less than 256 KiB: the receiver gets the
result from the job."""
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


def cloud_event(job: Job, source: str) -> dict[str, Any]:
    """Return the event that tells the end of a job: a CloudEvent 1.0, the same each time.

    `source` names the model folder. The event's id is made of the job's, so that every service gives it the same.
    """
    described = describe(job).model_copy(update={"webhook": None})
    if len(described.model_dump_json().encode()) > MAX_JOB_BYTES:
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
