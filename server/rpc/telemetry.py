"""TelemetryService: what the server knows of its own calls."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from nextbest.server.histogram import Distribution
from nextbest.server.rpc.message import parse, with_header
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse
from nextbest.server.telemetry.catalogue import Metric
from nextbest.server.telemetry.methods import METHODS
from nextbest.server.telemetry.readings import Values
from nextbest.server.telemetry.slo.burn import SEVERITIES, WINDOWS
from nextbest.server.telemetry.slo.state import SloState
from nextbest.server.telemetry.telemetry import Telemetry
from nextbest.v1 import telemetry_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

SERVICE = "/nextbest.v1.TelemetryService/"


class TelemetryService:
    """Translates between the contract and the telemetry."""

    def __init__(self, engine: Engine, telemetry: Telemetry, bytes_max: int) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._bytes_max = bytes_max

    def handlers(self) -> Handlers:
        """The handlers by full method name."""
        return {SERVICE + "GetSlo": unary(self._slo), SERVICE + "GetTelemetry": unary(self._all)}

    async def _slo(self, request: bytes, context: Any) -> bytes:
        try:
            parse(telemetry_pb2.GetSloRequest, request, self._bytes_max)
            # Not on the loop: other threads hold its lock while they add up.
            states = await asyncio.to_thread(self._telemetry.slos.look)
            response = telemetry_pb2.GetSloResponse(slos=map(slo_message, states))
            return with_header(response, self._engine).SerializeToString()
        except Exception as error:
            await refuse(context, error)

    async def _all(self, request: bytes, context: Any) -> bytes:
        try:
            parse(telemetry_pb2.GetTelemetryRequest, request, self._bytes_max)
            # A thread's work, part of which asks this loop.
            readings = await asyncio.to_thread(self._telemetry.readings)
            response = telemetry_pb2.GetTelemetryResponse(
                clock_s=time.monotonic() - self._telemetry.began_s,
                metrics=[metric_message(*reading) for reading in readings.items()],
            )
            return with_header(response, self._engine).SerializeToString()
        except Exception as error:
            await refuse(context, error)


def metric_message(metric: Metric, values: Values) -> telemetry_pb2.Metric:
    """A metric as the contract has it."""
    message = telemetry_pb2.Metric(name=metric.name, kind=metric.kind, labels=metric.labels)
    for labels, value in values.items():
        if isinstance(value, Distribution):
            message.bounds[:] = value.bounds
            message.samples.add(labels=labels, value=value.sum, buckets=value.buckets)
        else:
            message.samples.add(labels=labels, value=value)
    return message


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
            telemetry_pb2.BurnRate(
                window=name,
                rate=rate,
                covered_s=state.windows[name].covered_s,
                window_s=WINDOWS[name],
            )
            for name, rate in state.burn_rates.items()
        ],
        burning=[severity for severity in SEVERITIES if state.burning(severity)],
    )
