"""`/livez` and `/readyz`: a service that is dead is to be restarted, one that is not ready is to get no traffic."""

from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.engine.deps import SupervisorDep
from app.api.engine.schemas import Alive, CheckOut, Ready
from app.api.http.auth import PUBLIC, GuardedRoute
from app.api.http.deps import StoreDep, VolumeMonitorDep, WatcherDep
from app.api.http.problems import problems
from app.engine.supervisor import Supervisor
from app.store.store import Store
from app.store.volume.monitor import VolumeMonitor

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.get("/livez", summary="Is the process alive?", response_description="It is.", openapi_extra=PUBLIC)
async def get_livez() -> Alive:
    """Answer at once, whatever the engine and the disk are doing. Restart the service when this does not."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    summary="Is everything ready?",
    response_description="It is.",
    responses=problems(errors.EngineNotReady, errors.StoreUnavailable, RequestValidationError),
    response_model_exclude_unset=True,
    openapi_extra=PUBLIC,
)
async def get_readyz(
    supervisor: SupervisorDep,
    watcher: WatcherDep,
    watch: VolumeMonitorDep,
    store: StoreDep,
    verbose: Annotated[
        Literal["", "true", "false"], Query(description="List the checks; `?verbose` is enough.")
    ] = "false",
) -> Ready:
    """Say 200 when the engine is ready, busy or not, and the model folder is there; else 503 with the reason.

    Listing and deleting work before the engine is ready. `?verbose` also says what was checked and is not required:
    whether the folder can be written, what its file system can do, and which native libraries the engine could load.
    """
    watcher.current()
    supervisor.require_ready()
    if verbose == "false":
        return Ready(status="ready")
    return Ready(status="ready", checks=list(_checks(store, watch, supervisor)))


def _checks(store: Store, watch: VolumeMonitor, supervisor: Supervisor) -> Iterator[CheckOut]:
    """The required ones hold, or there would be a problem instead."""
    yield CheckOut(name="store", ok=True, required=True, reason=None)
    writable = store.volume.is_writable
    why = None if writable else "the model folder could not be written at the start; changes answer 503"
    yield CheckOut(name="store-writable", ok=writable, required=False, reason=why)
    for check in watch.checks:
        yield CheckOut(name=f"volume-{check.name.value}", ok=check.ok, required=False, reason=check.reason)
    yield CheckOut(name="engine", ok=True, required=True, reason=None)
    for each in supervisor.facts.capabilities if supervisor.facts else ():
        yield CheckOut(name=each.name, ok=each.available, required=False, reason=each.reason)
