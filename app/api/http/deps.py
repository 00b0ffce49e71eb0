"""What routes are given: the parts of the service, opened once by the lifespan and found in the request's state."""

from typing import Annotated, Any, TypedDict

from fastapi import Depends, Path, Request
from starlette.convertors import PathConvertor, register_url_convertor

from app.api.ai.service import Desk
from app.api.http.auth import Access
from app.api.images.service import Reader
from app.api.models.list_cache import Listing
from app.api.models.upload_receiver import Intake
from app.engine.model_session import Session
from app.engine.supervisor import Supervisor
from app.jobs.runner import BackgroundJobs
from app.metrics import Metrics
from app.pulls.runner import Puller
from app.store.inventory_watcher import InventoryKeeper
from app.store.journal import Origin
from app.store.store import Store
from app.store.volume.monitor import VolumeWatch


class State(TypedDict):
    """What the lifespan yields."""

    access: Access
    store: Store
    watch: VolumeWatch
    keeper: InventoryKeeper
    supervisor: Supervisor
    session: Session
    desk: Desk
    background: BackgroundJobs
    listing: Listing
    intake: Intake
    reader: Reader
    metrics: Metrics
    puller: Puller


def _part(name: str) -> Any:  # noqa: ANN401 - FastAPI's own type for a dependency
    async def part(request: Request) -> object:
        return getattr(request.state, name)

    return Depends(part)


async def _origin(request: Request) -> Origin:
    return Origin(request.scope.get("key_name", "anonymous"), request.scope["request_id"])


async def _store(request: Request) -> Store:
    """The store, unless its volume does not answer: then no request waits for it, nor keeps a thread."""
    state: Any = request.state
    if problem := state.watch.unanswered:
        raise problem
    store: Store = state.store
    return store


StoreDep = Annotated[Store, Depends(_store)]
WatchDep = Annotated[VolumeWatch, _part("watch")]
KeeperDep = Annotated[InventoryKeeper, _part("keeper")]
SupervisorDep = Annotated[Supervisor, _part("supervisor")]
SessionDep = Annotated[Session, _part("session")]
DeskDep = Annotated[Desk, _part("desk")]
BackgroundDep = Annotated[BackgroundJobs, _part("background")]
ListingDep = Annotated[Listing, _part("listing")]
ReaderDep = Annotated[Reader, _part("reader")]
IntakeDep = Annotated[Intake, _part("intake")]
PullerDep = Annotated[Puller, _part("puller")]
MetricsDep = Annotated[Metrics, _part("metrics")]
OriginDep = Annotated[Origin, Depends(_origin)]
"""Who asks for a change: the name of the API key, or 'anonymous', and the request's id."""


class WholePath(PathConvertor):
    """Starlette's own stops at a line end, so that such a name would be no path of ours instead of an invalid name."""

    regex = "(?s:.*)"


register_url_convertor("path", WholePath())

ModelName = Annotated[
    str,
    Path(
        description="The model's path below the model folder. It may hold `/`, as it is or as `%2F`.",
        openapi_examples={
            "an old model": {"value": "old_en_ocr_v1.bin"},
            "a model in a folder": {
                "value": "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"
            },
        },
    ),
]
