"""An OTLP receiver on the official stubs, over gRPC and over HTTP, that keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

WITHIN_S = 20.0


class Received(NamedTuple):
    """A span, a log record or a metric: its message, and the attributes of what told of it."""

    item: Any
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str


def plain(attributes: Any) -> dict[str, Any]:
    """The attributes of a message as a dictionary."""
    return {one.key: _plain(one.value) for one in attributes}


class Receiver:
    """Receives while the `with` block runs; of each export it rejects so many spans.

    `address` is gRPC's host:port, `http` the base of the three paths of HTTP.
    """

    def __init__(self, rejected_spans: int = 0) -> None:
        self.requests: list[Any] = []
        # Held, no spans are received.
        self.door = threading.Lock()
        self.traced = trace_service_pb2.ExportTraceServiceResponse()
        if rejected_spans:
            self.traced.partial_success.rejected_spans = rejected_spans
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._grpc)
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
            _Servicer(self, logs_service_pb2.ExportLogsServiceResponse), self._grpc
        )
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
            _Servicer(self, metrics_service_pb2.ExportMetricsServiceResponse), self._grpc
        )
        self.address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.http = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._grpc.start()
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()

    def Export(self, request: Any, _context: Any) -> Any:
        """The trace service's call."""
        with self.door:
            self.requests.append(request)
        return self.traced

    @property
    def spans(self) -> list[Received]:
        """Every span, in the order of their arrival."""
        return list(self._received("resource_spans", "scope_spans", "spans"))

    @property
    def logs(self) -> list[Received]:
        """Every log record."""
        return list(self._received("resource_logs", "scope_logs", "log_records"))

    @property
    def metrics(self) -> list[Received]:
        """Every metric of every push."""
        return list(self._received("resource_metrics", "scope_metrics", "metrics"))

    def wait(self, until: Callable[[Self], object]) -> None:
        """Wait until something has come; AssertionError when it does not."""
        end_s = time.monotonic() + WITHIN_S
        while not until(self):
            assert time.monotonic() < end_s, f"{len(self.requests)} requests came"
            time.sleep(0.02)

    def _received(self, resources: str, scopes: str, items: str) -> Iterator[Received]:
        for request in list(self.requests):
            for resource in getattr(request, resources, ()):
                told = plain(resource.resource.attributes)
                for scope in getattr(resource, scopes):
                    for item in getattr(scope, items):
                        attributes = plain(getattr(item, "attributes", ()))
                        yield Received(item, attributes, told, scope.scope.name)


class _Servicer:
    def __init__(self, receiver: Receiver, response: type[Any]) -> None:
        self._receiver = receiver
        self._response = response

    def Export(self, request: Any, _context: Any) -> Any:
        self._receiver.requests.append(request)
        return self._response()


_PATHS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
}


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.requests.append(_PATHS[self.path].FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            answer = receiver.traced.SerializeToString() if "traces" in self.path else b""
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Not worth a line."""

    return Handler


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return plain(value.kvlist_value.values)
    return getattr(value, kind) if kind else None
