"""The gRPC server: its options, its services and its addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_reflection.v1alpha import reflection

from nextbest.server.address import unix_path
from nextbest.server.config import Config, Rpc
from nextbest.server.errors import ListenError
from nextbest.server.keeper import Keeper
from nextbest.server.listener import ELSEWHERE, IN_USE, require_free
from nextbest.server.publisher import Publisher
from nextbest.server.rpc import hot, standard
from nextbest.server.rpc.admission import Admission
from nextbest.server.rpc.log import LogService
from nextbest.server.rpc.playbook import PlaybookService
from nextbest.server.rpc.profile import ProfileService
from nextbest.server.rpc.router import Router
from nextbest.server.rpc.server import ServerService
from nextbest.server.rpc.telemetry import TelemetryService
from nextbest.server.rpc.trace import TraceService
from nextbest.server.rpc.traced import traced
from nextbest.server.rpc.waiting import Waiting
from nextbest.server.shadow.shadow import Shadow
from nextbest.server.telemetry.telemetry import Telemetry
from nextbest.server.telemetry.trace.captured import Captured

if TYPE_CHECKING:
    from nextbest.core import Engine

SERVICES = (
    "nextbest.v1.DecisionService",
    "nextbest.v1.EventService",
    "nextbest.v1.ProfileService",
    "nextbest.v1.PlaybookService",
    "nextbest.v1.ServerService",
    "nextbest.v1.LogService",
    "nextbest.v1.TraceService",
    "nextbest.v1.TelemetryService",
)
# Room for a message's framing around the files of a playbook.
SLACK_BYTES = 65_536


class Health:
    """What grpc.health.v1 reports: each service by name, and "" for the whole."""

    def __init__(self) -> None:
        self.servicer = HealthServicer()

    async def tell(self, serving: bool) -> None:
        """Report whether calls are welcome."""
        status = health_pb2.HealthCheckResponse.SERVING
        if not serving:
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICES):
            await self.servicer.set(name, status)

    async def leaving(self) -> None:
        """Report that the server stops; no later state is taken."""
        await self.servicer.enter_graceful_shutdown()


def make_server(
    engine: Engine,
    admission: Admission,
    publisher: Publisher,
    waiting: Waiting,
    keeper: Keeper,
    config: Config,
    health: Health,
    about: ServerService,
    captured: Captured,
    telemetry: Telemetry,
    shadow: Shadow,
) -> grpc.aio.Server:
    """A server with all services and no address yet; `about` is told them once they are bound."""
    rpc = config.rpc
    server = grpc.aio.server(options=_options(rpc))
    profile = ProfileService(
        engine,
        publisher,
        waiting,
        keeper.catch_up,
        keeper.every_member,
        rpc.request_bytes_max,
        rpc.query_slice,
    )
    playbook = PlaybookService(engine, publisher, shadow, rpc.playbook_bytes_max + SLACK_BYTES)
    bytes_max = rpc.request_bytes_max
    reflected = (*SERVICES, HEALTH, reflection.SERVICE_NAME) if config.listen.reflection else ()
    prompt = {
        **hot.handlers(engine, admission, waiting, bytes_max),
        **about.handlers(),
        **standard.handlers(health.servicer, reflected),
    }
    counted = {
        **hot.streams(engine, waiting, bytes_max),
        **traced(
            {
                **profile.handlers(),
                **playbook.handlers(),
                **LogService(engine, keeper, bytes_max).handlers(),
                **TraceService(captured, bytes_max).handlers(),
                **TelemetryService(engine, telemetry, bytes_max).handlers(),
            }
        ),
    }
    not_begun = admission.not_begun
    not_begun.watch(_kept(rpc))
    router = Router(prompt, counted, rpc.in_flight_max, not_begun.begin)
    server.add_generic_rpc_handlers((router,))
    return server


def bind(server: grpc.aio.Server, address: str) -> str:
    """Listen on an address and return it with its real port; raise ListenError."""
    if address.startswith("unix:"):
        # gRPC takes a socket's path over in silence, even one that is served.
        require_free(address, unix_path(address))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        reason = f"{IN_USE}, or {ELSEWHERE}"
        if address.startswith("unix:"):
            # gRPC gives no reason; length, folder and who is there were looked at above.
            reason = "no permission, or a file system without sockets"
        raise ListenError(address, reason) from error
    if address.startswith("unix:"):
        return address
    return f"{address.rpartition(':')[0]}:{port}"


def _options(rpc: Rpc) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", rpc.playbook_bytes_max + SLACK_BYTES),
        ("grpc.max_concurrent_streams", rpc.streams_max),
        # From the first number on some are ended, from the second on all.
        ("grpc.server.max_pending_requests", rpc.pending_max),
        ("grpc.server.max_pending_requests_hard_limit", _kept(rpc)),
        ("grpc.keepalive_time_ms", rpc.keepalive_ms),
        ("grpc.keepalive_timeout_ms", rpc.keepalive_timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", rpc.ping_interval_ms),
        # Two servers on one port would share its connections without a word.
        ("grpc.so_reuseport", 0),
    ]


def _kept(rpc: Rpc) -> int:
    """Calls that gRPC has read and that wait to be begun, at most."""
    return 2 * rpc.pending_max
