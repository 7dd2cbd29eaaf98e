"""State: how an objective stands at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nextbest.server.telemetry.slo.burn import ALERTS, WINDOWS
from nextbest.server.telemetry.slo.history import History, Window
from nextbest.server.telemetry.slo.objective import Objective
from nextbest.server.telemetry.slo.tally import Tally


@dataclass(frozen=True, slots=True)
class SloState:
    """An objective and what became of it.

    total: since the process began.  window: over the objective's window.
    burn_rates: by the names of `burn.WINDOWS`; 1 uses the budget up exactly in the objective's
    window, 0 for no calls.  covered_s: by the same names, how much of each was seen.
    """

    objective: Objective
    total: Tally
    window: Window
    burn_rates: Mapping[str, float]
    covered_s: Mapping[str, float]

    @property
    def compliance(self) -> float:
        """The share of good calls over the objective's window, 0 to 1; 1 without calls."""
        return 1.0 - _bad_ratio(self.window.tally)

    @property
    def budget_remaining(self) -> float:
        """The share of the budget that is left over the window; below 0 it is overspent."""
        return 1.0 - _bad_ratio(self.window.tally) / self.objective.budget

    def burning(self, severity: str) -> bool:
        """Whether an alert of that severity would fire."""
        return any(
            min(self.burn_rates[alert.long], self.burn_rates[alert.short]) > alert.rate
            for alert in ALERTS
            if alert.severity == severity
        )


def state_of(objective: Objective, history: History, now_s: float, total: Tally) -> SloState:
    """How an objective stands, its calls being `total` now."""
    windows = {name: history.window(now_s, total, s) for name, s in WINDOWS.items()}
    return SloState(
        objective,
        total,
        history.window(now_s, total, objective.window_s),
        {name: _bad_ratio(one.tally) / objective.budget for name, one in windows.items()},
        {name: one.covered_s for name, one in windows.items()},
    )


def _bad_ratio(tally: Tally) -> float:
    return tally.bad / tally.calls if tally.calls else 0.0
