"""Dependencies that pass a part of the service to a route, from the request's state.

This module has the dependencies on parts of the store, which most resources need. A dependency on another part is
beside that part or its routes.
"""

from typing import Annotated, Any

from fastapi import Depends, Request

from app.jobs.folder import Jobs
from app.store import Actor, Store
from app.store.inventory_watcher import InventoryWatcher
from app.store.volume.monitor import VolumeMonitor


def part(name: str) -> Any:  # noqa: ANN401 - FastAPI's own type for a dependency
    """Return a FastAPI dependency on the part that has this name in `app.api.state.State`."""

    async def get_part(request: Request) -> object:
        return getattr(request.state, name)

    return Depends(get_part)


async def _actor(request: Request) -> Actor:
    address = request.client.host if request.client else None
    return Actor(request.scope.get("key_name", "anonymous"), request.scope["request_id"], address)


async def _store(request: Request) -> Store:
    """Return the store.

    Raises StoreUnavailable if its volume does not answer, so that no thread waits for the volume.
    """
    state: Any = request.state
    if problem := state.volume_monitor.unanswered:
        raise problem
    store: Store = state.store
    return store


async def _jobs(request: Request, _: Annotated[Store, Depends(_store)]) -> Jobs:
    """Return the jobs, which are in the store's folder. Raises StoreUnavailable if the volume does not answer."""
    jobs: Jobs = request.state.jobs
    return jobs


StoreDep = Annotated[Store, Depends(_store)]
JobsDep = Annotated[Jobs, Depends(_jobs)]
VolumeMonitorDep = Annotated[VolumeMonitor, part("volume_monitor")]
WatcherDep = Annotated[InventoryWatcher, part("inventory_watcher")]
ActorDep = Annotated[Actor, Depends(_actor)]
"""A dependency on the actor of the request: the name of the caller's API key, or 'anonymous', and the request's id."""
