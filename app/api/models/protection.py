"""`/models/{name}/protection`: protect a model from being deleted or replaced."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, StringConstraints

from app import errors
from app.api.http import threads
from app.api.http.auth import needs
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.keys import Scope
from app.api.http.problems import NAME_ERRORS, WRITE_ERRORS, problems
from app.api.http.routing import ModelName, PartRoute
from app.api.http.schema import StringForm
from app.api.models.schemas import ProtectionStateOut, protection_out
from app.store.protections import MAX_REASON_CHARS

NOT_BLANK = StringForm(r"\S", "must be a reason in words, not blanks alone")
PROTECTION_ERRORS = (
    *NAME_ERRORS,
    errors.ModelLocked,
    *WRITE_ERRORS,
    errors.StoreFull,
    RequestValidationError,
)

router = APIRouter(tags=["models"], route_class=PartRoute)


class ProtectionIn(BaseModel):
    """Why a model must not be deleted or replaced."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"reason": "the archive is read with it until March"}]},
    )

    reason: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_CHARS), NOT_BLANK]
    """The reason, which is shown to callers who try to delete the model."""


@router.put(
    "/models/{name:path}/protection",
    summary="Protect a model",
    response_description="The protection.",
    responses=problems(*PROTECTION_ERRORS),
    openapi_extra=needs(Scope.WRITE),
)
async def protect_model(
    name: ModelName, body: ProtectionIn, actor: ActorDep, store: StoreDep, watcher: WatcherDep
) -> ProtectionStateOut:
    """Protect a model: no service on the folder deletes, prunes or replaces a protected model.

    The protection lasts until it is removed, also across restarts. It belongs to the name, not to the version of the
    file. A second protection replaces the reason of the first. A model in use can be protected.
    """
    protection = await to_thread.run_sync(store.protections.protect, name, body.reason, actor, limiter=threads.changes)
    await watcher.refresh_protections()
    return ProtectionStateOut(name=name, protected=True, protected_by=protection_out(protection))


@router.delete(
    "/models/{name:path}/protection",
    summary="Remove a model's protection",
    response_description="The model is not protected.",
    responses=problems(*PROTECTION_ERRORS, errors.ModelProtected),
    openapi_extra=needs(Scope.WRITE),
)
async def unprotect_model(name: ModelName, actor: ActorDep, store: StoreDep, watcher: WatcherDep) -> ProtectionStateOut:
    """Remove the protection set by `PUT`; no effect if there is none.

    If a pattern of `OCR_PROTECTED` protects the model, the answer is 403: only the configuration can remove that
    protection.
    """
    await to_thread.run_sync(store.protections.unprotect, name, actor, limiter=threads.changes)
    await watcher.refresh_protections()
    return ProtectionStateOut(name=name, protected=False, protected_by=None)
