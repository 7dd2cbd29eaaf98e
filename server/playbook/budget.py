"""Budgets: amounts in whole units, and what a proposition of each action takes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from nextbest.core.playbook.plan import Action, Budget, InputKind, Period, Placement
from nextbest.server.playbook import contacts, limits
from nextbest.server.playbook.canonical import digest
from nextbest.server.playbook.scope import Scope
from nextbest.server.playbook.shapes import Text, unknown
from nextbest.server.playbook.source import Node

MICROS: Final = 1_000_000


@dataclass(slots=True)
class Spender:
    """Makes the budgets of a playbook, one by one; `zone` is the playbook's default."""

    actions: Sequence[Action]
    placements: Sequence[Placement]
    scope: Scope
    zone: str
    budgets: list[Budget] = field(default_factory=list)

    def add(
        self,
        name: Text,
        of: str,
        spec: contacts.BudgetSpec,
        subject: str,
        chosen: Iterable[int],
    ) -> None:
        """A budget of the actions or placements; `of` names the one that it is about by itself."""
        if len(self.budgets) == limits.BUDGETS_MAX:
            allowed = f"at most {limits.BUDGETS_MAX}, each one of an `of` alone included"
            self.scope.faults.add(name.node.fault("number of budgets", allowed, "more"))
        if spec.pacing and spec.per is Period.ROLLING:
            allowed = "none, or a budget per day, week or month"
            self.scope.faults.add(spec.at.value("pacing").fault(f"pacing of {name}", allowed))
        zone = self.zone if spec.per is not Period.ROLLING else ""
        spends = spec.spend is not None
        self.budgets.append(
            Budget(
                name=f"{name}.{of}" if of else str(name),
                key=digest(("budget", str(name), of, spends, int(spec.per), zone)),
                max=micros(spec.spend.max) if spec.spend else spec.max or 0,
                costs=self.costs(name, spec.spend, self.payers(subject, chosen)),
                period=spec.per,
                micros=spends,
                even=spec.pacing,
                shares=spec.shares,
                hold_s=spec.hold,
            )
        )

    def payers(self, subject: str, chosen: Iterable[int]) -> set[int]:
        """The actions that may take of a budget: those, or all that those placements may show."""
        if subject in ("action", "group"):
            return set(chosen)
        shown = [self.placements[index] for index in chosen]
        fallbacks = {one.fallback for one in shown if one.fallback >= 0}
        return fallbacks.union(*(one.candidates for one in shown))

    def costs(
        self, name: Text, spend: contacts.SpendSpec | None, payers: set[int]
    ) -> tuple[int, ...]:
        """What a proposition of each action takes, or one amount for all."""
        if spend is None:
            return (1,)
        self.check_exact(spend.max, spend.at.value("max"), f"max of budget {name}")
        if not isinstance(spend.cost, Text):
            self.check_exact(spend.cost, spend.at.value("cost"), f"cost of budget {name}")
            return (micros(spend.cost),)
        known = {
            one.name.removeprefix("action."): one.index
            for one in self.scope.inputs
            if one.kind is InputKind.ACTION
        }
        at = known.get(spend.cost)
        if at is None:
            unknown(spend.cost, f"cost of budget {name}", known, self.scope.faults)
            return (0,)
        return tuple(
            self.cost(name, spend.cost, action, at) if index in payers else 0
            for index, action in enumerate(self.actions)
        )

    def cost(self, name: Text, cost: Text, action: Action, at: int) -> int:
        """What an action says that it takes; 0 after a fault."""
        value = action.attributes[at]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and 0 <= value <= limits.SPEND_MAX:  # type: ignore[operator]
            what = f"cost of budget {name}: action {action.name}"
            self.check_exact(value, cost.node, what)  # type: ignore[arg-type]
            return micros(value)  # type: ignore[arg-type]
        seen = "none" if value is None else str(value)
        allowed = f"a number from 0 to {limits.SPEND_MAX:,} as its {cost}"
        what = f"cost of budget {name}: action {action.name}"
        self.scope.faults.add(cost.node.fault(what, allowed, seen))
        return 0

    def check_exact(self, amount: float, node: Node, what: str) -> None:
        """Refuse what would be rounded: a cost rounded to 0 would never use the budget up."""
        if Decimal(repr(amount)) * MICROS % 1:
            seen = f"'{Decimal(repr(amount)):f}'"
            self.scope.faults.add(node.fault(what, "at most six decimals", seen))


def micros(amount: float) -> int:
    """Millionths of an amount as an author writes it, rounded half to even."""
    return int((Decimal(repr(amount)) * MICROS).to_integral_value())
