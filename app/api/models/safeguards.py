"""`/models/{name}/protection` and `/models/{name}/verify`: keep a model from being deleted, and check its bytes."""

import threading
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, StringConstraints

from app import errors
from app.api.http import threads
from app.api.http.auth import needs
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.keys import Scope
from app.api.http.problems import NAME_ERRORS, WRITE_ERRORS, problems
from app.api.http.request_errors import CallerGone
from app.api.http.routing import ModelName, PartRoute
from app.api.models.schemas import HeaderOut, ProtectionState, VerificationOut, protection_out
from app.store import Actor, Store, Verification

MAX_REASON_CHARS = 500
PROTECTION_ERRORS = (
    *NAME_ERRORS,
    errors.ModelLocked,
    *WRITE_ERRORS,
    errors.StoreFull,
    RequestValidationError,
)

router = APIRouter(tags=["models"], route_class=PartRoute)


class ProtectionBody(BaseModel):
    """Why a model must not be deleted or replaced."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"reason": "the archive is read with it until March"}]},
    )

    reason: Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_CHARS, pattern=r"\S")]
    """The reason, which is shown to callers who try to delete the model."""


@router.put(
    "/models/{name:path}/protection",
    summary="Protect a model",
    response_description="The protection.",
    responses=problems(*PROTECTION_ERRORS),
    openapi_extra=needs(Scope.WRITE),
)
async def protect_model(
    name: ModelName, body: ProtectionBody, actor: ActorDep, store: StoreDep, watcher: WatcherDep
) -> ProtectionState:
    """Protect the model of this name: no service on the folder deletes, prunes or replaces it.

    The protection lasts until it is removed, also across restarts. It belongs to the name, not to the version of the
    file. A second protection replaces the reason of the first. A model in use can be protected.
    """
    protection = await to_thread.run_sync(store.protections.protect, name, body.reason, actor, limiter=threads.changes)
    await watcher.refresh_protections()
    return ProtectionState(name=name, protected=True, protected_by=protection_out(protection))


@router.delete(
    "/models/{name:path}/protection",
    summary="Remove a model's protection",
    response_description="The model is not protected.",
    responses=problems(*PROTECTION_ERRORS, errors.ModelProtected),
    openapi_extra=needs(Scope.WRITE),
)
async def unprotect_model(name: ModelName, actor: ActorDep, store: StoreDep, watcher: WatcherDep) -> ProtectionState:
    """Remove the protection set by `PUT`; no effect if there is none.

    If a pattern of `OCR_PROTECTED` protects the model, the answer is 403: only the configuration can remove that.
    """
    await to_thread.run_sync(store.protections.unprotect, name, actor, limiter=threads.changes)
    await watcher.refresh_protections()
    return ProtectionState(name=name, protected=False, protected_by=None)


@router.post(
    "/models/{name:path}/verify",
    summary="Verify a model",
    response_description="The result of the verification.",
    responses=problems(*NAME_ERRORS, errors.ModelLocked),
    openapi_extra=needs(Scope.WRITE),
)
async def verify_model(request: Request, name: ModelName, actor: ActorDep, store: StoreDep) -> VerificationOut:
    """Read the whole file from the disk and compare its SHA-256 with the recorded one.

    The digest was recorded by the upload or pull, or else by the first verification. If the bytes differ though size
    and time are the same, the model is recorded as corrupt, which the audit shows. The model cannot be deleted during
    the verification. Two verifications run at once, others wait. If the caller disconnects, the verification ends.
    """
    found = await cancel_on_disconnect(request, _verify(store, name, actor))
    return VerificationOut(
        name=name,
        outcome=found.verdict,
        reason=found.reason,
        sha256=found.sha256,
        recorded_sha256=found.recorded_sha256,
        recorded=found.is_remembered,
        size_bytes=found.model.size_bytes,
        header=HeaderOut.model_validate(found.header),
        seconds=round(found.seconds, 6),
        bytes_per_second=found.bytes_per_second,
    )


async def _verify(store: Store, name: str, actor: Actor) -> Verification:
    is_cancelled = threading.Event()

    def on_read(_: int) -> None:
        if is_cancelled.is_set():
            raise CallerGone

    try:
        return await to_thread.run_sync(store.verifications.verify, name, actor, on_read, limiter=threads.verifications)
    finally:
        # A thread cannot be cancelled; it ends at its next chunk.
        is_cancelled.set()
