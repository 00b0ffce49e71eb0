"""What this service is and does, for the record that the other services on the folder read."""

import asyncio
import os
from datetime import UTC, datetime

from app import __version__
from app.engine.model_session import Loaded, LoadRequest, ModelSession
from app.engine.supervisor import Supervisor
from app.store.volume.living_services import LivingServices
from app.store.volume.service_records import LoadedRecord, LoadingRecord, ServiceRecord, WorkRecord

PAUSE_SECONDS = 0.5
"""How often the description is made anew, in seconds. It takes microseconds; the volume's thread writes it if due."""


class ServiceDescription:
    """Describes one service to `LivingServices`. Its methods run on the event loop and never block."""

    def __init__(
        self,
        services: LivingServices,
        supervisor: Supervisor,
        session: ModelSession,
        *,
        name: str | None,
        host: str | None,
        is_read_only: bool,
    ) -> None:
        """`name` and `host` are None if the service tells neither."""
        self._services = services
        self._supervisor = supervisor
        self._session = session
        self._name = name
        self._host = host
        self._is_read_only = is_read_only
        self._started_at = datetime.now(UTC)

    def update(self) -> None:
        """Describe the service as it is now."""
        running, expected = self._supervisor.running, self._supervisor.expected_seconds
        record = ServiceRecord(
            datetime.now(UTC),
            name=self._name,
            host=self._host,
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            is_read_only=self._is_read_only,
            engine_state=self._supervisor.state,
            loaded=_loaded(self._session.loaded),
            loading=_loading(self._session.loading),
            works=(WorkRecord(running.work.kind, running.since, running.work.job_id),) if running else (),
            waiting=self._supervisor.waiting,
            expected_seconds=None if expected is None else round(expected, 1),
        )
        self._services.describe(record)

    async def keep(self) -> None:
        """Describe the service twice a second, until cancelled."""
        while True:
            self.update()
            await asyncio.sleep(PAUSE_SECONDS)


def _loaded(found: Loaded | None) -> LoadedRecord | None:
    return LoadedRecord(found.processor, found.model, found.since, found.mapped_bytes) if found else None


def _loading(found: LoadRequest | None) -> LoadingRecord | None:
    return LoadingRecord(found.processor, found.model, found.model_bytes) if found else None
