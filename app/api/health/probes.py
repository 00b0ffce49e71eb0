"""`/livez` tells whether the service must be restarted, `/readyz` whether it can take traffic."""

from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.engine.deps import SupervisorDep
from app.api.health.schemas import AliveOut, CheckOut, ReadyOut
from app.api.http.auth import PUBLIC, GuardedRoute
from app.api.http.connections.errors import ShuttingDown
from app.api.http.deps import StoreDep, VolumeMonitorDep, WatcherDep, part
from app.api.http.problems import problems
from app.engine.supervisor import Supervisor
from app.jobs.units.unit_order import UnitOrder
from app.jobs.units.unit_queue import UnitQueue
from app.jobs.units.unit_runner import UnitRunner
from app.store import Store
from app.store.volume.monitor import VolumeMonitor

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.get("/livez", summary="Check liveness", response_description="The process is alive.", openapi_extra=PUBLIC)
async def get_livez() -> AliveOut:
    """Answer at once, without asking the engine or the disk. If there is no answer, restart the service."""
    return AliveOut(status="alive")


@router.get(
    "/readyz",
    summary="Check readiness",
    response_description="The service is ready.",
    responses=problems(errors.EngineNotReady, errors.StoreUnavailable, ShuttingDown, RequestValidationError),
    response_model_exclude_unset=True,
    openapi_extra=PUBLIC,
)
async def get_readyz(
    request: Request,
    supervisor: SupervisorDep,
    watcher: WatcherDep,
    watch: VolumeMonitorDep,
    store: StoreDep,
    runner: Annotated[UnitRunner, part("unit_runner")],
    verbose: Annotated[
        Literal["", "true", "false"], Query(description="List the checks; `?verbose` is enough.")
    ] = "false",
) -> ReadyOut:
    """Answer 200 if the engine is ready, busy or not, and the model folder is available; else 503 with the reason.

    Listing and deleting models work before the engine is ready. With `?verbose` the answer lists all checks, including
    those that are not required: whether the folder and the journal can be written, what the file system can do, whether
    the engine accepts the licence, and which native libraries it could load.
    """
    if request.app.state.is_draining:
        raise ShuttingDown.soon()
    watcher.current()
    supervisor.require_ready()
    if verbose == "false":
        return ReadyOut(status="ready")
    return ReadyOut(status="ready", checks=list(_checks(store, watch, supervisor, runner.queue)))


def _checks(store: Store, watch: VolumeMonitor, supervisor: Supervisor, queue: UnitQueue) -> Iterator[CheckOut]:
    """Yield every check. Required checks are yielded as passed: `get_readyz` has raised an error if one failed."""
    yield CheckOut(name="store", ok=True, required=True, reason=None)
    unwritable = store.volume.unwritable  # the monitor asks the volume every second
    yield CheckOut(
        name="store-writable", ok=unwritable is None, required=False, reason=str(unwritable) if unwritable else None
    )
    problem = store.journal.problem
    yield CheckOut(name="journal", ok=problem is None, required=False, reason=problem)
    for check in watch.checks:
        yield CheckOut(name=f"volume-{check.name.value}", ok=check.ok, required=False, reason=check.reason)
    if not isinstance(queue, UnitOrder):
        yield CheckOut(name="queue", ok=queue.problem is None, required=False, reason=queue.problem)
    yield CheckOut(name="engine", ok=True, required=True, reason=None)
    if error := supervisor.license_error:
        reason = f"the engine does not accept OCR_LICENSE_FILE and runs in evaluation mode: {error}"
        yield CheckOut(name="license", ok=False, required=False, reason=reason)
    for each in supervisor.facts.capabilities if supervisor.facts else ():
        yield CheckOut(name=each.name, ok=each.available, required=False, reason=each.reason)
