"""What Prometheus is told: what was counted as it happened, and what is so at the moment of the question.

Parts report events, and know nothing of this. Every label has few values: routes as templates, never paths or names of
models.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app.events import EventName

Fields = dict[str, Any]

METHODS = {"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"}
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
CALL_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
MODEL_ACTIONS = ("uploaded", "pulled", "trashed", "deleted", "restored", "purged")
NO_VERSION = re.compile(r"version=(?!\s*\d+(\.\d+)*\s*([;,]|$))")
"""In an Accept field: a version that prometheus_client could not compare with another."""
PULL_OUTCOMES = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Observation:
    """What is so at the moment of the question. None is what nobody can say now, and is left out."""

    version: str
    vendor_version: str | None
    engine_state: str
    engine_states: tuple[str, ...]
    engine_is_busy: bool
    engine_waiting: int
    engine_resident_bytes: int | None
    engine_private_bytes: int | None
    engine_has_model: bool | None
    capabilities: dict[str, bool]
    models: int | None
    """How many there are; None while the model folder is unavailable."""
    store_bytes: dict[str, int]
    """By kind: `models`, `trash` and so on."""
    free_bytes: int | None
    total_bytes: int | None
    volume_checks: dict[str, bool]
    """What the model folder's file system was tried for, and whether it works."""


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = self._counter("ocr_http_requests", "Requests answered.", "method", "route", "status")
        self._request_seconds = Histogram(
            "ocr_http_request_seconds",
            "From a request's first byte to its answer's last.",
            ("method", "route"),
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self._changes = self._counter("ocr_store_changes", "What happened to models.", "action")
        self._changed_bytes = self._counter("ocr_store_changed_bytes", "The bytes of those models.", "action")
        for action in MODEL_ACTIONS:  # so that the first of each is seen as an increase
            self._changes.labels(action)
            self._changed_bytes.labels(action)
        self._pulls = self._counter("ocr_pulls", "Pulls that ended.", "outcome")
        self._pulled_bytes = self._counter("ocr_pulled_bytes", "The bytes that pulls brought.", "outcome")
        for outcome in PULL_OUTCOMES:
            self._pulls.labels(outcome)
            self._pulled_bytes.labels(outcome)
        self._engine_exits = self._counter("ocr_engine_exits", "Ends of engine processes.", "cause")
        self._engine_calls = Histogram(
            "ocr_engine_call_seconds",
            "Calls of the engine.",
            ("work", "outcome"),
            buckets=CALL_SECONDS,
            registry=self.registry,
        )
        self._loads = self._counter("ocr_engine_loads", "Models loaded.", "processor")
        self._releases = self._counter("ocr_engine_releases", "Releases of the engine.")
        self._released_bytes = self._counter("ocr_engine_released_bytes", "What the kernel had back from them.")
        self._recycled = self._counter("ocr_engine_recycled", "Processes replaced because they had grown.")
        # Looking a child up by its labels costs more than counting: once for each combination is enough.
        self._known: dict[tuple[str, str, int], Callable[[float], None]] = {}
        self._on_event = {
            EventName.ENGINE_EXITED: self._on_engine_exited,
            EventName.PULL_FINISHED: self._on_pull_finished,
            EventName.ENGINE_CALLED: self._on_engine_called,
            EventName.ENGINE_LOADED: self._on_engine_loaded,
            EventName.ENGINE_RELEASED: self._on_engine_released,
            EventName.ENGINE_RECYCLED: self._on_engine_recycled,
        } | {EventName(f"model.{action}"): self._on_change(action) for action in MODEL_ACTIONS}

    def on_event(self, event: EventName, fields: Fields) -> None:
        """Count what a part reports; most events are for the log alone."""
        if handle := self._on_event.get(event):
            handle(fields)

    def on_request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count one request. `route` is a template such as `/models/{name:path}`, or None where there was none."""
        key = (method, route or "none", status)
        if (count := self._known.get(key)) is None:
            count = self._known[key] = self._request_counter(*key)
        count(seconds)

    def render(self, accept: str, observation: Observation) -> tuple[bytes, str]:
        """The exposition in the format that suits an Accept field, or else as plain text, and its content type."""
        encode, content_type = choose_encoder("" if NO_VERSION.search(accept) else accept)
        return encode(_Exposition(self.registry, observation)), content_type

    def _request_counter(self, method: str, route: str, status: int) -> Callable[[float], None]:
        method = method if method in METHODS else "other"
        count = self._requests.labels(method, route, str(status)).inc
        observe = self._request_seconds.labels(method, route).observe

        def on_request(seconds: float) -> None:
            count()
            observe(seconds)

        return on_request

    def _on_change(self, action: str) -> Callable[[Fields], None]:
        def on_change(fields: Fields) -> None:
            self._changes.labels(action).inc()
            self._changed_bytes.labels(action).inc(fields["size_bytes"])

        return on_change

    def _on_pull_finished(self, fields: Fields) -> None:
        self._pulls.labels(fields["outcome"]).inc()
        self._pulled_bytes.labels(fields["outcome"]).inc(fields["bytes"])

    def _on_engine_exited(self, fields: Fields) -> None:
        self._engine_exits.labels(fields["cause"]).inc()

    def _on_engine_called(self, fields: Fields) -> None:
        self._engine_calls.labels(fields["work"], fields["outcome"]).observe(fields["seconds"])

    def _on_engine_loaded(self, fields: Fields) -> None:
        self._loads.labels(fields["processor"]).inc()

    def _on_engine_recycled(self, _: Fields) -> None:
        self._recycled.inc()

    def _on_engine_released(self, fields: Fields) -> None:
        self._releases.inc()
        self._released_bytes.inc(fields["bytes"])

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)


class _Exposition(Collector):
    """What was counted, and after it what is so now: made for one question, so that two at once do not mix."""

    def __init__(self, counted: CollectorRegistry, observation: Observation) -> None:
        self._counted = counted
        self._observation = observation

    def collect(self) -> Iterable[Metric]:
        yield from self._counted.collect()
        now = self._observation
        yield InfoMetricFamily(
            "ocr_build", "What runs here.", {"version": now.version, "vendor_version": now.vendor_version or ""}
        )
        yield from _engine(now)
        yield from _store(now)


def _engine(now: Observation) -> Iterator[Metric]:
    states = {state: float(state == now.engine_state) for state in now.engine_states}
    yield _gauge("ocr_engine_state", "1 for the state that the engine is in.", "state", states)
    yield _gauge("ocr_engine_busy", "Whether a call runs.", value=now.engine_is_busy)
    yield _gauge("ocr_engine_waiting", "Calls that wait for their turn.", value=now.engine_waiting)
    memory = {"resident": now.engine_resident_bytes, "private": now.engine_private_bytes}
    yield _gauge("ocr_engine_memory_bytes", "What the engine process holds.", "kind", memory)
    yield _gauge("ocr_engine_model_loaded", "Whether a model is loaded.", value=now.engine_has_model)
    yield _gauge("ocr_engine_capability", "What works here.", "capability", now.capabilities)


def _store(now: Observation) -> Iterator[Metric]:
    yield _gauge("ocr_store_available", "Whether the model folder is there.", value=now.models is not None)
    yield _gauge("ocr_store_models", "Models in the folder.", value=now.models)
    yield _gauge("ocr_store_bytes", "What the model folder holds.", "kind", now.store_bytes)
    yield _gauge("ocr_store_free_bytes", "What may still be written to its disk.", value=now.free_bytes)
    yield _gauge("ocr_store_disk_bytes", "The size of its disk.", value=now.total_bytes)
    yield _gauge("ocr_volume_check", "Whether its file system passes the check.", "check", now.volume_checks)


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
