"""A receiver of OpenTelemetry's traces over OTLP/HTTP, on loopback. It also serves one file, for pulls."""

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tests.support.waiting import eventually

FILE = b"the bytes of a model"


@dataclass
class Recorded:
    """One span, with the fields that tests look at. Ids are in hexadecimal."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    is_error: bool
    links: list[tuple[str, str]]
    """The trace and the span of each link."""
    resource: dict[str, Any] = field(default_factory=dict)


class OtlpReceiver:
    """As a context manager, it runs the receiver."""

    def __init__(self) -> None:
        self.spans: list[Recorded] = []
        self.headers: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.spans += spans_in(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(FILE)))
                self.end_headers()
                self.wfile.write(FILE)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "OtlpReceiver":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def one(self, name: str, **attributes: object) -> Recorded:
        """Wait for a span with this name and these attributes (`_` for `.`), and return it."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}

        def found() -> Recorded | None:
            return next(
                (each for each in self.spans if each.name == name and wanted.items() <= each.attributes.items()), None
            )

        return eventually(found, within=60)


def spans_in(request: ExportTraceServiceRequest) -> list[Recorded]:
    return [
        Recorded(
            span.name,
            span.kind,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            values(span.attributes),
            span.status.code == span.status.STATUS_CODE_ERROR,
            [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            values(group.resource.attributes),
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def values(attributes: Any) -> dict[str, Any]:
    def value(each: KeyValue) -> Any:
        return getattr(each.value, each.value.WhichOneof("value") or "string_value")

    return {each.key: value(each) for each in attributes}
