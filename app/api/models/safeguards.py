"""`/models/{name}/protection`: which models must not be deleted or replaced, because somebody said so."""

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
from app.api.http.problems import problems
from app.api.http.routing import ModelName, PartRoute
from app.api.models.schemas import ProtectionState, protection_out

MAX_REASON_CHARS = 500
PROTECTION_ERRORS = (
    errors.InvalidModelName,
    errors.NotAModel,
    errors.ModelNotFound,
    errors.ModelLocked,
    errors.StoreUnavailable,
    *errors.UNWRITABLE,
    errors.StoreFull,
    RequestValidationError,
)


router = APIRouter(tags=["models"], route_class=PartRoute)


class ProtectionBody(BaseModel):
    """Why a model is to be protected."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"reason": "the archive is read with it until March"}]},
    )

    reason: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_CHARS, pattern=r"\S")]
    """For whoever wants to delete it: they are shown it."""


@router.put(
    "/models/{name:path}/protection",
    summary="Protect a model",
    response_description="Why it is protected.",
    responses=problems(*PROTECTION_ERRORS),
    openapi_extra=needs(Scope.WRITE),
)
async def protect_model(
    name: ModelName, body: ProtectionBody, actor: ActorDep, store: StoreDep, watcher: WatcherDep
) -> ProtectionState:
    """Let nobody delete, prune or replace the model of that name, through any service on the folder.

    It stands until it is lifted, survives restarts, and belongs to the name: whatever comes to lie there is protected.
    A reason given before is replaced. A model in use can be protected.
    """
    protection = await to_thread.run_sync(store.protections.protect, name, body.reason, actor, limiter=threads.changes)
    await watcher.refresh_protections()
    return ProtectionState(name=name, protected=True, protected_by=protection_out(protection))


@router.delete(
    "/models/{name:path}/protection",
    summary="Lift a model's protection",
    response_description="It can be deleted.",
    responses=problems(*PROTECTION_ERRORS, errors.ModelProtected),
    openapi_extra=needs(Scope.WRITE),
)
async def unprotect_model(name: ModelName, actor: ActorDep, store: StoreDep, watcher: WatcherDep) -> ProtectionState:
    """Take back what `PUT` said; nothing happens where nothing was said.

    What a pattern of `OCR_PROTECTED` protects stays so: 403.
    """
    await to_thread.run_sync(store.protections.unprotect, name, actor, limiter=threads.changes)
    await watcher.refresh_protections()
    return ProtectionState(name=name, protected=False, protected_by=None)
