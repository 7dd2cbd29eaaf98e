"""The budget, on a clock that the test sets."""

from __future__ import annotations

import pytest

from nextbest.server.shadow.budget import SAVED_S, Budget

COST_S, TURN_S = 50e-6, 0.1


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("rate", [100.0, 10_000.0, 1_000_000.0])
def test_the_share_settles_at_what_the_budget_pays(rate: float) -> None:
    """Decisions of a rate come, and each costs the same: CPU is at its bound, or all are made."""
    clock, core_share = Clock(), 0.03
    budget = Budget(core_share, 1.0, clock)
    spent_s, last = 0.0, 0.0
    for turn in range(2_000):
        clock.now_s += TURN_S
        left_s = budget.left_s()
        arrived = round(rate * budget.share * TURN_S)
        decided = min(arrived, max(round(left_s / COST_S), 0))
        budget.spend(decided * COST_S, decided)
        budget.pace(arrived, TURN_S)
        spent_s += decided * COST_S
        last += decided * COST_S if turn >= 1_000 else 0.0
    assert spent_s <= core_share * (clock.now_s + SAVED_S) + COST_S
    wanted_s = min(core_share, rate * COST_S) * 1_000 * TURN_S
    assert last == pytest.approx(wanted_s, rel=0.1)


def test_one_slow_decision_is_paid_for_before_the_next() -> None:
    clock = Clock()
    budget = Budget(0.1, 1.0, clock)
    budget.spend(2.0, 1)
    clock.now_s += 10.0
    assert budget.left_s() <= 0
    clock.now_s += 10.0
    assert budget.left_s() > 0
