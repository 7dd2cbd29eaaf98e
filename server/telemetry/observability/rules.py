"""Recording rules: the share of bad calls, and burn rates, over the windows that alerts look at.

Names are level:metric:operations, as Prometheus recommends.
"""

from __future__ import annotations

from typing import Any

from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.observability.query import JOB, by, rate, select
from nextbest.server.telemetry.slo.burn import WINDOWS

METHOD = "rpc_method"
LEVEL = (JOB, METHOD)
BAD_RATIO = "job_rpc_method:nextbest_slo_bad_calls:ratio_rate"
BURN_RATE = "job_rpc_method:nextbest_slo_burn:rate"


def recording_rules() -> list[dict[str, Any]]:
    """Two for each window, over all instances of a job."""
    return [rule for window in WINDOWS for rule in (_bad_ratio(window), _burn_rate(window))]


def _bad_ratio(window: str) -> dict[str, Any]:
    good = by(LEVEL, rate(catalogue.SLO_GOOD_CALLS, window))
    calls = by(LEVEL, rate(catalogue.SLO_CALLS, window))
    # Without calls nothing is bad: 0 / 0 is no number.
    return {"record": BAD_RATIO + window, "expr": f"1 - ({good} / ({calls} > 0))"}


def _burn_rate(window: str) -> dict[str, Any]:
    budget = f"(1 - max by ({', '.join(LEVEL)}) ({select(catalogue.SLO_OBJECTIVE)}))"
    return {"record": BURN_RATE + window, "expr": f"{BAD_RATIO}{window} / {budget}"}
