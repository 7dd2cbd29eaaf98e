"""Budget changes: what publishing a playbook does to the budgets that the active one has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nextbest.core.playbook.plan import Budget, Plan
from nextbest.server.budgets import MICROS, amount
from nextbest.server.log.ledgers import LEDGERS_MAX, Ledgers
from nextbest.v1 import log_pb2, playbook_pb2

BEGINS_ANEW = playbook_pb2.BUDGET_EFFECT_BEGINS_ANEW
BELOW_CLAIMED = playbook_pb2.BUDGET_EFFECT_BELOW_CLAIMED
GONE = playbook_pb2.BUDGET_EFFECT_GONE
NO_ROOM = playbook_pb2.BUDGET_EFFECT_NO_ROOM


def budget_changes(
    active: Plan, statuses: Iterable[log_pb2.BudgetStatus], after: Plan
) -> Iterator[playbook_pb2.BudgetChange]:
    """Those that lose what is used of them, or have less than is claimed; few playbooks do that.

    `statuses` are of the active plan's budgets, in its order.
    """
    kept = {one.key: one for one in after.budgets}
    before = {one.key for one in active.budgets}
    fresh = [one for one in after.budgets if one.key not in before]
    for old, status in zip(active.budgets, statuses, strict=True):
        same = kept.get(old.key)
        successors = [one for one in fresh if _succeeds(one.name, old.name)]
        if same is not None:
            if same.max < old.max and _whole(same) < _claimed(status):
                yield _change(status, BELOW_CLAIMED, [same])
        elif successors:
            yield _change(status, BEGINS_ANEW, successors)
        elif status.used or status.held:
            yield _change(status, GONE, [])


def without_room(after: Plan, ledgers: Ledgers) -> Iterator[playbook_pb2.BudgetChange]:
    """The new budgets for which the log has no ledger left; periods that end may make room yet."""
    known = {period.key for period in ledgers.known}
    room = max(LEDGERS_MAX - len(ledgers.known), 0)
    for one in [one for one in after.budgets if one.key not in known][room:]:
        yield playbook_pb2.BudgetChange(name=one.name, effect=NO_ROOM, max=_whole(one))


def _succeeds(new: str, old: str) -> bool:
    """Whether a budget is the old one's: by name, or cut into one of each of its `of`, or no more.

    One of each has the name "summer.NAME".
    """
    return new == old or new.startswith(f"{old}.") or old.startswith(f"{new}.")


def _whole(budget: Budget) -> float:
    return budget.max / MICROS if budget.micros else budget.max


def _claimed(status: log_pb2.BudgetStatus) -> float:
    """What may be used whatever the maximum is; without a log a process has claimed all of it."""
    logged = any(part.member for part in status.parts)
    return max(status.claimed if logged else 0.0, status.used + status.held)


def _change(
    status: log_pb2.BudgetStatus,
    effect: playbook_pb2.BudgetEffect,
    successors: Sequence[Budget],
) -> playbook_pb2.BudgetChange:
    return playbook_pb2.BudgetChange(
        name=status.name,
        effect=effect,
        max_before=status.max,
        max=sum(map(_whole, successors)),
        claimed=_claimed(status),
        used=status.used,
        held=status.held,
    )


def change_text(change: playbook_pb2.BudgetChange) -> str:
    """What an operator is to know of it, on one line."""
    name, used, held = change.name, amount(change.used), amount(change.held)
    if change.effect == BEGINS_ANEW:
        return f"budget {name} is another one now and begins anew: {used} used of it do not count"
    if change.effect == BELOW_CLAIMED:
        return (
            f"budget {name} goes down from {amount(change.max_before)} to {amount(change.max)}, "
            f"and {amount(change.claimed)} of it are claimed, {used} used and {held} held: what is "
            "claimed may still be used"
        )
    if change.effect == NO_ROOM:
        return f"budget {name} may be given nothing: the log keeps no more than {LEDGERS_MAX:,}"
    return f"budget {name} is gone: {used} used of it and {held} held count for no other one"
