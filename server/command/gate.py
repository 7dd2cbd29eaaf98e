"""The gate of `nextbest publish`: what decision records must say of a draft before it goes live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from nextbest.core.playbook.plan import Plan
from nextbest.server.command.console import EXIT_REFUSED, EXIT_USAGE, complain, out, show_json
from nextbest.server.command.ope import requirements_of, show_analysis
from nextbest.server.command.policy import FromRecords, judge_draft
from nextbest.server.offpolicy import OffPolicyError, Settings, judge
from nextbest.server.record.errors import RecordError

HINT = "--require, --from"


def pass_gate(plan: Plan, require: Sequence[str], records: FromRecords, as_json: bool) -> None:
    """Return where each requirement holds; else show why not, and exit with 1.

    2 where nothing can be evaluated: nothing is published then, either.
    """
    if not records.places or not require:
        raise typer.BadParameter("one without the other, allowed: both", param_hint=HINT)
    requirements = requirements_of(require)
    try:
        judged = judge_draft(plan, records, Settings())
        values = judged.analysis.values()
        verdicts = [judge(one, values) for one in requirements]
    except (OffPolicyError, RecordError) as error:
        complain(str(error))
        complain("nothing is published")
        raise typer.Exit(EXIT_USAGE) from error
    held = all(verdict.holds for verdict in verdicts)
    if as_json and not held:
        told = {"published": False, "requirements": [asdict(one) for one in verdicts]}
        show_json({**told, **judged.analysis.as_dict(), "left_out": judged.left_out_dict()})
    elif not as_json:
        show_analysis(judged.analysis)
    for text in (*judged.analysis.cautions, *judged.notes()):
        complain(f"warning: {text}")
    for verdict in verdicts:
        if not verdict.holds:
            complain(str(verdict))
        elif not as_json:
            out().print(str(verdict))
    if not held:
        complain("nothing is published")
        raise typer.Exit(EXIT_REFUSED)


def records_of(
    places: Sequence[Path] | None,
    reward: str,
    window: str,
    period: tuple[str, str],
    placements: Sequence[str] | None,
) -> FromRecords:
    """The records that options name."""
    return FromRecords(tuple(places or ()), reward, window, *period, tuple(placements or ()))
