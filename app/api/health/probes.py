"""`/livez` tells whether the service must be restarted, `/readyz` whether it can take traffic."""

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.engine.deps import SupervisorDep
from app.api.health.schemas import AliveOut, CheckOut, ReadyOut
from app.api.http.auth import PUBLIC, GuardedRoute
from app.api.http.connections.errors import ShuttingDown
from app.api.http.deps import StoreDep, VolumeMonitorDep, WatcherDep, part
from app.api.http.problems import problem, problems
from app.engine.supervisor import Supervisor
from app.jobs.units.folder_queue import FolderQueue
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
    response_model=ReadyOut,
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
) -> ReadyOut | Response:
    """Answer 200 if the engine is ready, busy or not, and the model folder is available; else 503 with the reason.

    Listing and deleting models work before the engine is ready. With `?verbose` the answer lists all checks, including
    those that are not required: whether the folder and the journal can be written, what the file system can do, whether
    the engine accepts the licence, and which native libraries it could load.
    """
    store_error, engine_error = _error_of(watcher.current), _error_of(supervisor.require_ready)
    checks = [
        CheckOut(name="store", ok=not store_error, required=True, reason=str(store_error) if store_error else None),
        *_optional_checks(store, watch, supervisor, runner.queue),
        CheckOut(name="engine", ok=not engine_error, required=True, reason=str(engine_error) if engine_error else None),
    ]
    error: Exception | None = ShuttingDown.soon() if request.app.state.is_draining else store_error or engine_error
    if error and verbose == "false":
        raise error
    if error:
        return problem(request, error, checks=[check.model_dump(mode="json") for check in checks])
    return ReadyOut(status="ready") if verbose == "false" else ReadyOut(status="ready", checks=checks)


def _error_of(check: Callable[[], object]) -> errors.ServiceError | None:
    """Call a function that raises an error if a part of the service is not ready; return the error, or None."""
    try:
        check()
    except errors.ServiceError as exc:
        return exc
    return None


def _optional_checks(
    store: Store, watch: VolumeMonitor, supervisor: Supervisor, queue: UnitQueue
) -> Iterator[CheckOut]:
    """Yield the checks that do not decide whether the service is ready."""
    unwritable = store.volume.unwritable  # the monitor asks the volume every second
    yield CheckOut(
        name="store-writable", ok=unwritable is None, required=False, reason=str(unwritable) if unwritable else None
    )
    problem = store.journal.problem
    yield CheckOut(name="journal", ok=problem is None, required=False, reason=problem)
    for check in watch.checks:
        yield CheckOut(name=f"volume-{check.name.value}", ok=check.ok, required=False, reason=check.reason)
    if not isinstance(queue, FolderQueue):
        yield CheckOut(name="queue", ok=queue.problem is None, required=False, reason=queue.problem)
    if error := supervisor.license_error:
        reason = f"the engine does not accept OCR_LICENSE_FILE and runs in evaluation mode: {error}"
        yield CheckOut(name="license", ok=False, required=False, reason=reason)
    for each in supervisor.facts.capabilities if supervisor.facts else ():
        yield CheckOut(name=each.name, ok=each.available, required=False, reason=each.reason)
