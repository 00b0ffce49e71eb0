"""`/engines`: every living service on the model folder, with what its engine has loaded and works at."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter

from app.api.engine.schemas import LoadedOut, LoadingOut
from app.api.engine.service_schemas import EnginesOut, ServiceEngineOut, WorkOut
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import VolumeMonitorDep, part
from app.api.http.keys import Scope
from app.engine.contract.processors import Processor
from app.service_description import ServiceDescription
from app.store.volume.living_services import LivingService
from app.store.volume.service_records import LoadedRecord, LoadingRecord, ServiceRecord

UNKNOWN = ServiceRecord(datetime.now(UTC))
"""What is shown of a living service whose record is damaged."""

KNOWN = frozenset(Processor)
"""The processors that an answer may name. A service of a newer version may have loaded another one."""

router = APIRouter(tags=["engine"], route_class=GuardedRoute)


@router.get(
    "/engines",
    summary="List the engines of all services",
    response_description="The engines: first that of the service that answers.",
    openapi_extra=needs(Scope.READ),
)
async def list_engines(
    watch: VolumeMonitorDep, description: Annotated[ServiceDescription, part("service_description")]
) -> EnginesOut:
    """List the engine of every living service on the model folder.

    The answer never waits for the folder. The service that answers is shown as it is now, the others as they were a few
    seconds ago. A service that has died is left out; one that lives but is stopped or hangs is `silent`. A service with
    `OCR_READ_ONLY` writes nothing to the folder, so only its own answer shows it.
    """
    description.update()
    return EnginesOut(engines=[_engine(service) for service in watch.services.living_services()])


def _engine(service: LivingService) -> ServiceEngineOut:
    record = service.record or UNKNOWN
    return ServiceEngineOut(
        id=service.id,
        name=record.name,
        host=record.host,
        pid=record.pid,
        version=record.version,
        started_at=record.started_at,
        read_only=record.is_read_only,
        silent=service.is_silent,
        age_seconds=round(service.age_seconds, 1),
        state=record.engine_state,
        loaded=_loaded(record.loaded),
        loading=_loading(record.loading),
        works=[WorkOut.model_validate(work) for work in record.works],
        waiting=record.waiting,
        expected_seconds=record.expected_seconds,
    )


def _loaded(found: LoadedRecord | None) -> LoadedOut | None:
    return LoadedOut.model_validate(found) if found and found.processor in KNOWN else None


def _loading(found: LoadingRecord | None) -> LoadingOut | None:
    return LoadingOut.model_validate(found) if found and found.processor in KNOWN else None
