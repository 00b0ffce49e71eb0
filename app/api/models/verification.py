"""`/models/{name}/verify`: check a model's bytes."""

import threading

from anyio import to_thread
from fastapi import APIRouter, Request

from app import errors
from app.api.http import threads
from app.api.http.auth import needs
from app.api.http.deps import ActorDep, StoreDep
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.keys import Scope
from app.api.http.problems import NAME_ERRORS, problems
from app.api.http.request_errors import CallerGone
from app.api.http.routing import ModelName, PartRoute
from app.api.models.schemas import VerificationOut, verification_out
from app.store import Actor, Store, Verification

router = APIRouter(tags=["models"], route_class=PartRoute)


@router.post(
    "/models/{name:path}/verify",
    summary="Verify a model",
    response_description="The result of the verification.",
    responses=problems(*NAME_ERRORS, errors.ModelLocked),
    openapi_extra=needs(Scope.WRITE),
)
async def verify_model(request: Request, name: ModelName, actor: ActorDep, store: StoreDep) -> VerificationOut:
    """Read the whole file from the disk and compare its SHA-256 with the recorded one.

    The digest was recorded by the upload or pull, or else by the first verification. If the bytes differ although the
    file's modification time is unchanged, the model is recorded as corrupt; the audit shows this. The model cannot be
    deleted during the verification. Two verifications run at once; others wait. If the caller disconnects, the
    verification stops.
    """
    found = await cancel_on_disconnect(request, _verify(store, name, actor))
    return verification_out(found)


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
