"""What routes are given: the parts of the service, opened once by the lifespan and found in the request's state."""

from typing import Annotated, Any, TypedDict

from fastapi import Depends, Request

from app.api.ai.service import TextService
from app.api.http.auth import Access
from app.api.images.service import RecognitionService
from app.api.models.list_cache import ListCache
from app.api.models.upload_receiver import UploadReceiver
from app.engine.model_session import ModelSession
from app.engine.supervisor import Supervisor
from app.jobs.runner import BackgroundJobs
from app.metrics import Metrics
from app.pulls.runner import PullRunner
from app.store.actor import Actor
from app.store.inventory_watcher import InventoryWatcher
from app.store.store import Store
from app.store.volume.monitor import VolumeMonitor


class State(TypedDict):
    """What the lifespan yields."""

    access: Access
    store: Store
    watch: VolumeMonitor
    watcher: InventoryWatcher
    supervisor: Supervisor
    session: ModelSession
    text_service: TextService
    background: BackgroundJobs
    list_cache: ListCache
    receiver: UploadReceiver
    reader: RecognitionService
    metrics: Metrics
    pull_runner: PullRunner


def _part(name: str) -> Any:  # noqa: ANN401 - FastAPI's own type for a dependency
    async def part(request: Request) -> object:
        return getattr(request.state, name)

    return Depends(part)


async def _actor(request: Request) -> Actor:
    return Actor(request.scope.get("key_name", "anonymous"), request.scope["request_id"])


async def _store(request: Request) -> Store:
    """The store, unless its volume does not answer: then no request waits for it, nor keeps a thread."""
    state: Any = request.state
    if problem := state.watch.unanswered:
        raise problem
    store: Store = state.store
    return store


StoreDep = Annotated[Store, Depends(_store)]
VolumeMonitorDep = Annotated[VolumeMonitor, _part("watch")]
WatcherDep = Annotated[InventoryWatcher, _part("watcher")]
SupervisorDep = Annotated[Supervisor, _part("supervisor")]
ModelSessionDep = Annotated[ModelSession, _part("session")]
TextServiceDep = Annotated[TextService, _part("text_service")]
BackgroundDep = Annotated[BackgroundJobs, _part("background")]
ListCacheDep = Annotated[ListCache, _part("list_cache")]
RecognitionServiceDep = Annotated[RecognitionService, _part("reader")]
UploadReceiverDep = Annotated[UploadReceiver, _part("receiver")]
PullRunnerDep = Annotated[PullRunner, _part("pull_runner")]
MetricsDep = Annotated[Metrics, _part("metrics")]
ActorDep = Annotated[Actor, Depends(_actor)]
"""Who asks for a change: the name of the API key, or 'anonymous', and the request's id."""
