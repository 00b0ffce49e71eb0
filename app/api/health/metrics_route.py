"""`/metrics`: the metrics for Prometheus, in its text format or in OpenMetrics."""

import asyncio
import time
from datetime import datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from starlette.datastructures import State

from app import __version__
from app.api.engine.deps import SupervisorDep
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import VolumeMonitorDep, WatcherDep, part
from app.api.http.keys import Scope
from app.engine.supervisor import Supervisor
from app.errors import StoreUnavailable
from app.metrics import Metrics, Observation
from app.store import Storage, Store
from app.store.inventory_watcher import InventoryWatcher
from app.store.volume.monitor import VolumeMonitor

router = APIRouter(tags=["health"], route_class=GuardedRoute)


METRICS_CONTENT = {"schema": {"type": "string"}, "examples": {"a part of it": {"value": "ocr_store_models 2.0\n"}}}
FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": METRICS_CONTENT, "application/openmetrics-text": METRICS_CONTENT}}
}
MetricsDep = Annotated[Metrics, part("metrics")]


@router.get(
    "/metrics",
    summary="Get metrics",
    response_class=Response,
    response_description="The metrics, in the format that `Accept` asks for.",
    responses=FORMATS,
    openapi_extra=needs(Scope.READ),
)
async def get_metrics(
    request: Request,
    metrics: MetricsDep,
    watch: VolumeMonitorDep,
    watcher: WatcherDep,
    supervisor: SupervisorDep,
) -> Response:
    """Get counters of requests, changes and engine processes, and gauges of the model folder and the engine.

    Never waits for the engine. If the model folder is unavailable, `ocr_store_available` is 0 and the folder's other
    gauges are left out.
    """
    # Not `StoreDep`, which raises while the volume does not answer: the other metrics are needed most then.
    accept = request.headers.get("accept", "")
    observation = await _observe(request.state, watch, watcher, supervisor)
    content, content_type = await asyncio.to_thread(metrics.render, accept, observation)
    return Response(content, headers={"content-type": content_type})


async def _observe(
    state: State, watch: VolumeMonitor, watcher: InventoryWatcher, supervisor: Supervisor
) -> Observation:
    store: Store = state.store
    memory, facts = await supervisor.memory(), supervisor.facts
    waiting: dict[str, tuple[int, datetime]] = {}
    inventory = None if watch.unanswered else watcher.inventory
    storage: Storage | None = None
    if inventory:
        try:
            storage = await to_thread.run_sync(store.measure, inventory, limiter=threads.measurements)
            waiting = await to_thread.run_sync(state.jobs.waiting_by_kind, limiter=threads.measurements)
        except StoreUnavailable:  # since the last scan
            inventory = None
    return Observation(
        version=__version__,
        vendor_version=facts.vendor_version if facts else None,
        engine_state=supervisor.state,
        engine_is_busy=supervisor.is_busy,
        engine_waiting=supervisor.waiting,
        engine_waiting_by_work=supervisor.waiting_by_work,
        engine_queue_places=supervisor.queue_size,
        engine_longest_wait_seconds=supervisor.longest_wait_seconds,
        is_licensed=facts.is_licensed if facts else None,
        is_license_refused=supervisor.license_error is not None,
        engine_resident_bytes=memory.resident_bytes if memory else None,
        engine_private_bytes=memory.private_bytes if memory else None,
        engine_has_model=facts.is_initialized if facts else None,
        capabilities={each.name: each.available for each in facts.capabilities} if facts else {},
        models=len(inventory.models) if inventory else None,
        store_bytes=_by_kind(storage) if storage else {},
        free_bytes=storage.free_bytes if storage else None,
        total_bytes=storage.total_bytes if storage else None,
        is_writable=store.volume.is_writable,
        is_journal_writable=store.journal.problem is None,
        journal_waiting=store.journal.waiting,
        units_waiting={kind: count for kind, (count, _) in waiting.items()},
        units_oldest_seconds={
            kind: max(0.0, time.time() - oldest.timestamp()) for kind, (_, oldest) in waiting.items()
        },
        units_running=dict(state.unit_runner.running),
        is_queue_available=state.unit_runner.queue.problem is None,
        webhooks_pending=state.outbox.pending,
        damaged_records=await to_thread.run_sync(store.volume.records.counts, limiter=threads.measurements)
        if storage
        else {},
        volume_checks=watch.checks,
    )


def _by_kind(storage: Storage) -> dict[str, int]:
    return {"models": storage.models_bytes, "trash": storage.trash_bytes, "partial": storage.partial_bytes}
