"""Experiments, holdouts and layers: their references resolved, their weights made ranges."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from nextbest.core.playbook.plan import (
    Aggregate,
    Bucketing,
    Counter,
    Experiment,
    Holdout,
    Input,
    InputKind,
    Layer,
    Range,
    Reading,
    ValueType,
    Variant,
)
from nextbest.server.playbook import limits, trials
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.ranges import equal_weights, ranges_of
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scope import Scope
from nextbest.server.playbook.shapes import MISSING, Text, unknown
from nextbest.server.playbook.source import Node
from nextbest.server.playbook.tables import EXPOSURE, Tables, check_alike, hidden_counter

_KEY_TYPES = (ValueType.STRING, ValueType.INT)


def readings(playbook: Playbook, faults: Faults) -> tuple[Reading, ...]:
    """What expressions read as experiment.NAME: each experiment's variant, then its factors."""
    found = []
    names: list[Text] = []
    for number, (name, spec) in enumerate(sorted(playbook.experiments.items())):
        variants = _variant_names(spec)
        found.append(Reading(str(name), number, tuple(variants)))
        names.append(name)
        combinations = list(itertools.product(*(spec.factors or {}).values()))
        for place, factor in enumerate(spec.factors or ()):
            texts = tuple(str(levels[place]) for levels in combinations)
            found.append(Reading(f"{name}_{factor}", number, texts))
            names.append(Text.at(f"{name}_{factor}", factor.node))
    check_alike(names, "name of an experiment", faults)
    for name in names:
        if names.count(name) > 1:
            allowed = "a name that no other experiment, or one with its factor, has"
            faults.add(name.node.fault("name of an experiment", allowed, f"{name} twice"))
    return tuple(found)


def _variant_names(spec: trials.ExperimentSpec) -> list[str]:
    if spec.variants is not None:
        return [str(name) for name in spec.variants]
    return ["_".join(levels) for levels in itertools.product(*(spec.factors or {}).values())]


def holdouts(playbook: Playbook, scope: Scope) -> tuple[Holdout, ...]:
    """The holdouts by name."""
    return tuple(
        Holdout(
            str(name),
            _bucketing(f"holdout {name}", spec.salt or name, spec, scope),
            spec.share / limits.BUCKETS,
        )
        for name, spec in sorted(playbook.holdouts.items())
    )


def held_out_of_actions(playbook: Playbook, scope: Scope) -> tuple[int, ...]:
    """The conditions that keep holdouts of actions out of every action."""
    texts = [
        Text.at(f"!holdout.{name}", name.node)
        for name, spec in sorted(playbook.holdouts.items())
        if spec.of == "actions"
    ]
    return scope.gate(texts, "holdouts")


def experiments(playbook: Playbook, scope: Scope) -> tuple[Experiment, ...]:
    """The experiments by name."""
    found = tuple(
        _experiment(name, spec, playbook, scope)
        for name, spec in sorted(playbook.experiments.items())
    )
    _check_layers(playbook, scope.faults)
    return found


def _experiment(
    name: Text, spec: trials.ExperimentSpec, playbook: Playbook, scope: Scope
) -> Experiment:
    what = f"experiment {name}"
    key = str(name) if spec.version == 1 else f"{name}.{spec.version}"
    return Experiment(
        name=str(name),
        key=key,
        bucketing=_bucketing(what, spec.salt or name, spec, scope),
        variants=_variants(name, spec, scope.faults) or _unweighted(spec),
        audience=scope.gate(spec.audience, f"audience of {name}"),
        layer=_layer(name, spec, playbook, scope),
        holdouts=_holdouts(name, spec, playbook, scope.faults),
        sticky=_sticky(name, key, scope) if spec.sticky else -1,
    )


def _bucketing(
    what: str,
    salt: Text,
    spec: trials.ExperimentSpec | trials.HoldoutSpec | trials.LayerSpec,
    scope: Scope,
) -> Bucketing:
    if list(map(str, spec.bucket_by)) in ([], [trials.IDENTITY]):
        return Bucketing(str(salt), spec.hash)
    slots = [_key_slot(name, what, scope) for name in spec.bucket_by]
    return Bucketing(str(salt), spec.hash, tuple(slot for slot in slots if slot >= 0))


def _key_slot(name: Text, what: str, scope: Scope) -> int:
    """The input slot of a bucketing key; -1 after a fault."""
    known = {
        one.name: slot
        for slot, one in enumerate(scope.inputs)
        if one.kind in (InputKind.ATTRIBUTE, InputKind.CONTEXT) and _is_key(scope.tables, one)
    }
    if name == trials.IDENTITY:
        scope.faults.add(name.node.fault(f"bucket_by of {what}", "identity alone, or fields"))
        return -1
    if name not in known:
        unknown(name, f"bucket_by of {what}", [*known, trials.IDENTITY], scope.faults)
    return known.get(name, -1)


def _is_key(tables: Tables, one: Input) -> bool:
    if one.kind is InputKind.ATTRIBUTE:
        return tables.attributes[one.index].type in _KEY_TYPES
    return tables.context[one.index].type in _KEY_TYPES


def _unweighted(spec: trials.ExperimentSpec) -> tuple[Variant, ...]:
    """Variants that have a fault: known by their names, so that no other place has one for it."""
    return tuple(Variant(name, ()) for name in _variant_names(spec))


def _variants(name: Text, spec: trials.ExperimentSpec, faults: Faults) -> tuple[Variant, ...]:
    """The variants with their ranges; none after a fault."""
    parts = [spec.variants or {}, *(spec.factors or {}).values(), *spec.earlier]
    if any(one is MISSING for part in parts for one in part.values()):
        return ()
    given = spec.variants if spec.variants is not None else _combined(name, spec, faults)
    if given is None:
        return ()
    if len(given) < 2 or len(given) > limits.VARIANTS_MAX:
        allowed = f"2 to {limits.VARIANTS_MAX} variants"
        faults.add(name.node.fault(f"variants of {name}", allowed, f"{len(given):,}"))
        return ()
    if any(isinstance(one, tuple) for one in given.values()):
        return _given_ranges(name, spec, given, faults)
    equal = all(one is None for one in given.values())
    weights = equal_weights(list(given)) if equal else {k: v or 0 for k, v in given.items()}
    phases = [{str(k): v for k, v in one.items()} for one in (*spec.earlier, weights)]
    if not all(_whole(name, phase, spec, faults) for phase in phases):
        return ()
    found = ranges_of(phases, spec.coverage, equal, spec.hash)
    return tuple(Variant(one, found[one]) for one in phases[-1])


def _whole(
    name: Text, weights: Mapping[Any, int], spec: trials.ExperimentSpec, faults: Faults
) -> bool:
    """Whether weights add up to 1; else a fault says what they add up to."""
    total = sum(weights.values())
    if total != limits.BUCKETS:
        at = spec.at.value("factors" if spec.factors else "variants")
        seen = f"a sum of {total / limits.BUCKETS:g}"
        faults.add(at.fault(f"weights of {name}", "weights that add up to 1", seen))
    return total == limits.BUCKETS


def _combined(
    name: Text, spec: trials.ExperimentSpec, faults: Faults
) -> dict[str, int | None] | None:
    """The weights of every combination of levels, which are independent; None after a fault."""
    factors: list[dict[str, int]] = []
    for factor, levels in (spec.factors or {}).items():
        equal = all(one is None for one in levels.values())
        weights: dict[str, int] = {str(level): share or 0 for level, share in levels.items()}
        if equal:
            weights = equal_weights(list(weights))
        if not _whole(Text.at(f"{name}.{factor}", name.node), weights, spec, faults):
            return None
        factors.append(weights)
    exact = {
        "_".join(levels): _product(
            factor[level] for factor, level in zip(factors, levels, strict=True)
        )
        for levels in itertools.product(*factors)
    }
    return dict(_rounded(exact))


def _product(shares: Iterable[int]) -> Fraction:
    product = Fraction(limits.BUCKETS)
    for share in shares:
        product *= Fraction(share, limits.BUCKETS)
    return product


def _rounded(exact: Mapping[str, Fraction]) -> dict[str, int]:
    """Whole weights of the same sum, by largest remainders."""
    found = {name: int(share) for name, share in exact.items()}
    missing = int(sum(exact.values())) - sum(found.values())
    for name in sorted(exact, key=lambda one: found[one] - exact[one])[:missing]:
        found[name] += 1
    return found


def _given_ranges(
    name: Text, spec: trials.ExperimentSpec, given: Mapping[Any, Any], faults: Faults
) -> tuple[Variant, ...]:
    """Variants whose ranges the author gives; they must not overlap."""
    at = spec.at.value("variants")
    found = []
    taken: list[tuple[int, int]] = []
    for variant, ranges in given.items():
        if not isinstance(ranges, tuple):
            allowed = "ranges for every variant, or a weight for every variant"
            faults.add(variant.node.fault(f"variants of {name}", allowed, "both"))
            return ()
        found.append(Variant(str(variant), tuple(_range(one) for one in ranges)))
        taken += ranges
    if spec.earlier or spec.coverage != limits.BUCKETS:
        faults.add(at.fault(f"variants of {name}", "no earlier and no coverage beside ranges"))
    _check_apart(taken, f"ranges of {name}", at, faults)
    return tuple(found)


def _range(pair: Sequence[int]) -> Range:
    start, end = pair
    return Range(start / limits.BUCKETS, end / limits.BUCKETS)


def _check_apart(ranges: Iterable[tuple[int, int]], what: str, node: Node, faults: Faults) -> None:
    """Report ranges that are empty or overlap."""
    end = 0
    for one in sorted(ranges):
        if one[0] >= one[1] or one[0] < end:
            seen = f"{one[0] / limits.BUCKETS:g} to {one[1] / limits.BUCKETS:g}"
            allowed = "ranges that go up and do not overlap"
            faults.add(node.fault(what, allowed, seen))
        end = max(end, one[1])


def _layer(
    name: Text, spec: trials.ExperimentSpec, playbook: Playbook, scope: Scope
) -> Layer | None:
    if spec.layer is None:
        return None
    layers = {str(one): layer for one, layer in playbook.layers.items()}
    if spec.layer.name not in layers:
        unknown(spec.layer.name, f"layer of {name}", layers, scope.faults)
        return None
    layer = layers[spec.layer.name]
    salt = layer.salt or spec.layer.name
    bucketing = _bucketing(f"layer {spec.layer.name}", salt, layer, scope)
    return Layer(bucketing, _range(spec.layer.range))


def _check_layers(playbook: Playbook, faults: Faults) -> None:
    """The parts of a layer must not overlap: nobody is in two of its experiments."""
    for layer in playbook.layers:
        members = [
            spec.layer
            for spec in playbook.experiments.values()
            if spec.layer is not None and spec.layer.name == layer
        ]
        if members:
            parts = [(one.range[0], one.range[1]) for one in members]
            _check_apart(parts, f"parts of layer {layer}", members[-1].at.node, faults)


def _holdouts(
    name: Text, spec: trials.ExperimentSpec, playbook: Playbook, faults: Faults
) -> tuple[int, ...]:
    index = {str(one): number for number, one in enumerate(sorted(playbook.holdouts))}
    if spec.holdouts is None:
        return tuple(index.values())
    for one in spec.holdouts:
        if one not in index:
            unknown(one, f"holdout of {name}", index, faults)
    return tuple(index[one] for one in spec.holdouts if one in index)


def _sticky(name: Text, key: str, scope: Scope) -> int:
    """The counter of the variant that a person was first exposed to; a join over nodes and ids."""
    tables = scope.tables
    event = tables.event_index[EXPOSURE]
    names = [one.name for one in tables.events[event].properties]
    text = Text.at(f'event.experiment == "{key}"', name.node)
    counter = Counter(
        name=f"@experiment.{key}",
        key=b"",
        event=event,
        aggregate=Aggregate.FIRST,
        property=names.index("variant"),
        type=ValueType.STRING,
        filter=scope.event_filter(event, (text,), f"experiment {name}"),
    )
    return hidden_counter(counter, text, "experiments", tables, name.node, scope.faults)
