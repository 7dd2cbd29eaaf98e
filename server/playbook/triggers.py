"""Triggers: which segments, grades and the stage are told as events when a person crosses them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from nextbest.core.playbook.plan import Grade, InputKind, Plan, Segment, Triggers
from nextbest.core.playbook.watch import not_stored, told, watch
from nextbest.server.playbook import limits, model
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scope import Scope
from nextbest.server.playbook.shapes import Text, unknown
from nextbest.server.playbook.source import Node


def know_names(playbook: Playbook, scope: Scope) -> None:
    """Let filters on crossings name only what triggers name."""
    spec = playbook.triggers
    if spec is None:
        return
    segments = _named(spec.segments, playbook.segments)
    grades = _named(spec.grades, playbook.grades)
    stages = [] if playbook.stages is None else [str(one) for one in playbook.stages.names]
    _know("segment_entered", {"segment": segments}, scope)
    _know("segment_left", {"segment": segments}, scope)
    _know("grade_changed", {"grade": grades}, scope)
    _know("stage_changed", {"from": stages, "to": stages}, scope)


def _know(name: str, values: dict[str, Collection[str]], scope: Scope) -> None:
    event = scope.tables.event_index.get(name)
    if event is None:
        return
    names = [one.name for one in scope.tables.events[event].properties]
    scope.known[event] = {names.index(one): found for one, found in values.items() if one in names}


def _named(names: Sequence[Text], known: Iterable[str]) -> list[str]:
    return sorted(map(str, known)) if model.ALL in names else [str(one) for one in names]


def triggers(
    playbook: Playbook, segments: Sequence[Segment], grades: Sequence[Grade], scope: Scope
) -> Triggers | None:
    """What the playbook's triggers name; None without any."""
    spec = playbook.triggers
    if spec is None:
        return None
    if spec.stage and playbook.stages is None:
        at = spec.at.value("stage")
        scope.faults.add(at.fault("stage of triggers", "stages in scores.yaml"))
    events = scope.tables.event_index
    return Triggers(
        segments=_indexes("segments", spec.segments, [one.name for one in segments], scope),
        grades=_indexes("grades", spec.grades, [one.name for one in grades], scope),
        stage=spec.stage,
        entered=events.get("segment_entered", -1) if spec.segments else -1,
        left=events.get("segment_left", -1) if spec.segments else -1,
        grade_changed=events.get("grade_changed", -1) if spec.grades else -1,
        stage_changed=events.get("stage_changed", -1) if spec.stage else -1,
    )


def _indexes(
    kind: str, names: Sequence[Text], known: Sequence[str], scope: Scope
) -> tuple[int, ...]:
    """Where names lie among those known, each once."""
    if model.ALL in names:
        return tuple(range(len(known)))
    for number, name in enumerate(names):
        if name not in known:
            unknown(name, f"{kind} of triggers", known, scope.faults)
        elif name in names[:number]:
            scope.faults.add(name.node.fault(f"{kind} of triggers", "each name once"))
    return tuple(sorted({known.index(name) for name in names if name in known}))


def _name(plan: Plan, kind: InputKind, index: int) -> str:
    """Of a trigger; the stage has none."""
    if kind is InputKind.STAGE:
        return ""
    return plan.segments[index].name if kind is InputKind.SEGMENT else plan.grades[index].name


def _place(spec: model.TriggersSpec, kind: InputKind, name: str) -> Node:
    """Where a trigger is named."""
    if kind is InputKind.STAGE:
        return spec.at.value("stage")
    named = spec.segments if kind is InputKind.SEGMENT else spec.grades
    at = next((one.node for one in named if one in (name, model.ALL)), None)
    return at or spec.at.node


def check(plan: Plan, playbook: Playbook, faults: Faults) -> None:
    """Refuse triggers that no write can know, or that each write would look at too much for."""
    spec = playbook.triggers
    if spec is None:
        return
    unknown_to_writes = not_stored(plan)
    for kind, index in told(plan):
        seen = unknown_to_writes.get((kind, index))
        if seen is not None:
            name = _name(plan, kind, index)
            what = f"{kind.name.lower()} {name}".strip()
            allowed = "only what is stored of a person: a write has no request to read it of"
            at = _place(spec, kind, name)
            faults.add(at.fault(f"{what} of triggers", allowed, f"one that reads {seen}"))
    found = watch(plan)
    plain = found.plain() if found is not None else 0
    if plain > limits.TRIGGER_CONDITIONS_MAX:
        allowed = (
            f"at most {limits.TRIGGER_CONDITIONS_MAX:,} that are no comparison of a value with a "
            "constant, since these are looked at whenever what they read changes"
        )
        faults.add(spec.at.node.fault("conditions of triggers", allowed, f"{plain:,}"))
