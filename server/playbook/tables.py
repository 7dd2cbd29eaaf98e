"""The schema's tables: attributes, events, context fields, and the counters over events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from nextbest.core.playbook.plan import Aggregate, Attribute, Counter, Event, Field, ValueType
from nextbest.server.playbook import limits, model, values
from nextbest.server.playbook.canonical import digest
from nextbest.server.playbook.faults import Faults, one_of
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scalars import span_text
from nextbest.server.playbook.shapes import MISSING, Text, unknown
from nextbest.server.playbook.source import Node

TIME: Final = "time"  # every event's own time, always its last property
STAGE_ATTRIBUTE: Final = "@stage"
# The engine's own event: a decision read the variant of an experiment.  Callers may track it, too.
EXPOSURE: Final = "exposure"
_EXPOSURE_PROPERTIES: Final = {"experiment": ValueType.STRING, "variant": ValueType.STRING}
# Those that tell of a segment, a grade or the stage that a person has crossed.  Nobody else may.
_SEGMENT_PROPERTIES: Final = ("segment", "cause")
CROSSINGS: Final = {
    "segment_entered": _SEGMENT_PROPERTIES,
    "segment_left": _SEGMENT_PROPERTIES,
    "grade_changed": ("grade", "from", "to", "cause"),
    "stage_changed": ("from", "to", "cause"),
}
# What of triggers.yaml has each of them told.
_TOLD_BY: Final = {
    "segment_entered": "segments",
    "segment_left": "segments",
    "grade_changed": "grades",
    "stage_changed": "stage",
}
_NUMBERS: Final = (ValueType.INT, ValueType.DOUBLE)
_ORDERED: Final = (*_NUMBERS, ValueType.TIMESTAMP)
_SINGLE: Final = (*_ORDERED, ValueType.BOOL, ValueType.STRING)
_AGGREGATE_TYPES: Final = {
    "sum": _NUMBERS,
    "min": _ORDERED,
    "max": _ORDERED,
    "first": _SINGLE,
    "last": _SINGLE,
    "last_n": (ValueType.STRING, ValueType.DOUBLE),
    "distinct": _SINGLE,
}
_RESOLUTIONS: Final = {3_600: 300, 7 * limits.DAY_S: 6 * 3_600, 30 * limits.DAY_S: limits.DAY_S}
_STEPS: Final = tuple(
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800]
    + [3_600 * hours for hours in (1, 2, 3, 6, 12)]
    + [limits.DAY_S * days for days in (1, 2, 3, 5, 7, 10, 14, 30, 60, 120)]
)


def camel(name: str) -> str:
    """A name as JSON has it: a message cannot have two fields of one such name."""
    first, *rest = [part for part in name.split("_") if part] or [""]
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def check_alike(names: Iterable[Text], what: str, faults: Faults) -> None:
    """Refuse names of one kind that differ in nothing but underscores."""
    taken: dict[str, Text] = {}
    for name in names:
        first = taken.setdefault(camel(name), name)
        if first != name:
            allowed = f"a name that differs from {first} in more than underscores"
            faults.add(name.node.fault(what, allowed))


@dataclass(slots=True)
class Tables:
    """What names in expressions and rules refer to, by name and by index."""

    attributes: list[Attribute] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    event_index: dict[str, int] = field(default_factory=dict)
    context: list[Field] = field(default_factory=list)
    counters: list[Counter] = field(default_factory=list)
    counter_names: list[Text] = field(default_factory=list)

    def event(self, name: Text, what: str, faults: Faults) -> int | None:
        """An event's index; None after a fault."""
        if name in self.event_index:
            return self.event_index[name]
        self.unknown_event(name, name.node, what, faults)
        return None

    def unknown_event(self, name: str, node: Node, what: str, faults: Faults) -> None:
        """A fault for an event that there is not, unless its definition has one already."""
        if name in faults.broken:
            return
        allowed = one_of(name, self.event_index)
        if name in _TOLD_BY:
            allowed += f", or {_TOLD_BY[name]} in triggers.yaml, which have it told"
        faults.add(node.fault(what, allowed))


def schema_tables(playbook: Playbook, faults: Faults) -> Tables:
    """All tables but the counters, each sorted by name since their order has no meaning."""
    found = Tables()
    profile = [*playbook.attributes, *playbook.counters]
    check_alike(profile, "name of an attribute or counter", faults)
    check_alike(playbook.context, "name of a context field", faults)
    check_alike(playbook.segments, "name of a segment", faults)
    check_alike(playbook.scores, "name of a scorecard", faults)
    check_alike(playbook.grades, "name of a grade", faults)
    for name in sorted(playbook.attributes):
        found.attributes.append(_attribute(name, playbook.attributes[name], faults))
    for name, properties in sorted(_events(playbook, faults).items()):
        found.event_index[str(name)] = len(found.events)
        found.events.append(_event(name, properties, faults))
    _crossings(playbook, found, faults)
    found.context = [Field(str(name), type_) for name, type_ in sorted(playbook.context.items())]
    for name in playbook.counters:
        if name in playbook.attributes:
            first = next(other for other in playbook.attributes if other == name).node
            allowed = f"a name that no attribute has; the attribute is at line {first.line}"
            faults.add(name.node.fault("name of a counter", allowed))
    return found


def _events(playbook: Playbook, faults: Faults) -> Mapping[Text, Mapping[Text, ValueType]]:
    """The schema's events, and the engine's own where there are experiments."""
    if not playbook.experiments:
        return playbook.events
    node = next(iter(playbook.experiments)).node
    own = {Text.at(one, node): type_ for one, type_ in _EXPOSURE_PROPERTIES.items()}
    if EXPOSURE not in playbook.events:
        return {**playbook.events, Text.at(EXPOSURE, node): own}
    if playbook.events[Text(EXPOSURE)] != own:
        declared = next(one for one in playbook.events if one == EXPOSURE)
        allowed = "experiment and variant, both of type string: experiments use it"
        faults.add(declared.node.fault(f"properties of {EXPOSURE}", allowed, "others"))
        return {**playbook.events, declared: own}
    return playbook.events


def crossings(playbook: Playbook) -> list[str]:
    """The events of crossings that the playbook's triggers need."""
    triggers = playbook.triggers
    return [] if triggers is None else [e for e, by in _TOLD_BY.items() if getattr(triggers, by)]


def _crossings(playbook: Playbook, found: Tables, faults: Faults) -> None:
    """Add the events of crossings, which come last: no request may name them."""
    for name in crossings(playbook):
        if name in playbook.events:
            declared = next(one for one in playbook.events if one == name)
            allowed = "another name: triggers tell of it"
            faults.add(declared.node.fault("name of an event", allowed))
            continue
        properties = dict.fromkeys(sorted(CROSSINGS[name]), ValueType.STRING)
        fields = tuple(Field(one, type_) for one, type_ in properties.items())
        found.event_index[name] = len(found.events)
        found.events.append(Event(name, (*fields, Field(TIME, ValueType.TIMESTAMP))))


def _attribute(name: Text, spec: model.AttributeSpec, faults: Faults) -> Attribute:
    vector = spec.type is ValueType.VECTOR
    size_node = spec.at.value("size")
    if vector and not spec.size:
        faults.add(size_node.fault(f"vector {name}", "size: the length of the vector", "no size"))
    if spec.size and not vector:
        kind = model.TYPE_NAMES[spec.type]
        faults.add(spec.at.keys["size"].fault(f"size of {name}", f"no size for {kind}", "size"))
    default: object = None
    if spec.default is not None and not spec.default.is_null():
        what = f"default of {name}"
        default = values.typed(spec.default, spec.type, what, faults, spec.size)
    if default is MISSING:
        default = None
    return Attribute(str(name), spec.type, default, spec.pii, spec.size if vector else 0)


def _event(name: Text, properties: Mapping[Text, ValueType], faults: Faults) -> Event:
    fields = []
    check_alike(properties, f"property of {name}", faults)
    for property_, type_ in sorted(properties.items()):
        if property_ == TIME:
            allowed = "another name: every event has its own time"
            faults.add(property_.node.fault(f"property of {name}", allowed))
            continue
        fields.append(Field(str(property_), type_))
    return Event(str(name), (*fields, Field(TIME, ValueType.TIMESTAMP)))


def declare_counters(playbook: Playbook, tables: Tables, faults: Faults) -> None:
    """The schema's counters, sorted by name, still without their filters and keys.

    One with a fault is declared as a count, so that expressions that read it add no faults.
    """
    for name, spec in sorted(playbook.counters.items()):
        key, of = spec.chosen()
        found = _property(key, of, tables, faults)
        if found is None:
            faults.untyped.add(str(name))
        limit = _limit(name, key, spec, faults)
        resolution = _resolution(name, spec, faults)
        aggregate = Aggregate[key.upper()]
        event, property_, type_ = found or (-1, -1, ValueType.INT)
        tables.counters.append(
            Counter(
                name=str(name),
                key=b"",
                event=event,
                aggregate=aggregate,
                property=property_,
                type=type_,
                window_s=spec.window,
                resolution_s=resolution,
                limit=limit,
            )
        )


def _property(
    key: str, of: Text, tables: Tables, faults: Faults
) -> tuple[int, int, ValueType] | None:
    """The event, its property and the property's type."""
    event_name, dot, _ = of.partition(".")
    if event_name not in tables.event_index:
        tables.unknown_event(event_name, of.node, f"event of {key}", faults)
        return None
    event = tables.event_index[event_name]
    if key == "count":
        return event, -1, ValueType.INT
    fields = tables.events[event].properties
    names = [f"{event_name}.{field_.name}" for field_ in fields]
    if not dot or of not in names:
        unknown(of, f"property of {key}", names, faults)
        return None
    index = names.index(of)
    type_ = fields[index].type
    if type_ not in _AGGREGATE_TYPES[key]:
        allowed = ", ".join(model.TYPE_NAMES[one] for one in _AGGREGATE_TYPES[key])
        seen = f"{model.TYPE_NAMES[type_]} {of}"
        faults.add(of.node.fault(f"property of {key}", f"one of type {allowed}", seen))
        return None
    return event, index, type_


def _limit(name: Text, key: str, spec: model.CounterSpec, faults: Faults) -> int:
    """n of last_n and limit of distinct; neither elsewhere."""
    for word, owner in (("n", "last_n"), ("limit", "distinct")):
        if word in spec.at.keys and key != owner:
            at = spec.at.keys[word]
            faults.add(at.fault(f"counter {name}", f"{word} only with {owner}", word))
    if key == "last_n" and "n" not in spec.at.keys:
        faults.add(spec.at.node.fault(f"counter {name}", "n: how many values it keeps", "no n"))
    limit = spec.n if key == "last_n" else 0
    if key == "distinct":
        limit = spec.limit
    return limit


def _resolution(name: Text, spec: model.CounterSpec, faults: Faults) -> int:
    """The stated resolution, or the default for the window, in seconds; 0 for all time."""
    if spec.window == 0:
        if spec.resolution:
            at = spec.at.keys["resolution"]
            allowed = "no resolution for window all"
            faults.add(at.fault(f"counter {name}", allowed, "resolution"))
        return 0
    resolution = spec.resolution or default_resolution(spec.window)
    least = -(-spec.window // limits.BUCKETS_MAX)
    if not least <= resolution <= spec.window:
        allowed = f"from {span_text(least)} to {span_text(spec.window)} for that window"
        faults.add(spec.at.value("resolution").fault(f"resolution of {name}", allowed))
    return resolution


def default_resolution(window_s: int) -> int:
    """The step of a window that states none: the round step nearest to a 28th of it."""
    if window_s in _RESOLUTIONS:
        return _RESOLUTIONS[window_s]
    wanted = window_s / 28
    return min(_STEPS, key=lambda step: max(step / wanted, wanted / step))


def hidden_counter(
    counter: Counter, filter_text: str, owners: str, tables: Tables, at: Node, faults: Faults
) -> int:
    """The index of a counter of the compiler's own, whose key is still to be found.

    Those that count the same share one.  `owners` need such counters, and `at` asks for this one.
    """
    key = counter_key(counter, tables, filter_text)
    for index, other in enumerate(tables.counters):
        if other.key == key:
            return index
    tables.counters.append(replace(counter, key=key))
    count = len(tables.counters)
    if count == limits.COUNTERS_MAX + 1:
        allowed = f"at most {limits.COUNTERS_MAX:,} in all, those of {owners} included"
        faults.add(at.fault("number of counters", allowed, f"{count:,}"))
    return count - 1


def counter_key(counter: Counter, tables: Tables, filter_text: str) -> bytes:
    """Identifies a definition, by names and texts: a counter keeps its values over playbooks."""
    event = tables.events[counter.event] if counter.event >= 0 else None
    property_ = event.properties[counter.property].name if event and counter.property >= 0 else ""
    what = (event.name if event else "", filter_text, counter.aggregate.name, property_)
    numbers = (counter.window_s, counter.resolution_s, counter.limit)
    return digest((*what, counter.type.name, *numbers))
