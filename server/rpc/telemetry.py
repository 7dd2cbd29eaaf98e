"""TelemetryService: what the server knows of its own calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nextbest.server.rpc.message import parse, with_header
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse
from nextbest.server.telemetry.methods import METHODS
from nextbest.server.telemetry.slo.burn import SEVERITIES
from nextbest.server.telemetry.slo.slos import Slos
from nextbest.server.telemetry.slo.state import SloState
from nextbest.v1 import telemetry_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

SERVICE = "/nextbest.v1.TelemetryService/"


class TelemetryService:
    """Translates between the contract and the telemetry."""

    def __init__(self, engine: Engine, slos: Slos, bytes_max: int) -> None:
        self._engine = engine
        self._slos = slos
        self._bytes_max = bytes_max

    def handlers(self) -> Handlers:
        """The handlers by full method name."""
        return {SERVICE + "GetSlo": unary(self._slo)}

    async def _slo(self, request: bytes, context: Any) -> bytes:
        try:
            parse(telemetry_pb2.GetSloRequest, request, self._bytes_max)
            response = telemetry_pb2.GetSloResponse(slos=map(slo_message, self._slos.look()))
            return with_header(response, self._engine).SerializeToString()
        except Exception as error:
            await refuse(context, error)


def slo_message(state: SloState) -> telemetry_pb2.Slo:
    """An objective as the contract has it."""
    objective, window = state.objective, state.window
    return telemetry_pb2.Slo(
        method=METHODS[objective.method],
        objective=objective.ratio,
        threshold_s=objective.threshold_s,
        window_s=objective.window_s,
        calls=window.tally.calls,
        good_calls=window.tally.good,
        covered_s=window.covered_s,
        compliance=state.compliance,
        budget_remaining=state.budget_remaining,
        burn_rates=[
            telemetry_pb2.BurnRate(window=name, rate=rate, covered_s=state.covered_s[name])
            for name, rate in state.burn_rates.items()
        ],
        burning=[severity for severity in SEVERITIES if state.burning(severity)],
    )
