"""Readings: how the objectives stand, as the catalogue's metrics."""

from __future__ import annotations

from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.methods import METHODS
from nextbest.server.telemetry.readings import Readings
from nextbest.server.telemetry.slo.burn import SEVERITIES
from nextbest.server.telemetry.slo.slos import Slos
from nextbest.server.telemetry.slo.state import SloState


def readings(slos: Slos) -> Readings:
    """How all objectives stand now."""
    states = {METHODS[one.objective.method]: one for one in slos.look()}
    return {
        catalogue.SLO_OBJECTIVE: {(m,): one.objective.ratio for m, one in states.items()},
        catalogue.SLO_THRESHOLD: {(m,): one.objective.threshold_s for m, one in states.items()},
        catalogue.SLO_WINDOW: {(m,): one.objective.window_s for m, one in states.items()},
        catalogue.SLO_CALLS: {(m,): one.total.calls for m, one in states.items()},
        catalogue.SLO_GOOD_CALLS: {(m,): one.total.good for m, one in states.items()},
        catalogue.SLO_BUDGET_REMAINING: {(m,): one.budget_remaining for m, one in states.items()},
        catalogue.SLO_BURN_RATE: {
            (m, window): rate
            for m, one in states.items()
            for window, rate in one.burn_rates.items()
        },
        catalogue.SLO_BURNING: {k: v for m, one in states.items() for k, v in _burning(m, one)},
    }


def _burning(method: str, state: SloState) -> list[tuple[tuple[str, str], float]]:
    return [((method, severity), float(state.burning(severity))) for severity in SEVERITIES]
