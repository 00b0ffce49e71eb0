"""The metrics for Prometheus: counters of events, and gauges that are read when Prometheus scrapes.

Parts report events and do not import this module. Every label has few values: routes are templates, and neither paths
nor model names are labels.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app.engine.contract.processors import Processor
from app.engine.model_session import LOAD
from app.engine.process.exits import ExitCause
from app.engine.states import EngineState
from app.events import EventName
from app.jobs.records import UNFINISHED, JobState
from app.jobs.units.kinds import ItemJobKind
from app.store import Action
from app.store.volume.checks import VolumeCheck

Fields = dict[str, Any]
Handlers = dict[EventName, Callable[[Fields], None]]

METHODS = {"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"}
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
CALL_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
WORKS = ("recognise", LOAD, *Processor)
"""The kinds of work of the engine."""
JOB_OUTCOMES = [state for state in JobState if state not in UNFINISHED]
RECORD_KINDS = (
    "corrupt",
    "digest",
    "identity",
    "job",
    "journal",
    "lease",
    "partial",
    "protection",
    "service",
    "trash",
    "webhook",
)
NO_VERSION = re.compile(r"version=(?!\s*\d+(\.\d+)*\s*([;,]|$))")
"""Matches a version in an Accept header that is not a dotted number, so that prometheus_client cannot compare it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The values of the gauges for one scrape. A value that is unknown is None, and its metric is left out."""

    version: str
    vendor_version: str | None
    engine_state: EngineState
    engine_is_busy: bool
    engine_waiting: int
    engine_waiting_by_work: dict[str, int]
    """How many calls wait for the engine, by the kind of work."""
    engine_queue_places: int
    """How many calls may wait while one runs, OCR_ENGINE_QUEUE_SIZE."""
    engine_longest_wait_seconds: float
    """How long the call that has waited longest has waited for the engine; 0 if none waits."""
    is_licensed: bool | None
    """Whether AsposeAI runs with a licence; None until it has been asked."""
    is_license_refused: bool
    """Whether AsposeAI has refused the licence file."""
    engine_resident_bytes: int | None
    engine_private_bytes: int | None
    engine_has_model: bool | None
    capabilities: dict[str, bool]
    models: int | None
    """The number of models; None while the model folder is unavailable."""
    store_bytes: dict[str, int]
    """Bytes in the model folder by kind: `models`, `trash` and so on."""
    free_bytes: int | None
    total_bytes: int | None
    damaged_records: dict[str, int]
    """How many records of `.store/` are damaged, by kind."""
    volume_checks: Sequence[VolumeCheck]
    """The results of the checks of the model folder's file system."""
    is_writable: bool
    """False if the model folder could not be written at the last check."""
    is_journal_writable: bool
    """False if the journal could not be written at the last attempt."""
    journal_waiting: int
    """The number of journal entries that wait in memory until the journal can be written."""
    units_waiting: dict[str, int]
    """How many files and texts of jobs, and pulls, have no result yet, by the kind of job."""
    units_oldest_seconds: dict[str, float]
    """How long ago the oldest unfinished job was created, by the kind of job."""
    units_running: dict[str, int]
    """How many files and texts of jobs, and pulls, this service works on, by the kind of job. Each kind has a value."""
    is_queue_available: bool
    """Whether new jobs can be queued."""
    webhooks_pending: int
    """The number of webhooks of finished jobs that are still to be sent, by any service on the folder."""


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._requests = _Requests(self._registry)
        self._handlers = (
            _count_changes(self._registry)
            | _count_jobs(self._registry)
            | _count_pulls(self._registry)
            | _count_webhooks(self._registry)
            | _count_engine_calls(self._registry)
            | _count_engine_processes(self._registry)
        )
        self._swept_at: float | None = None

    def on_event(self, event: EventName, fields: Fields) -> None:
        """Count an event that a part reports. Most events are for the log only, and this method ignores them."""
        if handle := self._handlers.get(event):
            handle(fields)

    def on_swept(self) -> None:
        """Note that a sweep of the folder is complete, or that sweeps begin. A read-only service runs no sweeps."""
        self._swept_at = time.time()

    def expect_routes(self, routes: Iterable[tuple[str, str]]) -> None:
        """Create, with the value 0, the counter of answers with status 500 for each method and route.

        Without the 0, Prometheus would not see the first such answer as an increase.
        """
        for method, route in (*routes, *((method, "none") for method in METHODS)):
            self._requests.expect(method, route, 500)

    def on_request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count one request. `route` is a template such as `/models/{name:path}`; None if no route matched."""
        self._requests.count(method, route or "none", status, seconds)

    def render(self, accept: str, observation: Observation) -> tuple[bytes, str]:
        """Return the metrics in the format that an Accept field prefers, by default plain text, and the media type."""
        encode, content_type = choose_encoder("" if NO_VERSION.search(accept) else accept)
        return encode(_Exposition(self._registry, observation, self._swept_at)), content_type


class _Requests:
    """The counter and the histogram of requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = _counter(registry, "ocr_http_requests", "Requests answered.", "method", "route", "status")
        self._seconds = Histogram(
            "ocr_http_request_seconds",
            "Time from a request's first byte to the last byte of its answer.",
            ("method", "route"),
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        # Looking up a child by its labels costs more than counting, so each child is kept.
        self._children: dict[tuple[str, str, int], Callable[[float], None]] = {}

    def expect(self, method: str, route: str, status: int) -> None:
        """Create the counter of requests with this method, route and status, with the value 0."""
        self._count.labels(method, route, str(status))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (method, route, status)
        if (child := self._children.get(key)) is None:
            child = self._children[key] = self._child(*key)
        child(seconds)

    def _child(self, method: str, route: str, status: int) -> Callable[[float], None]:
        method = method if method in METHODS else "other"
        count = self._count.labels(method, route, str(status)).inc
        observe = self._seconds.labels(method, route).observe

        def on_request(seconds: float) -> None:
            count()
            observe(seconds)

        return on_request


def _count_changes(registry: CollectorRegistry) -> Handlers:
    changes = _counter(registry, "ocr_store_changes", "Changes of models, by action.", "action")
    changed_bytes = _counter(registry, "ocr_store_changed_bytes", "The bytes of the changed models.", "action")

    def handler(action: Action) -> Callable[[Fields], None]:
        # The counters exist before the first change, so that Prometheus sees the first change as an increase.
        count, count_bytes = changes.labels(action).inc, changed_bytes.labels(action).inc

        def on_change(fields: Fields) -> None:
            count()
            count_bytes(fields["size_bytes"])

        return on_change

    incomplete = _counter(
        registry, "ocr_store_incomplete_changes", "Changes that were made, but of which a later step failed."
    )

    def on_incomplete(_: Fields) -> None:
        incomplete.inc()

    handlers: Handlers = {EventName(f"model.{action}"): handler(action) for action in Action if action.moves_bytes}
    return handlers | {EventName.CHANGE_INCOMPLETE: on_incomplete}


def _count_jobs(registry: CollectorRegistry) -> Handlers:
    jobs = _counter(registry, "ocr_jobs", "Finished jobs on texts and images.", "kind", "outcome")
    items = _counter(registry, "ocr_job_items", "The texts and images of finished jobs that were processed.", "kind")
    for kind in ItemJobKind:
        items.labels(kind)
        for outcome in JOB_OUTCOMES:
            jobs.labels(kind, outcome)

    def on_finished(fields: Fields) -> None:
        # A job whose outcome could not be recorded has no final state yet: a sweep writes `failed` later.
        outcome = fields["outcome"] if fields["outcome"] in JOB_OUTCOMES else JobState.FAILED
        jobs.labels(fields["kind"], outcome).inc()
        items.labels(fields["kind"]).inc(fields["done"])

    return {EventName.JOB_FINISHED: on_finished}


def _count_pulls(registry: CollectorRegistry) -> Handlers:
    pulls = _counter(registry, "ocr_pulls", "Finished pulls.", "outcome")
    pulled_bytes = _counter(registry, "ocr_pulled_bytes", "The bytes of finished pulls.", "outcome")
    for outcome in JOB_OUTCOMES:
        pulls.labels(outcome)
        pulled_bytes.labels(outcome)

    def on_finished(fields: Fields) -> None:
        pulls.labels(fields["outcome"]).inc()
        pulled_bytes.labels(fields["outcome"]).inc(fields["bytes"])

    return {EventName.PULL_FINISHED: on_finished}


def _count_webhooks(registry: CollectorRegistry) -> Handlers:
    attempts = _counter(registry, "ocr_webhook_attempts", "Attempts to send webhooks, by outcome.", "outcome")
    events = {
        EventName.WEBHOOK_DELIVERED: "delivered",
        EventName.WEBHOOK_RETRIED: "retried",
        EventName.WEBHOOK_FAILED: "failed",
    }

    def handler(outcome: str) -> Callable[[Fields], None]:
        counter = attempts.labels(outcome)
        return lambda _: counter.inc()

    return {event: handler(outcome) for event, outcome in events.items()}


def _count_engine_calls(registry: CollectorRegistry) -> Handlers:
    calls = Histogram(
        "ocr_engine_call_seconds",
        "The duration of calls of the engine.",
        ("work", "outcome"),
        buckets=CALL_SECONDS,
        registry=registry,
    )
    loads = _counter(registry, "ocr_engine_loads", "Models loaded.", "processor")

    def on_called(fields: Fields) -> None:
        calls.labels(fields["work"], fields["outcome"]).observe(fields["seconds"])

    def on_loaded(fields: Fields) -> None:
        loads.labels(fields["processor"]).inc()

    return {EventName.ENGINE_CALLED: on_called, EventName.ENGINE_LOADED: on_loaded}


def _count_engine_processes(registry: CollectorRegistry) -> Handlers:
    exits = _counter(registry, "ocr_engine_exits", "Ends of engine processes.", "cause")
    for cause in ExitCause:
        exits.labels(cause.value)
    releases = _counter(registry, "ocr_engine_releases", "Releases of the engine.")
    released_bytes = _counter(registry, "ocr_engine_released_bytes", "The bytes of memory that releases gave back.")
    recycled = _counter(registry, "ocr_engine_recycled", "Processes replaced because they had grown.")

    def on_exited(fields: Fields) -> None:
        exits.labels(fields["cause"]).inc()

    def on_released(fields: Fields) -> None:
        releases.inc()
        released_bytes.inc(fields["bytes"])

    def on_recycled(_: Fields) -> None:
        recycled.inc()

    return {
        EventName.ENGINE_DIED: on_exited,
        EventName.ENGINE_EXITED: on_exited,
        EventName.ENGINE_RELEASED: on_released,
        EventName.ENGINE_RECYCLED: on_recycled,
    }


def _counter(registry: CollectorRegistry, name: str, documentation: str, *labels: str) -> Counter:
    return Counter(name, documentation, labels, registry=registry)


class _Exposition(Collector):
    """Collects the counters, and the gauges of one observation. Each scrape has its own instance."""

    def __init__(self, counted: CollectorRegistry, observation: Observation, swept_at: float | None) -> None:
        self._counted = counted
        self._swept_at = swept_at
        self._observation = observation

    def collect(self) -> Iterable[Metric]:
        yield from self._counted.collect()
        now = self._observation
        yield InfoMetricFamily(
            "ocr_build",
            "Versions of the service and of AsposeAI.",
            {"version": now.version, "vendor_version": now.vendor_version or ""},
        )
        yield from _engine(now)
        yield _gauge("ocr_store_available", "1 while the model folder is available.", value=now.models is not None)
        if now.models is not None:
            yield from _folder(now)
        yield from _service(now)
        yield _gauge(
            "ocr_sweep_timestamp_seconds",
            "When the last complete clean-up of the folder ended; at first when the service started.",
            value=self._swept_at,
        )


def _engine(now: Observation) -> Iterator[Metric]:
    states = {state.value: float(state is now.engine_state) for state in EngineState}
    yield _gauge("ocr_engine_state", "1 for the state that the engine is in.", "state", states)
    yield _gauge("ocr_engine_busy", "1 while the engine runs a call.", value=now.engine_is_busy)
    yield _gauge("ocr_engine_waiting", "Calls that wait in the queue.", value=now.engine_waiting)
    works = dict.fromkeys(WORKS, 0) | now.engine_waiting_by_work
    yield _gauge("ocr_engine_queue_waiting", "Calls that wait in the queue, by the kind of work.", "work", works)
    yield _gauge("ocr_engine_queue_places", "Calls that may wait in the queue.", value=now.engine_queue_places)
    yield _gauge(
        "ocr_engine_longest_wait_seconds",
        "How long the call that has waited longest for the engine has waited.",
        value=now.engine_longest_wait_seconds,
    )
    yield _gauge("ocr_engine_licensed", "1 with a licence, 0 in evaluation mode.", value=now.is_licensed)
    yield _gauge(
        "ocr_engine_license_refused", "1 if AsposeAI has refused the licence file.", value=now.is_license_refused
    )
    memory = {"resident": now.engine_resident_bytes, "private": now.engine_private_bytes}
    yield _gauge("ocr_engine_memory_bytes", "Memory of the engine process.", "kind", memory)
    yield _gauge("ocr_engine_model_loaded", "1 while a model is loaded.", value=now.engine_has_model)
    yield _gauge("ocr_engine_capability", "1 if the capability is available.", "capability", now.capabilities)


def _folder(now: Observation) -> Iterator[Metric]:
    """Yield the gauges of an available model folder. They are left out, and not 0, while it is unavailable."""
    yield _gauge("ocr_store_models", "Models in the folder.", value=now.models)
    yield _gauge("ocr_store_bytes", "Bytes of files in the model folder, by kind.", "kind", now.store_bytes)
    yield _gauge("ocr_store_free_bytes", "Free space on the model folder's disk.", value=now.free_bytes)
    yield _gauge("ocr_store_disk_bytes", "The size of the model folder's disk.", value=now.total_bytes)
    yield _gauge("ocr_store_writable", "1 while the model folder can be written.", value=now.is_writable)
    damaged = {kind: now.damaged_records.get(kind, 0) for kind in RECORD_KINDS}
    yield _gauge("ocr_store_damaged_records", "Records in the folder that cannot be read.", "kind", damaged)
    passed = {check.name.value: check.ok for check in now.volume_checks}
    yield _gauge("ocr_volume_check", "1 if the folder's file system passes the check.", "check", passed)
    required = {check.name.value: check.required for check in now.volume_checks}
    yield _gauge("ocr_volume_check_required", "1 if changes are refused unless the check passes.", "check", required)
    waiting = dict.fromkeys(now.units_running, 0) | now.units_waiting
    yield _gauge("ocr_units_waiting", "Files and texts of jobs, and pulls, without a result.", "kind", waiting)
    oldest = dict.fromkeys(now.units_running, 0.0) | now.units_oldest_seconds
    yield _gauge("ocr_units_oldest_seconds", "Age of the oldest unfinished job.", "kind", oldest)


def _service(now: Observation) -> Iterator[Metric]:
    yield _gauge("ocr_journal_writable", "1 while the journal can be written.", value=now.is_journal_writable)
    yield _gauge(
        "ocr_journal_waiting", "Entries that wait until the journal can be written.", value=now.journal_waiting
    )
    help_running = "Files and texts of jobs, and pulls, that this service works on."
    yield _gauge("ocr_units_running", help_running, "kind", now.units_running)
    yield _gauge("ocr_queue_available", "1 while jobs can be queued.", value=now.is_queue_available)
    yield _gauge(
        "ocr_webhooks_pending", "Webhooks of finished jobs that are still to be sent.", value=now.webhooks_pending
    )


def _gauge(
    name: str,
    documentation: str,
    label: str | None = None,
    values: Mapping[str, float | None] | None = None,
    *,
    value: float | None = None,
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=[label] if label else [])
    for key, each in (values or {}).items():
        if each is not None:
            family.add_metric([key], each)
    if value is not None:
        family.add_metric([], float(value))
    return family
