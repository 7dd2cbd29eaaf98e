"""Random histories of the log, and the orders in which nodes may come to apply them.

A history is cut by its horizons into stretches: within one, mutations come in any order and any
number of times; what was before a horizon may come again after it.  Publications and roll-backs
come anywhere, so that mutations wait for their playbook.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from nextbest.core.playbook.plan import (
    Aggregate,
    Attribute,
    Counter,
    Event,
    Field,
    Plan,
    ValueType,
)
from nextbest.v1 import common_pb2, mutation_pb2

DAY_S = 86_400
START_S = 1_780_000_000
NOW_US = (START_S + 21 * DAY_S) * 1_000_000
NAMES = ("ann", "bob", "eve")
DEAD_MAX = 2
PROPERTIES = (
    Field("amount", ValueType.DOUBLE),
    Field("product", ValueType.STRING),
    Field("time", ValueType.TIMESTAMP),
)


def counter(
    name: str, aggregate: Aggregate, prop: int = -1, window_s: int = 0, limit: int = 3
) -> Counter:
    return Counter(
        name,
        name.encode().ljust(16, b"\0"),
        event=0,
        aggregate=aggregate,
        property=prop,
        type=PROPERTIES[prop].type if prop >= 0 else ValueType.INT,
        window_s=window_s,
        resolution_s=DAY_S if window_s else 0,
        limit=limit,
    )


COUNT = counter("count", Aggregate.COUNT, -1, 7 * DAY_S)
SUM = counter("sum", Aggregate.SUM, 0, 30 * DAY_S)
LEAST = counter("least", Aggregate.MIN, 0)
MOST = counter("most", Aggregate.MAX, 0, 7 * DAY_S)
FIRST = counter("first", Aggregate.FIRST, 1)
LAST = counter("last", Aggregate.LAST, 1, 7 * DAY_S)
RECENT = counter("recent", Aggregate.LAST_N, 1)
KINDS = counter("kinds", Aggregate.DISTINCT, 1)
TOTAL = counter("total", Aggregate.COUNT)
BEFORE = counter("before", Aggregate.LAST, 1, 14 * DAY_S)
TEXT, AGE = Attribute("plan", ValueType.STRING), Attribute("age", ValueType.INT)
TAGS = Attribute("tags", ValueType.STRING_LIST)


def plan(letter: str, attributes: tuple[Attribute, ...], counters: tuple[Counter, ...]) -> Plan:
    return Plan(
        hash=letter.encode() * 16,
        attributes=attributes,
        events=(Event("buy", PROPERTIES),),
        counters=counters,
    )


# They share events, attributes and counters, in other places; each has some of its own.
PLANS = (
    plan("p", (TEXT, AGE, TAGS), (COUNT, SUM, LEAST, MOST, FIRST, LAST, RECENT, KINDS)),
    plan("q", (TAGS, TEXT), (TOTAL, KINDS, LAST, COUNT, BEFORE)),
    plan("r", (AGE, TEXT, TAGS), (RECENT, TOTAL, SUM)),
)

# A mutation's bytes, or what comes between mutations.
Step = bytes | tuple[str, int]
ANY_PLAN = st.sampled_from(PLANS)
ANY_NAME = st.sampled_from(NAMES)


@dataclass(frozen=True)
class History:
    """Stretches of mutations, and the horizons between them in milliseconds since 1970."""

    stretches: list[list[bytes]]
    horizons: list[int]


def identity(name: str) -> common_pb2.Identity:
    kind = "KNOWN" if name == "ann" else "ANONYMOUS"
    return common_pb2.Identity(kind=f"IDENTITY_KIND_{kind}", id=name)


def value_of(value: object) -> common_pb2.Value:
    if value is None:
        return common_pb2.Value(null_value=0)
    if isinstance(value, list):
        return common_pb2.Value(string_list=common_pb2.StringList(values=value))
    if isinstance(value, int):
        return common_pb2.Value(int_value=value)
    return common_pb2.Value(string_value=str(value))


@st.composite
def mutations(draw: st.DrawFn, dead: int) -> mutation_pb2.Mutation:
    """What the accepting node adds: a stamp, its playbook, the incarnation that it knows.

    `dead` is how many incarnations may have ended, as for what follows.
    """
    return mutation_pb2.Mutation(
        stamp=draw(st.integers(1, 50)),
        playbook=draw(ANY_PLAN).hash,
        incarnation=draw(st.integers(0, dead)),
    )


def uuid7(ms: int, number: int) -> str:
    digits = f"{ms:012x}7000800000000000{number:04x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


@st.composite
def events(draw: st.DrawFn, dead: int = 0, ties: bool = True) -> bytes:
    """An event; without `ties` what it tells is a function of its time."""
    entry = draw(mutations(dead))
    event, half_day, number = entry.event, draw(st.integers(0, 40)), draw(st.integers(0, 8))
    event.identity.CopyFrom(identity(draw(ANY_NAME)))
    event.event = "buy"
    event.occurred_at.seconds = START_S + half_day * DAY_S // 2
    event.occurred_at.nanos = draw(st.sampled_from([0, 300_000_000, 700_000_000]))
    event.event_id = f"e{number}"
    if draw(st.booleans()):
        event.event_id = uuid7((START_S + draw(st.integers(0, 20)) * DAY_S) * 1_000, number)
    event.properties["amount"].double_value = draw(st.sampled_from([0.1, 2.5, -3.0, 1e6]))
    if ties and draw(st.booleans()):
        event.properties["product"].string_value = draw(st.sampled_from("abcde"))
    elif not ties and half_day % 3:
        event.properties["product"].string_value = f"{half_day}.{event.occurred_at.nanos}"
    return entry.SerializeToString()


@st.composite
def writes(draw: st.DrawFn, dead: int) -> bytes:
    entry = draw(mutations(dead))
    entry.attributes.write_id = f"w{draw(st.integers(0, 3))}"
    entry.attributes.identity.CopyFrom(identity(draw(ANY_NAME)))
    possible = {
        "plan": ["free", "pro", None],
        "age": [1, 2, None],
        "tags": [["a"], ["a", "b"], []],
    }
    for name in draw(st.sets(st.sampled_from(sorted(possible)), min_size=1)):
        value = value_of(draw(st.sampled_from(possible[name])))
        entry.attributes.attributes[name].CopyFrom(value)
    return entry.SerializeToString()


@st.composite
def links(draw: st.DrawFn, dead: int) -> bytes:
    entry = draw(mutations(dead))
    first, second = draw(st.permutations(NAMES))[:2]
    entry.second_incarnation = draw(st.integers(0, dead))
    entry.link.write_id = "l"
    entry.link.first.CopyFrom(identity(first))
    entry.link.second.CopyFrom(identity(second))
    entry.link.unlink = draw(st.booleans())
    return entry.SerializeToString()


@st.composite
def erasures(draw: st.DrawFn, dead: int) -> bytes:
    entry = draw(mutations(dead))
    for name in draw(st.lists(ANY_NAME, min_size=1, max_size=2, unique=True)):
        entry.erasure.identities.add(
            identity=identity(name), incarnation=draw(st.integers(0, dead - 1))
        )
    return entry.SerializeToString()


@st.composite
def retries(draw: st.DrawFn, originals: list[bytes], dead: int) -> bytes:
    """The request of another mutation as a node that knows other things would frame it."""
    entry = mutation_pb2.Mutation.FromString(draw(st.sampled_from(originals)))
    again = draw(mutations(dead))
    entry.stamp, entry.playbook = again.stamp, again.playbook
    if draw(st.booleans()):
        entry.incarnation = again.incarnation
    return entry.SerializeToString()


@st.composite
def histories(
    draw: st.DrawFn, ties: bool = True, sizes: tuple[int, int] = (0, 14), horizons_max: int = 2
) -> History:
    horizons = draw(st.lists(st.integers(1, 19), max_size=horizons_max))
    # Much dies where many incarnations are: in some histories none does.
    dead = draw(st.integers(0, DEAD_MAX))
    kinds = [events(dead, ties), events(dead, ties), writes(dead), links(dead)]
    one = st.one_of(*kinds, *([erasures(dead)] if dead else []))
    stretches: list[list[bytes]] = []
    before: list[bytes] = []
    for _ in range(len(horizons) + 1):
        made = draw(st.lists(one, min_size=sizes[0], max_size=sizes[1]))
        before += made
        if before:
            made += draw(st.lists(retries(before, dead), max_size=5))
        stretches.append(made)
    # Within a second, since events are remembered by the second.
    return History(stretches, [(START_S + day * DAY_S) * 1_000 + 500 for day in sorted(horizons)])


@st.composite
def orders(draw: st.DrawFn, history: History) -> list[Step]:
    """One node's way through a history."""
    steps: list[Step] = []
    before: list[bytes] = []
    for number, stretch in enumerate(history.stretches):
        before += stretch
        again = draw(st.lists(st.sampled_from(before), max_size=6)) if before else []
        steps += draw(st.permutations(stretch + again))
        if number < len(history.horizons):
            steps.append(("horizon", history.horizons[number]))
    for number in range(len(PLANS)):
        steps.insert(draw(st.integers(0, len(steps))), ("publish", number))
    for number in draw(st.lists(st.integers(0, len(PLANS) - 1), max_size=3)):
        steps.insert(draw(st.integers(0, len(steps))), ("activate", number))
    return steps


def both_orders(
    made: st.SearchStrategy[History],
) -> st.SearchStrategy[tuple[list[Step], list[Step]]]:
    """Two nodes' ways through one history."""
    return made.flatmap(lambda history: st.tuples(orders(history), orders(history)))
