"""The receiver of the tests gets what the official exporters send, over both transports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.server.telemetry.otlp import Receiver


@pytest.mark.parametrize(
    "exporter",
    [
        lambda receiver: GrpcExporter(f"http://{receiver.address}"),
        lambda receiver: HttpExporter(f"{receiver.http}/v1/traces"),
    ],
    ids=["grpc", "http"],
)
def test_a_span_is_received(exporter: Callable[[Receiver], Any]) -> None:
    with Receiver() as receiver:
        provider = TracerProvider(resource=Resource({"service.name": "a"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter(receiver)))
        with provider.get_tracer("b").start_as_current_span("c", attributes={"d": [1, 2]}):
            pass
        provider.shutdown()
        [span] = receiver.spans
    assert (span.item.name, span.attributes, span.scope) == ("c", {"d": [1, 2]}, "b")
    assert span.resource["service.name"] == "a"
