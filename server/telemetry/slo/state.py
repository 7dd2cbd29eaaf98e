"""State: how an objective stands at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nextbest.server.telemetry.slo.burn import ALERTS, BAD_LEAST, WINDOWS
from nextbest.server.telemetry.slo.history import History, Window
from nextbest.server.telemetry.slo.objective import Objective
from nextbest.server.telemetry.slo.tally import Tally


@dataclass(frozen=True, slots=True)
class SloState:
    """An objective and what became of it.

    total: since the process began.  window: over the objective's window.
    windows: over those of alerts, by the names of `burn.WINDOWS`.
    """

    objective: Objective
    total: Tally
    window: Window
    windows: Mapping[str, Window]

    @property
    def burn_rates(self) -> dict[str, float]:
        """By window: 1 uses the budget up exactly in the objective's time, 0 for no calls."""
        budget = self.objective.budget
        return {name: _bad_ratio(one.tally) / budget for name, one in self.windows.items()}

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
        rates = self.burn_rates
        return any(
            min(rates[alert.long], rates[alert.short]) > alert.rate
            for alert in ALERTS
            if alert.severity == severity and self.windows[alert.short].tally.bad >= BAD_LEAST
        )


def state_of(objective: Objective, history: History, now_s: float, total: Tally) -> SloState:
    """How an objective stands, its calls being `total` now."""
    return SloState(
        objective,
        total,
        history.window(now_s, total, objective.window_s),
        {name: history.window(now_s, total, length_s) for name, length_s in WINDOWS.items()},
    )


def _bad_ratio(tally: Tally) -> float:
    return tally.bad / tally.calls if tally.calls else 0.0
