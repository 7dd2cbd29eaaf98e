"""Exporters: the official ones, which also say how much a receiver took and did not want."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from nextbest.server.errors import ConfigError
from nextbest.server.telemetry.environment import HTTP
from nextbest.server.telemetry.trace.settings import TraceSettings

# Told how many spans of the export under way were rejected.
Reject = Callable[[int], None]


def exporter(settings: TraceSettings, reject: Reject) -> SpanExporter:
    """The exporter that the settings name; the OTEL_EXPORTER_OTLP_* variables are its own."""
    if settings.exporter == "console":
        return ConsoleSpanExporter()
    try:
        if settings.protocol == HTTP:
            return HttpExporter(session=_session(reject))
        return _GrpcExporter(reject)
    except Exception as error:
        # Its own errors name the variable.
        raise ConfigError([f"OTEL_EXPORTER_OTLP_*: {error}"]) from error


class _GrpcExporter(GrpcExporter):
    """The exporter drops the response; its stub is made anew with each of its channels."""

    def __init__(self, reject: Reject) -> None:
        self._reject = reject
        super().__init__()

    def _initialize_channel_and_stub(self) -> None:
        super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call]
        client: Any = self._client
        export = client.Export

        def told(**call: Any) -> ExportTraceServiceResponse:
            response: ExportTraceServiceResponse = export(**call)
            self._reject(response.partial_success.rejected_spans)
            return response

        client.Export = told


def _session(reject: Reject) -> requests.Session:
    def told(response: requests.Response, **_more: Any) -> None:
        if response.ok:
            reject(_rejected(response.content))

    session = requests.Session()
    session.hooks["response"].append(told)
    return session


def _rejected(body: bytes) -> int:
    # A receiver may answer with nothing, or with what is no message.
    try:
        return ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans
    except DecodeError:
        return 0
