"""Actions and placements: their references resolved, their conditions and factors compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from nextbest.core.expression.code import Code
from nextbest.core.playbook.plan import (
    Action,
    DegradeTo,
    Exploration,
    ExplorationKind,
    Factor,
    Field,
    InputKind,
    Placement,
    Treatment,
    ValueType,
)
from nextbest.server.playbook import consent, limits, model, values
from nextbest.server.playbook.canonical import one_line
from nextbest.server.playbook.experiments import held_out_of_actions
from nextbest.server.playbook.faults import Faults, Severity
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scope import FACTORS, Scope, Want, World
from nextbest.server.playbook.shapes import MISSING, Text, unknown
from nextbest.server.playbook.tables import check_alike

# Tells whether a code is true for an action's attributes, the first of which is in the slot
# given; an error is not true.
Holds = Callable[[Code, Sequence[object], int], bool]


def action_attributes(playbook: Playbook, faults: Faults) -> tuple[Field, ...]:
    """The attributes that actions have, sorted by name, each of one type over all actions."""
    types: dict[Text, ValueType] = {}
    for spec in playbook.actions.values():
        for name, node in spec.attributes.items():
            type_ = values.guess(node)
            if type_ is None:
                faults.add(node.fault(f"action attribute {name}", "a value"))
                faults.broken.add(str(name))
                continue
            known = types.setdefault(name, type_)
            if {known, type_} == {ValueType.INT, ValueType.DOUBLE}:
                types[name] = ValueType.DOUBLE
            elif known is not type_:
                first = next(other for other in types if other == name).node
                place = f"{first.source.path}:{first.line}"
                allowed = f"a value of type {model.TYPE_NAMES[known]} as at {place}"
                faults.add(node.fault(f"action attribute {name}", allowed))
    check_alike(types, "name of an action attribute", faults)
    if len(types) > limits.ACTION_ATTRIBUTES_MAX:
        node = list(types)[limits.ACTION_ATTRIBUTES_MAX].node
        allowed = f"at most {limits.ACTION_ATTRIBUTES_MAX} over all actions"
        faults.add(node.fault("number of action attributes", allowed, f"{len(types):,}"))
    return tuple(Field(str(name), type_) for name, type_ in sorted(types.items()))


def actions(playbook: Playbook, fields: Sequence[Field], scope: Scope) -> tuple[Action, ...]:
    """The actions in the playbook's order."""
    held_out = held_out_of_actions(playbook, scope)
    return tuple(
        replace(
            _action(name, spec, fields, scope, held_out),
            consents=consent.needed(spec.consents, str(name), playbook, scope),
        )
        for name, spec in playbook.actions.items()
    )


def _action(
    name: Text,
    spec: model.ActionSpec,
    fields: Sequence[Field],
    scope: Scope,
    held_out: tuple[int, ...],
) -> Action:
    start, end = _validity(name, spec, scope)
    if spec.group is None and "group" in spec.at.keys:
        scope.faults.unnamed.add("group")
    eligibility = scope.gate(spec.eligibility, f"eligibility of {name}")
    return Action(
        name=str(name),
        group=str(spec.group or ""),
        eligibility=tuple(dict.fromkeys((*held_out, *eligibility))),
        applicability=scope.gate(spec.applicability, f"applicability of {name}"),
        suitability=scope.gate(spec.suitability, f"suitability of {name}"),
        factors=tuple(_factor(name, spec, word, scope) for word in FACTORS),
        attributes=tuple(_attribute(spec, one, scope.faults) for one in fields),
        treatments=_treatments(name, spec, scope),
        valid_from_us=start,
        valid_until_us=end,
    )


def _validity(name: Text, spec: model.ActionSpec, scope: Scope) -> tuple[int, int]:
    """From and until in microseconds since 1970; 0 is open, so 1970 itself is moved by one."""
    if spec.valid is None:
        return 0, 0
    start, end = spec.valid.source, spec.valid.until
    if start is not None and end is not None and start >= end:
        at = spec.valid.at.value("until")
        scope.faults.add(at.fault(f"validity of {name}", "a moment after its from"))
    return (0 if start is None else start or 1), (0 if end is None else end or 1)


def _factor(name: Text, spec: model.ActionSpec, word: str, scope: Scope) -> float | int | None:
    value: float | Text | None = getattr(spec, word)
    if isinstance(value, str):
        return scope.expression(value, f"{word} of {name}")
    if value is not None and word == Factor.PROPENSITY_OUTCOME.name.lower() and not 0 <= value <= 1:
        scope.faults.add(spec.at.value(word).fault(f"{word} of {name}", "a number from 0 to 1"))
    return value


def _attribute(spec: model.ActionSpec, one: Field, faults: Faults) -> object:
    for name, node in spec.attributes.items():
        if name != one.name or node.is_null():
            continue
        whole = (ValueType.INT,) if one.type is ValueType.DOUBLE else ()
        if values.guess(node) not in (one.type, *whole):
            return None  # of another type than the other actions', which is a fault already
        value = values.typed(node, one.type, f"action attribute {name}", faults)
        return None if value is MISSING else value
    return None


def _treatments(name: Text, spec: model.ActionSpec, scope: Scope) -> tuple[Treatment, ...]:
    found: dict[str, Treatment] = {}
    for one in spec.treatments:
        if one.name in found:
            what = f"duplicate treatment of {name}"
            scope.faults.add(one.name.node.fault(what, "each treatment once"))
        found[one.name] = Treatment(
            name=str(one.name),
            channels=tuple(sorted({str(channel) for channel in one.channels})),
            conditions=scope.gate(one.when, f"treatment {one.name} of {name}"),
            content=tuple(sorted((str(key), str(text)) for key, text in one.content.items())),
        )
    return tuple(found.values())


@dataclass(slots=True)
class Offers:
    """What placements refer to."""

    actions: Sequence[Action]
    fields: Sequence[Field]
    scope: Scope
    holds: Holds
    index: dict[str, int] = field(default_factory=dict)
    groups: dict[str, list[int]] = field(default_factory=dict)


def placements(
    playbook: Playbook,
    actions_: Sequence[Action],
    fields: Sequence[Field],
    scope: Scope,
    holds: Holds,
) -> tuple[Placement, ...]:
    """The placements by name."""
    offers = Offers(actions_, fields, scope, holds)
    for index, action in enumerate(actions_):
        offers.index[action.name] = index
        if action.group:
            offers.groups.setdefault(action.group, []).append(index)
    return tuple(
        _placement(name, spec, offers) for name, spec in sorted(playbook.placements.items())
    )


def _placement(name: Text, spec: model.PlacementSpec, offers: Offers) -> Placement:
    candidates = _candidates(name, spec, offers)
    sound = offers.actions and not offers.scope.faults.errors()
    if spec.candidates is not None and sound and not candidates and spec.exploration is None:
        node = spec.candidates.at.node
        allowed = "at least one action, or the placement only ever shows its fallback"
        fault = node.fault(f"candidates of {name}", allowed, "no action")
        offers.scope.faults.add(replace(fault, severity=Severity.WARNING))
    arbitration, text = -1, ""
    if spec.arbitration is not None:
        what = f"arbitration of {name}"
        arbitration = offers.scope.expression(spec.arbitration, what, World.RANKING)
        text = one_line(spec.arbitration)
    most, keys = _diversity(name, spec, candidates, offers)
    fallback = -1
    if spec.fallback is not None:
        fallback = _known(spec.fallback, offers.index, f"fallback of {name}", offers)
    return Placement(
        name=str(name),
        slots=spec.slots,
        channel=str(spec.channel or ""),
        candidates=candidates,
        arbitration=arbitration,
        arbitration_text=text,
        diversity_max=most,
        diversity_by=keys,
        fallback=fallback,
        degrade_to=_degrade_to(name, spec, offers),
        exploration=_exploration(name, spec, candidates, offers),
    )


def _exploration(
    name: Text, spec: model.PlacementSpec, candidates: Sequence[int], offers: Offers
) -> Exploration | None:
    given = spec.exploration
    if given is None:
        return None
    if not candidates and not offers.scope.faults.errors():
        at = spec.at.keys["exploration"]
        allowed = "a placement with candidates to draw from"
        offers.scope.faults.add(at.fault(f"exploration of {name}", allowed, "no action"))
    if given.softmax is not None:
        return Exploration(ExplorationKind.SOFTMAX, given.softmax.temperature)
    return Exploration(ExplorationKind.EPSILON_GREEDY, given.epsilon_greedy or 0.0)


def _degrade_to(name: Text, spec: model.PlacementSpec, offers: Offers) -> DegradeTo:
    if spec.degrade_to is DegradeTo.FALLBACK and spec.fallback is None:
        fault = spec.at.value("degrade_to").fault(
            f"degrade_to of {name}", "none or no_scoring without a fallback", "fallback"
        )
        offers.scope.faults.add(fault)
    return spec.degrade_to


def _known(name: Text, index: dict[str, int], what: str, offers: Offers) -> int:
    if name not in index:
        unknown(name, what, index, offers.scope.faults)
    return index.get(name, -1)


def _candidates(name: Text, spec: model.PlacementSpec, offers: Offers) -> tuple[int, ...]:
    """The union of groups and actions, all when neither is given; then `where`."""
    chosen = spec.candidates
    if chosen is None:
        return tuple(range(len(offers.actions)))
    found: set[int] = set()
    for group in chosen.groups:
        if group not in offers.groups:
            what = f"group of candidates of {name}"
            unknown(group, what, offers.groups, offers.scope.faults, "group")
        found.update(offers.groups.get(group, ()))
    for action in chosen.actions:
        found.add(_known(action, offers.index, f"action of candidates of {name}", offers))
    found.discard(-1)
    if not chosen.groups and not chosen.actions:
        found = set(range(len(offers.actions)))
    if chosen.where is None:
        return tuple(sorted(found))
    what = f"where of candidates of {name}"
    codes = offers.scope.check(chosen.where, Want.CONDITION, what, World.ACTION)
    if not codes:
        return ()
    return tuple(index for index in sorted(found) if _selected(offers, codes, index))


def _selected(offers: Offers, codes: Sequence[Code], index: int) -> bool:
    attributes = offers.actions[index].attributes
    first = next(
        (n for n, one in enumerate(offers.scope.inputs) if one.kind is InputKind.ACTION), 0
    )
    return all(offers.holds(code, attributes, first) for code in codes)


def _diversity(
    name: Text, spec: model.PlacementSpec, candidates: Sequence[int], offers: Offers
) -> tuple[int, tuple[int, ...]]:
    """The bound, and a key for each candidate; one without a value is like no other."""
    if spec.diversity is None:
        return 0, ()
    by = spec.diversity.by
    known = ["group", *(one.name for one in offers.fields)]
    if by not in known:
        what = f"diversity of {name}"
        unknown(by, what, known, offers.scope.faults)
        return 0, ()
    keys: dict[object, int] = {}
    found = []
    for index in candidates:
        action = offers.actions[index]
        value: object = action.group or None
        if by != "group":
            value = action.attributes[known.index(by) - 1]
        token = ("alone", index) if value is None else value
        found.append(keys.setdefault(token, len(keys)))
    return spec.diversity.max, tuple(found)
