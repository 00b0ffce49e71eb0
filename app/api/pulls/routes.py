"""`POST /pulls`: models come from a repository or a URL, as a job; and what there is to do with those jobs."""

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
from app.api.jobs.routes import JobKind, job_routes
from app.api.jobs.schemas import JobOut, describe
from app.pulls.request import PULL, IfExists, PullRequest, cancel
from app.pulls.runner import PullRunner

LOCATION = {"location": {"description": "Where the job is.", "schema": {"type": "string"}}}
PULL_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": JobOut, "description": "The unfinished job that brings this already.", "headers": LOCATION},
    202: {"headers": LOCATION},
}
Text = Annotated[str, Field(min_length=1, max_length=2048)]
PullRunnerDep = Annotated[PullRunner, part("pull_runner")]


class PullIn(BaseModel):
    """What is to be pulled: `repository` with `file` or `files`, or `url`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    repository: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", max_length=200)] | None = None
    """A repository of the hub; its files become `<org>_<repo>/<file>`, where AsposeAI looks for them."""
    file: Text | None = None
    """A file's path in the repository."""
    files: Text | None = None
    """A shell pattern for several files of one model, such as `*-00001-of-*.gguf`; they are one job."""
    revision: Annotated[str, Field(min_length=1, max_length=200)] = "main"
    """A branch, tag or commit; whichever commit it is when the pull begins, all bytes are of that one."""
    url: Text | None = None
    """A plain URL below one of `OCR_PULL_ALLOWED_URLS`."""
    name: Text | None = None
    """The model that the URL is to be; without it, the last part of the URL's path."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """What the file must have; without it, what the hub says."""
    if_exists: IfExists = IfExists.FAIL
    """About a model that is there: `fail`, `keep` it and be done, or `replace` it, unless it is the very same."""

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.repository is None) == (self.url is None):
            raise ValueError("Either repository or url is needed")
        if self.repository and (self.file is None) == (self.files is None):
            raise ValueError("With repository either file or files is needed")
        if self.url and (self.file or self.files):
            raise ValueError("With url there is no file")
        if self.repository and self.name:
            raise ValueError("A file of a repository has its name by its place there")
        if self.files and self.sha256:
            raise ValueError("One sha256 cannot be that of several files")
        return self

    def to_request(self) -> PullRequest:
        """The same for the store."""
        return PullRequest(**self.model_dump() | {"sha256": self.sha256.lower() if self.sha256 else None})


EXAMPLES: dict[str, Example] = {
    "a file of a repository": {"value": {"repository": "org/repo", "file": "model-Q4_K_M.gguf"}},
    "the parts of a model": {"value": {"repository": "org/repo", "files": "model-f16-*-of-00003.gguf"}},
    "a URL": {"value": {"url": "https://models.example/ocr/en_ocr_v3.bin", "if_exists": "keep"}},
}
router = APIRouter(tags=["pulls"], route_class=GuardedRoute)


@router.post(
    "/pulls",
    summary="Pull a model",
    status_code=202,
    response_description="The job that brings it.",
    responses=PULL_RESPONSES
    | problems(
        errors.SourceNotAllowed,
        errors.SourceNotFound,
        errors.SourceRefused,
        errors.SourceMismatch,
        errors.PullConflict,
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
    openapi_extra=needs(Scope.WRITE),
)
async def create_pull(
    body: Annotated[PullIn, Body(openapi_examples=EXAMPLES)],
    request: Request,
    response: Response,
    actor: ActorDep,
    pull_runner: PullRunnerDep,
) -> JobOut:
    """Fetch a model from a repository of the hub, or from a URL, as a job that outlives its caller and this service.

    What can be refused is refused at once: the other side is asked what there is and how large it is. The model appears
    whole, its digest checked, or not at all. Connections that break are gone on with where they ended, also by another
    service on the folder when this one dies. Asked for twice, it is the same job.
    """
    job, is_new = await pull_runner.ask_for(body.to_request(), actor)
    response.headers["location"] = f"{request.scope.get('root_path', '')}/pulls/{job.id}"
    response.status_code = 202 if is_new else 200
    return describe(job)


job_router = job_routes(
    JobKind(prefix="/pulls", noun="pull", kind=PULL, tag="pulls", cancel_scope=Scope.WRITE, cancel=cancel)
)
