"""Decisions and scores as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from rich.console import Console

from nextbest.server.command.console import table
from nextbest.v1 import common_pb2, decision_pb2

_FATES = {
    number: name.removeprefix("FATE_").lower().replace("_", " ")
    for name, number in decision_pb2.Fate.items()
}
_REASONS = {
    number: name.removeprefix("ASSIGNMENT_REASON_").lower().replace("_", " ")
    for name, number in decision_pb2.AssignmentReason.items()
}
_DEGRADATIONS = {
    number: name.removeprefix("DEGRADATION_").lower()
    for name, number in common_pb2.Degradation.items()
}
_Told: TypeAlias = decision_pb2.Proposition | decision_pb2.CandidateExplanation


def show_decision(console: Console, response: decision_pb2.DecideResponse) -> None:
    """Everything in an answer, the propositions first."""
    known = "" if response.profile_known else ", an empty profile: the id was not known"
    console.print(f"decision {response.decision_id}, generation {response.generation}{known}")
    if response.degraded:
        console.print(
            "degraded:", ", ".join(_DEGRADATIONS.get(one, str(one)) for one in response.degraded)
        )
    for placement in response.placements:
        if placement.propositions:
            console.print(_propositions(placement))
        else:
            console.print(f"{placement.placement}: nothing to propose")
    show_scores(console, response.scores, response.grades, response.stage, response.segments)
    if response.experiments:
        console.print(_experiments(response))
    for explanation in response.explanations:
        console.print(_explanation(explanation))
    if response.triggers:
        console.print(_triggers(response))


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
            _show_ledger(console, score)
        else:
            reasons = f" ({', '.join(score.reasons)})" if score.reasons else ""
            console.print(f"{score.name}: {score.points}{reasons}")
    for grade in grades:
        console.print(f"{grade.name}: {grade.value}")
    if stage:
        console.print(f"stage: {stage}")
    if segments:
        console.print(f"segments: {', '.join(segments)}")


def _show_ledger(console: Console, score: decision_pb2.Score) -> None:
    """The rules that gave points, and what the other rules did not know."""
    rows = [
        (entry.reason, f"{entry.points:+d}", entry.count or "", _why(entry))
        for entry in score.ledger
        if entry.points
    ]
    title = f"{score.name}: {score.points}"
    if rows:
        console.print(table(title, ("reason", "points#", "events#", "condition"), rows))
    else:
        console.print(title)
    unset = sorted({entry.missing for entry in score.ledger if entry.missing and not entry.points})
    if unset:
        console.print(f"  rules without points because these are unset: {', '.join(unset)}")


def _experiments(response: decision_pb2.DecideResponse) -> object:
    rows = [_assignment(each) for each in response.experiments]
    return table("experiments", ("experiment", "variant", "exposed", "bucket#", "why"), rows)


def _triggers(response: decision_pb2.DecideResponse) -> object:
    rows = [(each.trigger, each.value, _held_back(each)) for each in response.triggers]
    return table("triggers", ("trigger", "now", "because"), rows)


def _assignment(each: decision_pb2.Assignment) -> tuple[object, ...]:
    bucket = f"{each.bucket:.5f}" if each.HasField("bucket") else ""
    exposed = "yes" if each.exposed else ""
    why = _REASONS.get(each.reason, str(each.reason))
    return each.experiment, each.variant or "none", exposed, bucket, why


def _propositions(placement: decision_pb2.PlacementDecision) -> object:
    """With the probability of each where the placement explores."""
    drawn = _drawn(placement.propositions)
    rows = [_proposition(each, drawn) for each in placement.propositions]
    chance = ("chance#",) if drawn else ()
    columns = ("slot#", "action", "treatment", "group", "priority#", *chance, "why")
    return table(placement.placement, columns, rows)


def _proposition(each: decision_pb2.Proposition, drawn: bool) -> tuple[object, ...]:
    why = "fallback" if each.fallback else ", ".join(each.reasons)
    if each.explored:
        why = f"explored: {why}" if why else "explored"
    chance = (_chance(each),) if drawn else ()
    return each.slot, each.action, each.treatment, each.group, f"{each.priority:.6g}", *chance, why


def _drawn(told: Iterable[_Told]) -> bool:
    """Whether anything of it was left to chance."""
    return any(0.0 < each.propensity_logging < 1.0 for each in told)


def _chance(each: _Told) -> str:
    """Empty for what could not be drawn."""
    return f"{100 * each.propensity_logging:.4g}%" if each.propensity_logging else ""


def _explanation(explanation: decision_pb2.PlacementExplanation) -> object:
    drawn = _drawn(explanation.candidates)
    rows = [
        (*_candidate(each), *([_chance(each)] if drawn else ())) for each in explanation.candidates
    ]
    columns = ("candidate", "fate", "priority#", "because", *(("first slot#",) if drawn else ()))
    return table(f"{explanation.placement}: every candidate", columns, rows)


def _candidate(each: decision_pb2.CandidateExplanation) -> tuple[object, ...]:
    return each.action, _FATES.get(each.fate, str(each.fate)), _priority(each), _detail(each)


def _priority(each: decision_pb2.CandidateExplanation) -> str:
    """Empty for what was dropped before it got one."""
    return f"{each.priority:.6g}" if each.factors else ""


def _detail(each: decision_pb2.CandidateExplanation) -> str:
    """The factors that are not 1, whatever formula joins them, or the condition that failed."""
    if each.factors and not each.condition:
        factors = {name: value for name, value in each.factors.items() if value != 1.0}
        return ", ".join(f"{name} {factors[name]:.6g}" for name in sorted(factors))
    if each.fate == decision_pb2.FATE_CONTACT_POLICY:
        return _contact(each)
    if each.fate in {decision_pb2.FATE_NO_CONSENT, decision_pb2.FATE_CONSENT_STALE}:
        return each.condition
    return _held_back(each)


def _held_back(each: decision_pb2.CandidateExplanation | decision_pb2.TriggerExplanation) -> str:
    """The condition that does not hold, and what it lacks."""
    failed = f"not: {each.condition}" if each.condition else ""
    missing = f" ({each.missing} is unset)" if each.missing else ""
    return f"{failed}{missing} {each.error}".strip()


def _contact(each: decision_pb2.CandidateExplanation) -> str:
    """The rule of the contact policy, and how far it is used up."""
    counted = f": {each.counted:,} of {each.limit:,}" if each.limit else ""
    if each.reserved:
        counted += f", {each.reserved:,} of them reserved"
    if each.HasField("budget"):
        counted = _budget(each.budget)
    wrong = f": {each.missing}: {each.error}" if each.error else ""
    return f"{each.condition}{counted}{wrong}"


def _budget(has: decision_pb2.BudgetExplanation) -> str:
    """What the node has of a budget."""
    waits = "; waits for more" if has.waits else ""
    paced = "; paced" if has.paced else ""
    amounts = f"used {has.used:,g}, held {has.held:,g}, left {has.left:,g} of {has.max:,g}"
    return f": {amounts}{waits}{paced}"


def _why(entry: decision_pb2.LedgerEntry) -> str:
    missing = f" ({entry.missing} is unset)" if entry.missing else ""
    return entry.condition + missing
