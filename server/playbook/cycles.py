"""Cycles: segments, scores, grades, experiments and the stage that would read themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nextbest.core.playbook.plan import (
    Experiment,
    Grade,
    Input,
    InputKind,
    Scorecard,
    ScoreRule,
    Segment,
    Transition,
)
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scope import Scope
from nextbest.server.playbook.shapes import Text
from nextbest.server.playbook.source import Node

_DERIVED = (
    InputKind.SEGMENT,
    InputKind.SCORE,
    InputKind.GRADE,
    InputKind.STAGE,
    InputKind.EXPERIMENT,
)


def check_cycles(
    playbook: Playbook,
    scope: Scope,
    segments: Sequence[Segment],
    scorecards: Sequence[Scorecard],
    grades: Sequence[Grade],
    transitions: Sequence[Transition],
    experiments: Sequence[Experiment],
) -> None:
    """Report each cycle once, at the first of its members."""
    edges: dict[str, list[str]] = {}
    for segment in segments:
        edges[f"segment.{segment.name}"] = _reads(scope, segment.conditions)
    for card in scorecards:
        reads = [name for rule in card.rules for name in _rule_reads(scope, rule)]
        edges[f"score.{card.name}"] = reads
    for grade in grades:
        sides = [scorecards[grade.fit], scorecards[grade.engagement]] if scorecards else []
        edges[f"grade.{grade.name}"] = [f"score.{card.name}" for card in sides]
    if playbook.stages is not None:
        steps = [name for step in transitions for name in _reads(scope, step.conditions)]
        edges["stage"] = steps
    for trial in experiments:
        edges[f"experiment.{trial.name}"] = _reads(scope, trial.audience)
    for cycle in _cycles(edges):
        node = _place(playbook, cycle[0])
        seen = " reads ".join([*cycle, cycle[0]])
        allowed = "nothing that reads itself, directly or through others"
        scope.faults.add(node.fault("cycle", allowed, seen))


def _reads(scope: Scope, conditions: Iterable[int]) -> list[str]:
    return [
        _read(scope, scope.inputs[slot])
        for index in conditions
        for slot in scope.conditions[index].slots
        if scope.inputs[slot].kind in _DERIVED
    ]


def _read(scope: Scope, one: Input) -> str:
    """The name of what an input is derived by; a factor's level is its experiment's."""
    if one.kind is not InputKind.EXPERIMENT:
        return one.name
    number = scope.readings[one.index].experiment
    first = next(each for each in scope.readings if each.experiment == number)
    return f"experiment.{first.name}"


def _rule_reads(scope: Scope, rule: ScoreRule) -> list[str]:
    found = _reads(scope, rule.conditions)
    if rule.expression >= 0:
        slots = scope.expressions[rule.expression].slots
        inputs = [scope.inputs[slot] for slot in slots]
        found += [_read(scope, one) for one in inputs if one.kind in _DERIVED]
    return found


def _cycles(edges: dict[str, list[str]]) -> list[list[str]]:
    """One cycle for each edge that closes one, without recursion: chains may be long."""
    found = []
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        on_path: dict[str, int] = {}
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, step = stack.pop()
            if step == 0:
                if name in done:
                    continue
                on_path[name] = len(path)
                path.append(name)
            targets = edges.get(name, [])
            if step < len(targets):
                stack.append((name, step + 1))
                target = targets[step]
                if target in on_path:
                    found.append(path[on_path[target] :])
                elif target not in done:
                    stack.append((target, 0))
                continue
            done.add(name)
            path.pop()
            del on_path[name]
    return found


def _place(playbook: Playbook, name: str) -> Node:
    kind, _, rest = name.partition(".")
    if kind == "stage" and playbook.stages is not None:
        return playbook.stages.at.node
    names: dict[str, Iterable[Text]] = {
        "segment": playbook.segments,
        "score": playbook.scores,
        "grade": playbook.grades,
        "experiment": playbook.experiments,
    }
    return next(other for other in names[kind] if other == rest).node
