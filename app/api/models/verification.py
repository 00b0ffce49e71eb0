"""`/models/{name}/verify`: whether a model's bytes are still those that came."""

import threading

from anyio import to_thread
from fastapi import APIRouter, Request

from app import errors
from app.api.http import threads
from app.api.http.auth import needs
from app.api.http.deps import ActorDep, StoreDep
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.request_errors import CallerGone
from app.api.http.routing import ModelName, PartRoute
from app.api.models.schemas import HeaderOut, VerificationOut
from app.store.actor import Actor
from app.store.integrity.verification import Verification
from app.store.store import Store

router = APIRouter(tags=["models"], route_class=PartRoute)


@router.post(
    "/models/{name:path}/verify",
    summary="Verify a model",
    response_description="What was found.",
    responses=problems(
        errors.InvalidModelName,
        errors.NotAModel,
        errors.ModelNotFound,
        errors.ModelLocked,
        errors.StoreUnavailable,
    ),
    openapi_extra=needs(Scope.WRITE),
)
async def verify_model(request: Request, name: ModelName, actor: ActorDep, store: StoreDep) -> VerificationOut:
    """Read all of a model from the disk and compare its SHA-256 with the one on record.

    The record is of what an upload or a pull brought, or of what was there at the first verification. That a file's
    bytes are others than they were, at the same size and time, is remembered and shows in the audit. Nobody deletes the
    model meanwhile. It takes as long as the disk takes, and ends when the caller hangs up; two run at once.
    """
    found = await cancel_on_disconnect(request, _verified(store, name, actor))
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


async def _verified(store: Store, name: str, actor: Actor) -> Verification:
    gone = threading.Event()

    def on_read(_: int) -> None:
        if gone.is_set():
            raise CallerGone

    try:
        return await to_thread.run_sync(store.verifications.verify, name, actor, on_read, limiter=threads.verifications)
    finally:
        gone.set()
