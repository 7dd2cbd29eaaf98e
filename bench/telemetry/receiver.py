"""An OTLP receiver that counts: prints its port, and the spans it was sent once its input ends."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

NICENESS = 10


class Counting(trace_service_pb2_grpc.TraceServiceServicer):  # type: ignore[misc]
    """Takes everything."""

    spans = 0

    def Export(self, request: Any, _context: Any) -> Any:
        """Count, and be content."""
        for resource in request.resource_spans:
            self.spans += sum(len(scope.spans) for scope in resource.scope_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


def main() -> None:
    """Receive until standard input ends."""
    os.nice(NICENESS)
    server = grpc.server(ThreadPoolExecutor(2))
    counting = Counting()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(counting, server)
    sys.stdout.write(f"{server.add_insecure_port('127.0.0.1:0')}\n")
    sys.stdout.flush()
    server.start()
    sys.stdin.read()
    server.stop(None)
    sys.stdout.write(f"{counting.spans}\n")


if __name__ == "__main__":
    main()
