"""`/livez` and `/readyz`: a service that is dead is to be restarted, one that is not ready is to get no traffic."""

from fastapi import APIRouter

from app import errors
from app.api.auth import PUBLIC, GuardedRoute
from app.api.deps import KeeperDep, SupervisorDep
from app.api.engine_schemas import Alive, Ready
from app.api.problems import problems

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.get("/livez", summary="Is the process alive?", response_description="It is.", openapi_extra=PUBLIC)
async def get_livez() -> Alive:
    """Answer at once, whatever the engine and the disk are doing. Restart the service when this does not."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    summary="Is everything ready?",
    response_description="It is.",
    responses=problems(errors.EngineNotReady, errors.StoreUnavailable),
    openapi_extra=PUBLIC,
)
async def get_readyz(supervisor: SupervisorDep, keeper: KeeperDep) -> Ready:
    """Say 200 when the engine is ready, busy or not, and the model folder is there; else 503 with the reason.

    Listing and deleting work before the engine is ready.
    """
    keeper.current()
    supervisor.insist_on_ready()
    return Ready(status="ready")
