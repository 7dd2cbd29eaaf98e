"""Segments, scorecards, grades and stages: their references resolved, their rules compiled."""

from __future__ import annotations

import dataclasses
import itertools

from nextbest.core.playbook.plan import (
    Aggregate,
    Counter,
    Grade,
    Scorecard,
    ScoreRule,
    Segment,
    Transition,
)
from nextbest.server.playbook import limits, model
from nextbest.server.playbook.canonical import one_line
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scope import Scope
from nextbest.server.playbook.shapes import Text, unknown
from nextbest.server.playbook.tables import counter_key, hidden_counter


def segments(playbook: Playbook, scope: Scope) -> tuple[Segment, ...]:
    """The segments by name."""
    return tuple(
        Segment(str(name), scope.gate(texts, f"segment {name}"))
        for name, texts in sorted(playbook.segments.items())
    )


def scorecards(playbook: Playbook, scope: Scope) -> tuple[Scorecard, ...]:
    """The scorecards in the playbook's order, which answers keep."""
    return tuple(_scorecard(name, spec, scope) for name, spec in playbook.scores.items())


def _scorecard(name: Text, spec: model.ScorecardSpec, scope: Scope) -> Scorecard:
    if spec.min > spec.max:
        at = spec.at.value("min")
        scope.faults.add(at.fault(f"min of {name}", f"at most its max, {spec.max}"))
    rules = []
    for number, rule in enumerate(spec.rules):
        if rule.on is None and "on" in rule.at.keys:
            continue  # What it counts has a fault: the rest cannot be judged.
        if rule.on is None:
            rules.append(_plain_rule(name, rule, scope))
        else:
            rules.append(_event_rule(name, spec, number, rule, scope))
    return Scorecard(str(name), tuple(rules), spec.min, spec.max)


def _text(texts: tuple[Text, ...]) -> str:
    lines = [one_line(text) for text in texts]
    return lines[0] if len(lines) == 1 else " && ".join(f"({line})" for line in lines)


def _plain_rule(name: Text, rule: model.RuleSpec, scope: Scope) -> ScoreRule:
    what = f"rule {rule.reason} of {name}"
    for word in ("half_life", "window"):
        if word in rule.at.keys:
            at = rule.at.keys[word]
            scope.faults.add(at.fault(what, f"{word} only with on: EVENT", word))
    if not rule.when:
        scope.faults.add(rule.at.node.fault(what, "when: a condition, or on: an event", "neither"))
    conditions = scope.gate(rule.when, what)
    points, expression = 0, -1
    if isinstance(rule.points, int):
        points = rule.points
    else:
        expression = scope.expression(rule.points, f"points of {what}")
    return ScoreRule(
        str(rule.reason), _text(rule.when), conditions, points, expression, max=rule.max
    )


def _event_rule(
    name: Text, card: model.ScorecardSpec, number: int, rule: model.RuleSpec, scope: Scope
) -> ScoreRule:
    """Points for each event: a count of events by day, kept by a hidden counter."""
    what = f"rule {rule.reason} of {name}"
    assert rule.on is not None
    event = scope.tables.event(rule.on, f"on of {what}", scope.faults)
    half_life = card.half_life if rule.half_life is None else rule.half_life
    window = _window(rule, half_life, what, scope)
    points = rule.points
    if not isinstance(points, int):
        allowed = "a whole number for a rule on events"
        scope.faults.add(rule.at.value("points").fault(f"points of {what}", allowed))
        points = 0
    counter = -1
    if event is not None:
        counter = _hidden_counter(f"@score.{name}.{number}", event, window, rule, what, scope)
    return ScoreRule(
        reason=str(rule.reason),
        text=_text(rule.when) if rule.when else "",
        points=points,
        counter=counter,
        half_life_s=half_life,
        max=rule.max,
    )


def _window(rule: model.RuleSpec, half_life: int, what: str, scope: Scope) -> int:
    """The rule's window in seconds; a decaying rule needs one that ends."""
    if rule.window is None:
        days = -(-half_life * limits.HALF_LIVES // limits.DAY_S)
        return min(days * limits.DAY_S, limits.RULE_WINDOW_S_MAX)
    if rule.window == 0 and half_life:
        allowed = "a span such as 90d, or half_life: none"
        scope.faults.add(rule.at.value("window").fault(f"window of {what}", allowed))
    return rule.window


def _hidden_counter(
    name: str, event: int, window: int, rule: model.RuleSpec, what: str, scope: Scope
) -> int:
    """The index of a counter of the rule's events; rules that count the same share it."""
    resolution = limits.DAY_S if window else 0
    counter = Counter(
        name=name,
        key=b"",
        event=event,
        aggregate=Aggregate.COUNT,
        window_s=window,
        resolution_s=resolution,
        filter=scope.event_filter(event, rule.when, what),
    )
    text = _text(rule.when) if rule.when else ""
    at = rule.at.node
    return hidden_counter(counter, text, "score rules", scope.tables, at, scope.faults)


def grades(playbook: Playbook, scope: Scope) -> tuple[Grade, ...]:
    """The grades in the playbook's order; one that refers to no scorecard is left out."""
    found = []
    index = {str(name): number for number, name in enumerate(playbook.scores)}
    for name, spec in playbook.grades.items():
        sides = []
        for side, part in (("fit", spec.fit), ("engagement", spec.engagement)):
            score = _reference(part.score, index, f"score of {name}.{side}", scope)
            if len(part.bands) < len(part.at.value("bands").entries):
                scope.faults.unnamed.add(f"grade {name}")
            sides.append((score, _bands(f"{name}.{side}", part, scope)))
        (fit, fit_bands), (engagement, engagement_bands) = sides
        found.append(Grade(str(name), fit, fit_bands, engagement, engagement_bands))
    return tuple(found)


def _bands(
    what: str, part: model.FitSpec | model.EngagementSpec, scope: Scope
) -> tuple[tuple[str, int], ...]:
    """The bands, the best first."""
    bands = sorted(part.bands.items(), key=lambda band: -band[1])
    if not part.at.value("bands").entries:
        allowed = "at least one band"
        scope.faults.add(part.at.value("bands").fault(f"bands of {what}", allowed))
    for (first, points), (second, same) in itertools.pairwise(bands):
        if points == same:
            allowed = f"points of its own; band {first} has {points}"
            scope.faults.add(second.node.fault(f"band of {what}", allowed))
    return tuple((str(name), points) for name, points in bands)


def _reference(name: Text, index: dict[str, int], what: str, scope: Scope) -> int:
    if name not in index:
        unknown(name, what, index, scope.faults)
    return index.get(name, 0)


def stages(playbook: Playbook, scope: Scope) -> tuple[tuple[str, ...], tuple[Transition, ...]]:
    """The lifecycle's stages and the transitions in the playbook's order."""
    spec = playbook.stages
    if spec is None:
        return (), ()
    index: dict[str, int] = {}
    for name in spec.names:
        if name in index:
            scope.faults.add(name.node.fault("duplicate stage", "each stage once"))
        index.setdefault(str(name), len(index))
    found = []
    for step in spec.transitions:
        target = _reference(step.to, index, "to of a transition", scope)
        conditions = scope.gate(step.when, f"transition to {step.to}")
        sources = [_reference(one, index, "from of a transition", scope) for one in step.source]
        for source in sources or [-1]:
            found.append(Transition(source, target, conditions))
    return tuple(index), tuple(found)


def visible_counters(playbook: Playbook, scope: Scope) -> None:
    """Fill in the filters and keys of the counters that the schema declares."""
    keys: dict[bytes, Text] = {}
    counters = scope.tables.counters
    for index, name in enumerate(sorted(playbook.counters)):
        spec = playbook.counters[name]
        counter = counters[index]
        texts = () if spec.where is None else (spec.where,)
        filter_ = None
        if counter.event >= 0:
            filter_ = scope.event_filter(counter.event, texts, f"where of {name}")
        text = _text(texts) if texts else ""
        key = counter_key(counter, scope.tables, text)
        if counter.event < 0:
            continue
        if key in keys:
            allowed = f"a definition of its own: {keys[key]} counts the same"
            scope.faults.add(name.node.fault("counter", allowed))
        keys.setdefault(key, name)
        counters[index] = dataclasses.replace(counter, key=key, filter=filter_)
