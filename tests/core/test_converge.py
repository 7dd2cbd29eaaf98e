"""Apply commutes: any order and any repetition of the same mutations ends in one state."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.core import Engine
from nextbest.core.playbook.plan import (
    Aggregate,
    Attribute,
    Counter,
    Event,
    Field,
    Plan,
    ValueType,
)
from nextbest.v1 import common_pb2, event_pb2, mutation_pb2, profile_pb2

DAY_S = 86_400
START_S = 1_780_000_000
NAMES = ("ann", "bob", "eve")
PROPERTIES = (
    Field("amount", ValueType.DOUBLE),
    Field("product", ValueType.STRING),
    Field("time", ValueType.TIMESTAMP),
)


def counter(name: str, aggregate: Aggregate, prop: int, window_s: int = 0) -> Counter:
    resolution = DAY_S if window_s else 0
    return Counter(
        name,
        name.encode().ljust(16, b"\0"),
        event=0,
        aggregate=aggregate,
        property=prop,
        type=PROPERTIES[prop].type if prop >= 0 else ValueType.INT,
        window_s=window_s,
        resolution_s=resolution,
        limit=3,
    )


PLAN = Plan(
    hash=b"p" * 16,
    attributes=(
        Attribute("plan", ValueType.STRING),
        Attribute("age", ValueType.INT),
        Attribute("tags", ValueType.STRING_LIST),
    ),
    events=(Event("buy", PROPERTIES),),
    counters=(
        counter("count", Aggregate.COUNT, -1, 7 * DAY_S),
        counter("sum", Aggregate.SUM, 0, 30 * DAY_S),
        counter("least", Aggregate.MIN, 0),
        counter("most", Aggregate.MAX, 0, 7 * DAY_S),
        counter("first", Aggregate.FIRST, 1),
        counter("last", Aggregate.LAST, 1, 7 * DAY_S),
        counter("recent", Aggregate.LAST_N, 1),
        counter("kinds", Aggregate.DISTINCT, 1),
    ),
)


def mutation(stamp: int) -> mutation_pb2.Mutation:
    return mutation_pb2.Mutation(stamp=stamp, playbook=PLAN.hash)


def value_of(value: object) -> common_pb2.Value:
    if value is None:
        return common_pb2.Value(null_value=0)
    if isinstance(value, list):
        return common_pb2.Value(string_list=common_pb2.StringList(values=value))
    if isinstance(value, int):
        return common_pb2.Value(int_value=value)
    return common_pb2.Value(string_value=str(value))


def identity(name: str) -> common_pb2.Identity:
    kind = "KNOWN" if name == "ann" else "ANONYMOUS"
    return common_pb2.Identity(kind=f"IDENTITY_KIND_{kind}", id=name)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    entry = mutation(draw(st.integers(1, 50)))
    event = entry.event
    event.event_id = f"e{draw(st.integers(0, 8))}"
    event.identity.CopyFrom(identity(draw(st.sampled_from(NAMES))))
    event.event = "buy"
    event.occurred_at.seconds = START_S + draw(st.integers(0, 40)) * DAY_S // 2
    event.properties["amount"].double_value = draw(st.sampled_from([0.1, 2.5, -3.0, 1e6]))
    if draw(st.booleans()):
        event.properties["product"].string_value = draw(st.sampled_from("abcde"))
    return entry.SerializeToString()


@st.composite
def writes(draw: st.DrawFn) -> bytes:
    entry = mutation(draw(st.integers(1, 50)))
    entry.attributes.write_id = "w"
    entry.attributes.identity.CopyFrom(identity(draw(st.sampled_from(NAMES))))
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
def links(draw: st.DrawFn) -> bytes:
    entry = mutation(draw(st.integers(1, 50)))
    first, second = draw(st.permutations(NAMES))[:2]
    entry.link.write_id = "l"
    entry.link.first.CopyFrom(identity(first))
    entry.link.second.CopyFrom(identity(second))
    entry.link.unlink = draw(st.booleans())
    return entry.SerializeToString()


def state(mutations: list[bytes]) -> tuple[tuple[int, int], list[bytes]]:
    """The digest, and what is read of each identity, after applying the mutations."""
    engine = Engine(profiles_max=100)
    engine.publish(PLAN)
    for entry in mutations:
        engine.apply(entry)
    return engine.digest(), [read(engine, name) for name in NAMES]


def read(engine: Engine, name: str) -> bytes:
    request = profile_pb2.GetProfileRequest(identity=identity(name))
    request.now.seconds = START_S + 21 * DAY_S
    answer = engine.profile(request.SerializeToString(), START_S * 1_000_000)
    profile = profile_pb2.GetProfileResponse.FromString(answer).profile
    return profile.SerializeToString(deterministic=True)


MUTATIONS = st.lists(st.one_of(events(), events(), writes(), links()), max_size=25)


@settings(max_examples=300, deadline=None)
@given(mutations=MUTATIONS, data=st.data())
def test_order_and_repetition_do_not_matter(mutations: list[bytes], data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.sampled_from(mutations), max_size=15)) if mutations else []
    other = data.draw(st.permutations(mutations + repeated))
    assert state(mutations) == state(list(other))


@settings(max_examples=100, deadline=None)
@given(mutations=st.lists(events(), min_size=1, max_size=10))
def test_a_mutation_more_is_another_digest(mutations: list[bytes]) -> None:
    """The digest does tell states apart: this test's control."""
    extra = mutation_pb2.Mutation.FromString(mutations[0])
    extra.event.event_id = "another"
    assert state(mutations)[0] != state([*mutations, extra.SerializeToString()])[0]


def test_mutations_wait_for_their_playbook() -> None:
    """A mutation of a playbook that comes later is parked and then applied."""
    entry = mutation(1)
    entry.attributes.write_id = "w"
    entry.attributes.identity.CopyFrom(identity("ann"))
    entry.attributes.attributes["plan"].string_value = "pro"
    late, early = Engine(), Engine()
    late.apply(entry.SerializeToString())
    late.publish(PLAN)
    early.publish(PLAN)
    early.apply(entry.SerializeToString())
    assert read(late, "ann") == read(early, "ann")
    assert late.digest() == early.digest()


def test_repeated_event_counts_once() -> None:
    engine = Engine()
    engine.publish(PLAN)
    request = event_pb2.TrackRequest(event_id="e", event="buy", identity=identity("ann"))
    request.occurred_at.seconds = START_S
    answers = [
        event_pb2.TrackResponse.FromString(
            engine.track(request.SerializeToString(), START_S * 1_000_000)
        ).duplicate
        for _ in range(3)
    ]
    assert answers == [False, True, True]


def test_a_sum_that_wraps_says_so() -> None:
    """Addends are bounded one by one; a sum over the 64 bits is marked, not hidden."""
    engine = Engine()
    engine.publish(PLAN)
    marks = []
    for number in range(3):
        request = event_pb2.TrackRequest(event_id=f"e{number}", event="buy")
        request.identity.CopyFrom(identity("ann"))
        request.occurred_at.seconds = START_S
        request.properties["amount"].double_value = 9e12
        engine.track(request.SerializeToString(), START_S * 1_000_000)
        asked = profile_pb2.GetProfileRequest(identity=identity("ann"))
        answer = engine.profile(asked.SerializeToString(), START_S * 1_000_000)
        profile = profile_pb2.GetProfileResponse.FromString(answer).profile
        marks.append(profile.counters["sum"].approximate)
        assert not profile.counters["count"].approximate
    assert marks == [False, True, True]
