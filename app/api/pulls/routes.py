"""`POST /pulls`, which creates a job that pulls models or an OCR model, and the routes of such jobs."""

import hashlib
from typing import Annotated, Any, Self

from fastapi import APIRouter, Body, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app import errors
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import ActorDep, part
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.schema import StringForm
from app.api.jobs.idempotency_key import IdempotencyKey
from app.api.jobs.routes import JobKind, job_routes
from app.api.jobs.schemas import JobOut, describe
from app.api.jobs.webhooks import BY_BODY, WEBHOOK, WebhookTargetsDep, WebhookUrl, checked_webhook
from app.jobs.folder import Jobs
from app.jobs.idempotency import RequestKey
from app.jobs.records import WAITING, Job
from app.jobs.units.unit_runner import UnitRunner
from app.pulls.pull_jobs import PULL, PullJobs
from app.pulls.pull_requests import PullRequests
from app.pulls.request import (
    MAX_REPOSITORY_LENGTH,
    MAX_REVISION_LENGTH,
    MAX_TEXT_LENGTH,
    REPOSITORY,
    RESOURCE,
    SHA256_PATTERN,
    IfExists,
    PullRequest,
)
from app.store import Store

JOB_LOCATION_HEADER = {"location": {"description": "The job's address.", "schema": {"type": "string"}}}
PULL_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": JobOut,
        "description": "The job of an earlier, equal request: it is unfinished, or has the same `Idempotency-Key`.",
        "headers": JOB_LOCATION_HEADER,
    },
    202: {"headers": JOB_LOCATION_HEADER},
}
REPOSITORY_FORM = StringForm(f"^{REPOSITORY}$", "must be the name of a repository, such as org/repo")
RESOURCE_FORM = StringForm(f"^{RESOURCE}$", "must be the name of an OCR model, such as aspose-ocr-cyrillic-v1")
SHA256_FORM = StringForm(f"^{SHA256_PATTERN}$", "must be 64 hexadecimal digits")
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_LENGTH)]


class PullIn(BaseModel):
    """The files to pull: `repository` with `file` or `files`, or `url`, or `resource`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    repository: Annotated[str, REPOSITORY_FORM, Field(max_length=MAX_REPOSITORY_LENGTH)] | None = None
    """A repository of the hub. Its files become models named `<org>_<repo>/<file>`, where AsposeAI looks for them."""
    file: Text | None = None
    """A file's path in the repository."""
    files: Text | None = None
    """A shell pattern for several files, such as the parts of one model: `*-of-00003.gguf`. One job pulls them all."""
    revision: Annotated[str, Field(min_length=1, max_length=MAX_REVISION_LENGTH)] = "main"
    """A branch, tag or commit. All files are from the commit that the revision names when the pull begins."""
    url: Text | None = None
    """The URL of a file. An `http` or `https` URL must be below one of `OCR_PULL_ALLOWED_URLS`."""
    name: Text | None = None
    """With `url`, the name of the new model. Default: the last part of the URL's path."""
    resource: Annotated[str, RESOURCE_FORM] | None = None
    """The vendor's name of an OCR model, such as `aspose-ocr-cyrillic-v1`. It is pulled from `OCR_RESOURCES_URL` and
    becomes the model `<resource>.ocr`, where recognition finds it."""
    sha256: Annotated[str, SHA256_FORM] | None = None
    """The SHA-256 that the file must have. Default: the hub's digest, if the hub has one."""
    if_exists: IfExists = IfExists.FAIL
    """What to do if the model exists: `fail`, `keep` the model and succeed, or `replace` a model of another digest."""

    webhook: Annotated[WebhookUrl, Field(description=WEBHOOK)] = None

    @model_validator(mode="after")
    def _is_request(self) -> Self:
        if not self.repository and "revision" in self.model_fields_set:
            raise ValueError("Without repository, revision must not be given: only a repository has revisions")
        self.to_request()
        return self

    def to_request(self) -> PullRequest:
        """Return the request as a PullRequest; raises ValueError if its fields contradict each other."""
        return PullRequest(**self.model_dump(exclude={"webhook"}))


EXAMPLES: dict[str, Example] = {
    "a file of a repository": {"value": {"repository": "org/repo", "file": "model-Q4_K_M.gguf"}},
    "the parts of a model": {"value": {"repository": "org/repo", "files": "model-f16-*-of-00003.gguf"}},
    "an OCR model": {"value": {"resource": "aspose-ocr-cyrillic-v1"}},
    "a URL": {"value": {"url": "https://models.example/ocr/en_ocr_v3.bin", "if_exists": "keep"}},
}
router = APIRouter(tags=["pulls"], route_class=GuardedRoute)


@router.post(
    "/pulls",
    summary="Pull a model",
    status_code=202,
    response_description="The new job.",
    responses=PULL_RESPONSES
    | problems(
        errors.SourceNotAllowed,
        errors.SourceNotFound,
        errors.SourceRefused,
        errors.SourceMismatch,
        errors.PullsMisconfigured,
        errors.PullConflict,
        errors.IdempotencyKeyReused,
        errors.TooManyUnits,
        errors.QueueUnavailable,
        errors.InvalidModelName,
        errors.NotAModel,
        errors.ModelProtected,
        errors.ModelExists,
        errors.ModelInUse,
        errors.ModelLocked,
        errors.StoreUnavailable,
        *errors.UNWRITABLE,
        errors.StoreFull,
        RequestValidationError,
    ),
    openapi_extra=needs(Scope.WRITE) | BY_BODY,
)
async def create_pull(
    body: Annotated[PullIn, Body(openapi_examples=EXAMPLES)],
    request: Request,
    response: Response,
    actor: ActorDep,
    pull_requests: Annotated[PullRequests, part("pull_requests")],
    runner: Annotated[UnitRunner, part("unit_runner")],
    targets: WebhookTargetsDep,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Create a job that fetches a model from a repository of the hub or from a URL, or an OCR model from its site.

    The request is checked before the answer: the source is asked for the files and their sizes. The model appears only
    when it is complete and its digest has been checked. An interrupted download continues at the byte where it ended;
    if this service dies, another service on the folder continues it. Repeating the request while the job is unfinished
    returns 200 and that job; with its `Idempotency-Key`, also when the job is finished.
    """
    webhook = checked_webhook(body.webhook, targets, where="body")
    fingerprint = hashlib.sha256(f"{PULL}:{body.model_dump_json()}".encode()).hexdigest()
    key = RequestKey(idempotency_key, fingerprint) if idempotency_key else None
    job, is_new = await pull_requests.ask_for(body.to_request(), actor, webhook, key)
    if is_new:
        runner.wake()
    response.headers["location"] = f"{request.scope.get('root_path', '')}/pulls/{job.id}"
    response.status_code = 202 if is_new else 200
    return describe(job)


def _cancel(store: Store, jobs: Jobs, job_id: str) -> Job:
    return PullJobs(store, jobs).cancel(job_id)


job_router = job_routes(
    JobKind(
        prefix="/pulls",
        noun="pull",
        kind=PULL,
        tag="pulls",
        phases=(WAITING, "resolving", "downloading", "verifying", "publishing"),
        result="`models`, each with `name`, `size_bytes`, `sha256` and `outcome`, which is `pulled` or `kept`",
        cancel_scope=Scope.WRITE,
        cancel=_cancel,
    )
)
