"""Decisions and scores as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console

from nextbest.server.command.console import table
from nextbest.v1 import decision_pb2

_FATES = {
    number: name.removeprefix("FATE_").lower().replace("_", " ")
    for name, number in decision_pb2.Fate.items()
}


def show_decision(console: Console, response: decision_pb2.DecideResponse) -> None:
    """Everything in an answer, the propositions first."""
    known = "" if response.profile_known else ", an empty profile: the id is not stored"
    console.print(f"decision {response.decision_id}, generation {response.generation}{known}")
    columns = ("slot#", "action", "treatment", "group", "priority#", "why")
    for placement in response.placements:
        rows = [_proposition(each) for each in placement.propositions]
        console.print(table(placement.placement, columns, rows))
    show_scores(console, response.scores, response.grades, response.stage, response.segments)
    for explanation in response.explanations:
        console.print(_explanation(explanation))


def show_scores(
    console: Console,
    scores: Iterable[decision_pb2.Score],
    grades: Iterable[decision_pb2.Grade],
    stage: str,
    segments: Sequence[str],
) -> None:
    """Scores with their ledgers, grades, stage and segments; what is empty is left out."""
    for score in scores:
        if score.ledger:
            rows = [
                (entry.reason, f"{entry.points:+d}", entry.count or "", _why(entry))
                for entry in score.ledger
                if entry.points or entry.missing
            ]
            columns = ("reason", "points#", "events#", "condition")
            console.print(table(f"{score.name}: {score.points}", columns, rows))
        else:
            reasons = f" ({', '.join(score.reasons)})" if score.reasons else ""
            console.print(f"{score.name}: {score.points}{reasons}")
    for grade in grades:
        console.print(f"{grade.name}: {grade.value}")
    if stage:
        console.print(f"stage: {stage}")
    if segments:
        console.print(f"segments: {', '.join(segments)}")


def _proposition(each: decision_pb2.Proposition) -> tuple[object, ...]:
    why = "fallback" if each.fallback else ", ".join(each.reasons)
    return each.slot, each.action, each.treatment, each.group, f"{each.priority:.6g}", why


def _explanation(explanation: decision_pb2.PlacementExplanation) -> object:
    rows = [
        (each.action, _FATES.get(each.fate, str(each.fate)), f"{each.priority:.6g}", _detail(each))
        for each in explanation.candidates
    ]
    columns = ("candidate", "fate", "priority#", "because")
    return table(f"{explanation.placement}: every candidate", columns, rows)


def _detail(each: decision_pb2.CandidateExplanation) -> str:
    if each.factors and not each.condition:
        return " x ".join(f"{name} {each.factors[name]:.6g}" for name in sorted(each.factors))
    missing = f" ({each.missing} is unset)" if each.missing else ""
    return f"{each.condition}{missing} {each.error}".strip()


def _why(entry: decision_pb2.LedgerEntry) -> str:
    missing = f" ({entry.missing} is unset)" if entry.missing else ""
    return entry.condition + missing
