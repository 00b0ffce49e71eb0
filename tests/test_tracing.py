"""Traces by OpenTelemetry, with a real receiver of OTLP over HTTP, and what a service without them does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.files.model_files import NO_TENSORS
from tests.support.otlp import FILE, OtlpReceiver, Recorded
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

SERVER, CLIENT = 2, 3
"""The kinds of spans in the protocol."""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@contextmanager
def traced(folder: Path, endpoint: str, *, module: str = "app", **variables: str) -> Iterator[RunningService]:
    """Run a service with a model and with variables of OpenTelemetry."""
    (folder / "models" / DEFAULT_MODEL).parent.mkdir(parents=True)
    (folder / "models" / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"} | variables
    with pytest.MonkeyPatch.context() as environment:
        for name, value in otel.items():
            environment.setenv(name, value)
        with RunningService(
            folder, module=module, engine_class=ECHO, pull_allowed_urls=endpoint, shutdown_grace="60s"
        ) as running:
            yield running.wait_until_ready()


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def sending(receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that sends its traces to the receiver."""
    more = {
        "OTEL_SERVICE_NAME": "ocr-in-a-test",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=ocr",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    with traced(tmp_path_factory.mktemp("traced"), receiver.url, **more) as running:
        yield running


def test_a_request_continues_the_caller_s_trace(sending: RunningService, receiver: OtlpReceiver) -> None:
    """A request's span has the caller's trace, the attributes of the conventions, and is in the log's line."""
    headers = TRACEPARENT | {"x-request-id": "first", "user-agent": "a test"}
    answer = sending.client.get("/models/missing.bin?q=secret", headers=headers)

    span = receiver.one("GET /models/{name:path}", ocr__request_id="first")
    assert (span.kind, span.trace_id, span.parent_id) == (SERVER, TRACE, PARENT)
    assert span.attributes.items() >= {
        ("http.request.method", "GET"),
        ("http.route", "/models/{name:path}"),
        ("url.path", "/models/missing.bin"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("server.address", "127.0.0.1"),
        ("user_agent.original", "a test"),
    }
    assert span.attributes["http.response.status_code"] == answer.status_code
    assert answer.is_client_error
    assert "secret" not in str(span)
    assert not span.is_error
    (line,) = [json.loads(line) for line in sending.log.splitlines() if '"id": "first"' in line]
    assert (line["trace_id"], line["span_id"]) == (TRACE, span.span_id)


def test_standard_variables_are_followed(sending: RunningService, receiver: OtlpReceiver) -> None:
    """The resource has the names that the environment gives, and requests to the receiver have the headers."""
    sending.client.get("/models", headers={"x-request-id": "named"})

    span = receiver.one("GET /models", ocr__request_id="named")
    assert span.resource["service.name"] == "ocr-in-a-test"
    assert span.resource["deployment.environment.name"] == "test"
    assert span.resource["service.version"]
    assert receiver.headers[-1]["x-team"] == "ocr"
    assert receiver.headers[-1]["content-encoding"] == "gzip"


def test_probes_have_no_spans(sending: RunningService, receiver: OtlpReceiver) -> None:
    """Probes are not traced: there are many, and each is the same."""
    sending.client.get("/livez")
    sending.client.get("/models", headers={"x-request-id": "after the probe"})
    receiver.one("GET /models", ocr__request_id="after the probe")

    assert not [each for each in receiver.spans if "livez" in str(each.attributes) or "readyz" in str(each.attributes)]


def test_the_queue_and_engine_calls_are_spans_of_the_request(sending: RunningService, receiver: OtlpReceiver) -> None:
    """The wait for the engine, the load and each text are spans below the request's, with their outcomes."""
    texts = {"texts": ["a", "fail:too odd"]}
    sending.client.post("/ai/spell-check", json=texts, headers={"x-request-id": "texts"}).raise_for_status()

    request = receiver.one("POST /ai/spell-check", ocr__request_id="texts")
    names = {"engine queue", "engine load", "engine spell-check"}
    eventually(lambda: names <= {each.name for each in below(receiver, request.span_id)}, within=60)
    calls = [each for each in below(receiver, request.span_id) if each.name == "engine spell-check"]
    outcomes = {each.attributes["ocr.engine.outcome"]: each.is_error for each in calls}
    assert outcomes == {"ok": False, "failed": True}
    assert {each.trace_id for each in calls} == {request.trace_id}


def below(receiver: OtlpReceiver, span_id: str) -> list[Recorded]:
    """Return the spans whose parent is this span."""
    return [each for each in receiver.spans if each.parent_id == span_id]


def test_a_job_s_trace_links_to_its_request(sending: RunningService, receiver: OtlpReceiver) -> None:
    """A job on texts is a trace of its own that links to the request, and its log lines have the job's trace."""
    headers = TRACEPARENT | {"prefer": "respond-async", "x-request-id": "job"}
    job = sending.client.post("/ai/spell-check", json={"texts": ["a"]}, headers=headers).raise_for_status().json()

    span = receiver.one("job texts", ocr__job__id=job["id"])
    request = receiver.one("POST /ai/spell-check", ocr__request_id="job")
    assert span.links == [(TRACE, request.span_id)]
    assert (span.trace_id != TRACE, span.parent_id) == (True, "")
    assert span.attributes["ocr.job.unit_outcome"] == "succeeded"
    (call,) = [each for each in receiver.spans if each.trace_id == span.trace_id and each.name == "engine spell-check"]
    assert call.parent_id == span.span_id
    lines = [json.loads(line) for line in sending.log.splitlines() if job["id"] in line]
    assert {line["trace_id"] for line in lines if line["event"].startswith("job.")} == {span.trace_id}
    assert "traceparent" not in sending.client.get(f"/ai/jobs/{job['id']}").text


def test_a_pull_s_trace_links_to_its_request_and_has_its_download(
    sending: RunningService, receiver: OtlpReceiver
) -> None:
    """A pull is a trace that links to the request that its record names; the download is a client's span in it."""
    url = f"{receiver.url}/a.bin?signature=secret"
    headers = TRACEPARENT | {"x-request-id": "pull"}
    job = sending.client.post("/pulls", json={"url": url, "name": "a.bin"}, headers=headers).raise_for_status().json()

    span = receiver.one("pull", ocr__job__id=job["id"])
    request = receiver.one("POST /pulls", ocr__request_id="pull")
    assert span.links == [(TRACE, request.span_id)]
    assert span.attributes["ocr.job.outcome"] == "succeeded"
    downloads = [each for each in receiver.spans if each.trace_id == span.trace_id and each.kind == CLIENT]
    assert downloads
    for each in downloads:
        assert each.attributes["url.full"] == f"{receiver.url}/a.bin"
        assert each.attributes["http.response.status_code"] == 200
    assert (sending.models_dir / "a.bin").read_bytes() == FILE


def test_a_collector_that_does_not_answer_harms_nothing(tmp_path: Path) -> None:
    """If no collector listens, requests are answered, the log stays JSON, and the service ends with status 0."""
    with traced(tmp_path, "http://127.0.0.1:9") as running:
        running.client.get("/models").raise_for_status()
        assert running.stop() == 0
        events = [json.loads(line) for line in running.log.splitlines()]

    assert any(each["event"] == "request" and "trace_id" in each for each in events)


@pytest.mark.parametrize("variables", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_traces_can_be_turned_off(variables: dict[str, str], receiver: OtlpReceiver, tmp_path: Path) -> None:
    """The standard variables that turn traces off do so, and the log has no trace."""
    with traced(tmp_path, receiver.url, **variables) as running:
        running.client.get("/models", headers=TRACEPARENT).raise_for_status()

        assert "trace_id" not in running.log


@pytest.mark.parametrize(
    ("module", "variables", "says"),
    [
        ("tests.support.defects.without_otel", {}, "pip install"),
        ("app", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
def test_traces_that_cannot_be_sent_are_a_warning(
    module: str, variables: dict[str, str], says: str, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    """Without the extra, and with a protocol that is not supported, the service runs and its log says what to do."""
    with traced(tmp_path, receiver.url, module=module, **variables) as running:
        running.client.get("/models").raise_for_status()

        (line,) = [json.loads(line) for line in running.log.splitlines() if '"tracing.unavailable"' in line]
    assert says in line["reason"]


OFF = """
import os, sys
from app import logs, tracing
from app.main import create_app
from app.settings import Settings
tracing.configure({}, "1")
create_app(Settings())
with tracing.span("a", {}) as span:
    span.set({"b": 1})
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""


def test_nothing_is_imported_without_an_endpoint() -> None:
    """Without an endpoint, the SDK of OpenTelemetry is not imported."""
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
