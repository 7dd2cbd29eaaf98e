"""`nextbest budget`: how far budgets are used, and which nodes have claimed them."""

from __future__ import annotations

from nextbest.server.command.console import ADDRESS, AsJson, To, connect, out, show_json, table
from nextbest.v1 import log_pb2


def budget_command(to: To = ADDRESS, as_json: AsJson = False) -> None:
    """Show the budgets of the active playbook: used, held, and claimed by whom.

    Examples:

      nextbest budget

      nextbest budget --to 10.0.0.7:7600 --json
    """
    with connect(to) as client:
        status = client.log_status()
    if as_json:
        show_json(log_pb2.GetLogStatusResponse(budgets=status.budgets))
        return
    rows = [_row(one) for one in status.budgets]
    columns = ("budget", "since", "max#", "used#", "held#", "claimed#", "claimed by")
    out().print(table("budgets", columns, rows) if rows else "the playbook has no budgets")


def _row(one: log_pb2.BudgetStatus) -> tuple[str, ...]:
    by = ", ".join(
        f"{part.member or 'this process'} {part.claimed:,g}" for part in one.parts if part.claimed
    )
    amounts = (one.max, one.used, one.held, one.claimed)
    return (one.name, one.since or "ever", *(f"{amount:,g}" for amount in amounts), by)
