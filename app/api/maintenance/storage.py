"""`/storage`: what uses the disk, and what the model folder's file system can do."""

from dataclasses import asdict

from anyio import to_thread
from fastapi import APIRouter

from app import errors
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import StoreDep, VolumeMonitorDep, WatcherDep
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.schema import DamagedRecordOut
from app.api.maintenance.schemas import StorageOut, VolumeCheckOut

router = APIRouter(tags=["upkeep"], route_class=GuardedRoute)


@router.get(
    "/storage",
    summary="Get storage use",
    response_description="The bytes used and free, and the state of the volume.",
    responses=problems(errors.StoreUnavailable),
    openapi_extra=needs(Scope.READ),
)
async def get_storage(store: StoreDep, watcher: WatcherDep, monitor: VolumeMonitorDep) -> StorageOut:
    """Get the bytes that models, trash and unfinished transfers use, the free space, and the checks of the volume.

    If the volume is missing, or is not the one that the service started with, the answer is 503 `store-unavailable`.
    """
    inventory = await watcher.current_when_scanned()
    storage = await to_thread.run_sync(store.measure, inventory)
    damaged = await to_thread.run_sync(store.volume.records.damaged)
    checks = [VolumeCheckOut.model_validate(check) for check in monitor.checks]
    return StorageOut(
        **asdict(storage),
        is_safe=store.volume.unsafe is None,
        checks=checks,
        damaged_records=[DamagedRecordOut.model_validate(each) for each in damaged],
    )
