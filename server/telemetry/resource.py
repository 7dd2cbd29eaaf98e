"""The resource: what server its spans are of, by the standard's variables."""

from __future__ import annotations

import socket
import uuid
from functools import cache

from opentelemetry.sdk.resources import Resource

from nextbest.server.version import version

UNKNOWN = "unknown_service"


class _Resource(Resource):
    # The encoder looks a resource up once for each span, and the library's hash writes JSON.
    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@cache
def resource() -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, and what they leave open; one a process."""
    told = dict(Resource.create().attributes)
    if str(told["service.name"]).startswith(UNKNOWN):
        told["service.name"] = "nextbest"
    ours = {
        "service.version": version(),
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
    }
    return _Resource({**ours, **told})
