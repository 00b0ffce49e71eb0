"""Traces by OpenTelemetry: spans of requests, the engine's queue, engine calls, jobs, pulls and downloads.

Off unless an OTLP endpoint is configured by the standard variables, OTEL_..., and the extra `otel` is installed; then
nothing of OpenTelemetry's SDK is imported, and each function here returns at once. Names and attributes of spans follow
OpenTelemetry's semantic conventions for HTTP; those of this service begin with `ocr.`.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

NAME = "ocr-model-service"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"
FLUSH_SECONDS = 2.0
"""How long the end of the service waits for the last spans to be sent."""
Kind = Literal["INTERNAL", "SERVER", "CLIENT", "CONSUMER"]
Attributes = Mapping[str, str | int | float | bool | None]


class TracingUnavailable(Exception):
    """Traces were requested by the environment, and cannot be sent. The text says why and what to do."""


class OneSpan:
    """A span that is being recorded, or nothing at all while traces are off."""

    def __init__(self, span: "Span | None" = None) -> None:
        self._span = span

    def name(self, name: str) -> None:
        """Rename the span."""
        if self._span:
            self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        """Set attributes; those with the value None are left out."""
        if self._span:
            self._span.set_attributes(_known(attributes))

    def fail(self, error_type: str) -> None:
        """Mark the span as failed; `error_type` is a word with few values, such as a status or an error's class."""
        if self._span:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415 - only if traces are on

            self._span.set_status(StatusCode.ERROR)
            self._span.set_attribute("error.type", error_type)


NOTHING = OneSpan()


class _Tracing:
    """The tracer of this process and what ends it; None while traces are off."""

    tracer: "Tracer | None" = None
    provider: Any = None


def configure(environment: Mapping[str, str], version: str) -> None:
    """Turn traces on if an OTLP endpoint is configured. Raises TracingUnavailable if they cannot be sent."""
    if not _is_wanted(environment):
        return
    protocol = next((value for name in PROTOCOLS if (value := environment.get(name, "").strip())), HTTP)
    if protocol != HTTP:
        raise TracingUnavailable(f"the protocol {protocol} is not supported: set {PROTOCOLS[1]}={HTTP}, or unset it")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise TracingUnavailable("OpenTelemetry is not installed: pip install 'ocr-model-service[otel]'") from None
    own: dict[str, str] = {"service.version": version}
    if not environment.get("OTEL_SERVICE_NAME") and "service.name=" not in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        own["service.name"] = NAME
    try:
        # Not at the exit of Python, which would wait up to half a minute for a collector that does not answer.
        provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        import opentelemetry.propagate  # noqa: F401, PLC0415 - reads OTEL_PROPAGATORS
    except Exception as exc:  # a wrong variable can raise many errors
        raise TracingUnavailable(f"a variable OTEL_... is not valid: {exc}") from exc
    _Tracing.provider, _Tracing.tracer = provider, provider.get_tracer(NAME, version)


def is_on() -> bool:
    """Return whether spans are recorded."""
    return _Tracing.tracer is not None


def shut_down() -> None:
    """Send the last spans, for FLUSH_SECONDS at most, and turn traces off."""
    provider, _Tracing.provider, _Tracing.tracer = _Tracing.provider, None, None
    if provider:
        sending = threading.Thread(target=provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


@contextmanager
def span(name: str, attributes: Attributes, *, kind: Kind = "INTERNAL") -> Iterator[OneSpan]:
    """Record the block as a span below the present one. If the block raises an exception, the span has failed."""
    if _Tracing.tracer is None:
        yield NOTHING
        return
    with _recorded(_Tracing.tracer, name, attributes, kind, {}) as recorded:
        yield recorded


@contextmanager
def request_span(name: str, attributes: Attributes, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[OneSpan]:
    """Record the block as the span of a request, below the caller's span that the header `traceparent` names."""
    if _Tracing.tracer is None:
        yield NOTHING
        return
    from opentelemetry.propagate import extract  # noqa: PLC0415 - only if traces are on

    carrier = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers}
    with _recorded(_Tracing.tracer, name, attributes, "SERVER", {"context": extract(carrier)}) as recorded:
        yield recorded


@contextmanager
def linked_span(name: str, attributes: Attributes, traceparent: str | None) -> Iterator[OneSpan]:
    """Record the block as a trace of its own, with a link to the span that `traceparent` names."""
    if _Tracing.tracer is None:
        yield NOTHING
        return
    from opentelemetry.context import Context  # noqa: PLC0415 - only if traces are on
    from opentelemetry.trace import Link, get_current_span  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    found = TraceContextTextMapPropagator().extract({"traceparent": traceparent or ""}, Context())
    linked = get_current_span(found).get_span_context()
    more = {"context": Context(), "links": [Link(linked)] if linked.is_valid else []}
    with _recorded(_Tracing.tracer, name, attributes, "CONSUMER", more) as recorded:
        yield recorded


def traceparent() -> str | None:
    """Return the present span as the header `traceparent` has it; None if there is none."""
    if _Tracing.tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def present_ids() -> dict[str, str]:
    """Return `trace_id` and `span_id` of the present span, in hexadecimal; nothing if there is none."""
    if _Tracing.tracer is None:
        return {}
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 - only if traces are on

    context = get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"} if context.is_valid else {}


@contextmanager
def _recorded(
    tracer: "Tracer", name: str, attributes: Attributes, kind: Kind, more: dict[str, Any]
) -> Iterator[OneSpan]:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - only if traces are on

    # The log has the traceback of an exception; the span has only its class, because the text may quote a caller.
    with tracer.start_as_current_span(
        name,
        kind=SpanKind[kind],
        attributes=_known(attributes),
        record_exception=False,
        set_status_on_exception=False,
        **more,
    ) as recorded:
        one = OneSpan(recorded)
        try:
            yield one
        except BaseException as exc:
            one.fail(type(exc).__qualname__)
            raise


def _known(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _is_wanted(environment: Mapping[str, str]) -> bool:
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    return (
        not is_disabled and exporters in {"", "otlp"} and any(environment.get(name, "").strip() for name in ENDPOINTS)
    )
