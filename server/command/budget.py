"""`nextbest budget`: how far budgets are used over all nodes, and by each of them."""

from __future__ import annotations

from collections.abc import Iterator

from nextbest.server.budgets import amount
from nextbest.server.command.console import (
    ADDRESS,
    AsJson,
    To,
    complain,
    connect,
    out,
    show_json,
    table,
)
from nextbest.v1 import log_pb2

_COLUMNS = ("budget", "since", "node", "state", "max#", "released#", "claimed#", "used#", "held#")


def budget_command(to: To = ADDRESS, as_json: AsJson = False) -> None:
    """Show the budgets of the active playbook: how far each is released, claimed, used and held.

    Below each are the processes that have claimed of it: running, stopped, which have given back
    what was free and hold the rest for impressions to come, or gone, of which nothing comes back.
    What is released may be claimed by now; what is claimed is a node's, which uses or holds it.

    Examples:

      nextbest budget

      nextbest budget --to 10.0.0.7:7600 --json
    """
    with connect(to) as client:
        status = client.log_status()
    if as_json:
        show_json(log_pb2.GetLogStatusResponse(budgets=status.budgets))
        return
    for one in status.budgets:
        if one.refused:
            complain(f"budget {one.name}: nothing is given: {one.refused}")
    rows = [row for one in status.budgets for row in _rows(one)]
    out().print(table("budgets", _COLUMNS, rows) if rows else "the playbook has no budgets")


def _rows(one: log_pb2.BudgetStatus) -> Iterator[tuple[str, ...]]:
    """A budget over all nodes, and what each has of it."""
    whole = _amounts(one.max, one.released, one.claimed, one.used, one.held)
    yield (one.name, one.since or "ever", "all", "", *whole)
    for part in one.parts:
        if part.claimed:
            its = _amounts(part.claimed, part.used, part.held)
            yield ("", "", part.member or "this process", part.state, "", "", *its)


def _amounts(*amounts: float) -> tuple[str, ...]:
    """Cells of the table."""
    return tuple(map(amount, amounts))
