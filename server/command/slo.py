"""`nextbest slo`: what share of calls was good, and how fast the rest is being used up."""

from __future__ import annotations

import typer

from nextbest.server.command.console import (
    ADDRESS,
    EXIT_REFUSED,
    AsJson,
    To,
    addresses_of,
    connect,
    out,
    show_each,
    table,
)
from nextbest.server.command.units import budget, percent, seconds
from nextbest.server.telemetry.methods import short_name
from nextbest.server.telemetry.slo.burn import BAD_LEAST
from nextbest.v1 import telemetry_pb2


def slo_command(to: To = ADDRESS, as_json: AsJson = False) -> None:
    """Show how a node's service level objectives stand, and what burns.

    A call is good when it ends within its method's threshold and not in a failure of the
    server's own; the objective says what share has to be good, and the budget is the rest.  A
    burn rate of 1 uses the budget up exactly in the objective's time.  Pages are due at 14.4
    over 1 h and 5 min or 6 over 6 h and 30 min, a ticket at 1 over 3 d and 6 h; none before ten
    calls were bad in the shorter window, since one slow call in a quiet night is over any rate.
    History begins with the node's process: a window that is not covered yet is marked with *.

    The exit code is 1 where a page is due.

    Of several nodes each is asked, one after the other, and has to answer.

    Examples:

      nextbest slo

      nextbest slo --to 10.0.0.7:7600 --json

      nextbest slo --to 10.0.0.7:7600,10.0.0.8:7600
    """
    answers = {}
    for address in addresses_of(to):
        with connect(address) as client:
            answers[address] = client.slo()
    show_each(to, answers, as_json, _show)
    if any("page" in one.burning for answer in answers.values() for one in answer.slos):
        raise typer.Exit(EXIT_REFUSED)


def _show(answer: telemetry_pb2.GetSloResponse) -> None:
    if not answer.slos:
        out().print("no objectives: set slo.objectives")
        return
    columns = ("method", "objective", "calls#", "good#", "budget left#", "due")
    out().print(table("objectives", columns, map(_cells, answer.slos)))
    windows = [f"{rate.window}#" for rate in answer.slos[0].burn_rates]
    rates = ((short_name(one.method), *map(_rate, one.burn_rates)) for one in answer.slos)
    out().print(table("burn rates", ("method", *windows), rates))
    if any(rate.covered_s < rate.window_s for one in answer.slos for rate in one.burn_rates):
        seen = max(one.covered_s for one in answer.slos)
        out().print(f"* as far as this process has run, {seconds(seen)}")
    if any(one.budget_remaining < 0 and not one.burning for one in answer.slos):
        out().print(f"nothing is due before {BAD_LEAST} calls were bad in the shorter window")


def _cells(slo: telemetry_pb2.Slo) -> tuple[str, ...]:
    objective = f"{percent(slo.objective)} < {seconds(slo.threshold_s)}"
    return (
        short_name(slo.method),
        f"{objective} over {slo.window_s / 86_400:g} d",
        f"{slo.calls:,}",
        percent(slo.compliance),
        budget(slo.budget_remaining),
        ", ".join(slo.burning) or "-",
    )


def _rate(rate: telemetry_pb2.BurnRate) -> str:
    return f"{rate.rate:.2f}{'*' if rate.covered_s < rate.window_s else ''}"
