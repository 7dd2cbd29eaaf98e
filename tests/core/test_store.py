"""The store against a model that knows no order."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextbest.core.engine import Store
from nextbest.core.errors import InvalidRequestError
from nextbest.core.expression.values import Timestamp
from nextbest.core.playbook.plan import Aggregate, Attribute, ValueType

sys.path.insert(0, str(Path(__file__).parent))

import itertools

from store_model import (
    ATTRIBUTES,
    BORN,
    COUNTERS,
    Erase,
    Event,
    Link,
    Model,
    Mutation,
    Set,
    counter,
)

HOUR = 3_600_000_000
PEOPLE = [(1, b"ann"), (1, b"bob"), (2, b"ann"), (2, b"device")]


def new_store(**limits: int) -> Store:
    store = Store(**limits)
    columns = store.extend(ATTRIBUTES, COUNTERS)
    assert columns == (list(range(len(ATTRIBUTES))), list(range(len(COUNTERS))))
    return store


def apply(store: Store, mutation: Mutation) -> str:
    if isinstance(mutation, Set):
        return store.set_attributes(
            *mutation.identity, dict(mutation.values), mutation.stamp, mutation.incarnation
        )
    if isinstance(mutation, Event):
        return store.add_event(
            *mutation.identity,
            mutation.key,
            mutation.occurred_us // 1000,
            mutation.occurred_us,
            {column: list_of(value) for column, value in mutation.values},
            mutation.incarnation,
        )
    if isinstance(mutation, Link):
        return store.link(
            mutation.first,
            mutation.second,
            mutation.stamp,
            mutation.linked,
            mutation.first_incarnation,
            mutation.second_incarnation,
        )
    return store.erase(*mutation.identity, mutation.incarnation)


def assert_as_model(store: Store, model: Model, now_us: int) -> None:
    for identity in PEOPLE:
        members = model.component(identity)
        assert store.identities(*identity) == members
        read = store.read(*identity, now_us)
        if not members:
            assert read is None
            continue
        attributes, counters = read
        for column, attribute in enumerate(ATTRIBUTES):
            expected = model.attribute(members, column)
            assert attributes[column] == expected, attribute.name
        for column, spec in enumerate(COUNTERS):
            expected = model.counter(members, column, now_us)
            assert counters[column] == (expected, False), spec.name


VALUES: dict[ValueType, st.SearchStrategy[object]] = {
    ValueType.BOOL: st.booleans(),
    ValueType.INT: st.sampled_from([-(2**63), -1, 0, 7, 2**63 - 1]),
    ValueType.DOUBLE: st.sampled_from([0.25, 1.5, 1e300]),
    ValueType.STRING: st.sampled_from(["", "a", "b", "łódź", "x" * 300]),
    ValueType.TIMESTAMP: st.sampled_from(BORN),
    ValueType.STRING_LIST: st.lists(st.sampled_from(["", "a", "bb"]), max_size=3),
    ValueType.VECTOR: st.lists(st.sampled_from([0.5, 2.0]), min_size=2, max_size=2),
}


@st.composite
def sets(draw: st.DrawFn) -> Set:
    columns = draw(st.sets(st.integers(0, len(ATTRIBUTES) - 1), min_size=1))
    values = {}
    for column in columns:
        value = draw(st.none() | VALUES[ATTRIBUTES[column].type])
        values[column] = tuple(value) if isinstance(value, list) else value
    stamp = draw(st.integers(1, 4)) << 16
    return Set(draw(st.sampled_from(PEOPLE)), draw(st.integers(0, 1)), stamp, tuple(values.items()))


def payload(number: int) -> tuple[int, dict[int, object]]:
    """An event's time and values, the same whenever its id comes."""
    drawn = random.Random(number)
    text = drawn.choice(["p", "q", "r", "s", "t"])
    occurred_us = drawn.randrange(0, 4 * HOUR) // 1_000_000 * 1_000_000 + number
    integer, double = drawn.randrange(-50, 50), drawn.randrange(-400, 400) / 8
    seen = Timestamp(occurred_us // 1_000_000, occurred_us % 1_000_000 * 1000)
    values: dict[int, object] = {}
    for column, spec in enumerate(COUNTERS):
        by_type = {
            ValueType.INT: integer,
            ValueType.DOUBLE: double,
            ValueType.STRING: text,
            ValueType.TIMESTAMP: seen,
        }
        values[column] = None if spec.aggregate is Aggregate.COUNT else by_type[spec.type]
        if spec.name == "several":
            values[column] = tuple(range(integer, integer + drawn.randrange(1, 8)))
    return occurred_us, values


@st.composite
def events(draw: st.DrawFn) -> Event:
    number = draw(st.integers(0, 40))
    occurred_us, values = payload(number)
    columns = draw(st.sets(st.integers(0, len(COUNTERS) - 1)))
    return Event(
        draw(st.sampled_from(PEOPLE)),
        draw(st.integers(0, 1)),
        (number * 2_654_435_761, number),
        occurred_us,
        tuple((column, values[column]) for column in sorted(columns)),
    )


@st.composite
def links(draw: st.DrawFn) -> Link:
    first, second = draw(st.permutations(PEOPLE))[:2]
    incarnation = st.integers(0, 1)
    stamp = draw(st.integers(1, 4)) << 16
    linked = draw(st.booleans())
    return Link(first, draw(incarnation), second, draw(incarnation), stamp, linked)


ERASURES = st.builds(Erase, st.sampled_from(PEOPLE), st.integers(0, 0))


def listed(mutation: Mutation) -> Mutation:
    """Lists are drawn as tuples, which can be members of a set."""
    if not isinstance(mutation, Set):
        return mutation
    values = tuple((column, list_of(value)) for column, value in mutation.values)
    return Set(mutation.identity, mutation.incarnation, mutation.stamp, values)


def list_of(value: object) -> object:
    """A list that was drawn as a tuple; anything else as it is."""
    is_list = isinstance(value, tuple) and not isinstance(value, Timestamp)
    return list(value) if is_list else value  # type: ignore[call-overload]


class Batch:
    """A set of mutations in which lists may occur."""

    def __init__(self, mutations: list[Mutation]) -> None:
        self.mutations = [listed(mutation) for mutation in mutations]

    def __iter__(self) -> Iterator[Mutation]:
        return iter(self.mutations)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    mutations=st.lists(sets() | events() | events() | links() | ERASURES, max_size=40),
    order=st.randoms(use_true_random=False),
    now_us=st.integers(0, 6 * HOUR),
)
def test_any_order_and_repetition_gives_the_same_state(
    mutations: list[Mutation], order: random.Random, now_us: int
) -> None:
    batch = list(Batch(mutations))
    repeated = batch + [order.choice(batch) for _ in batch]
    order.shuffle(repeated)
    first, second = new_store(), new_store()
    for mutation in batch:
        apply(first, mutation)
    for mutation in repeated:
        apply(second, mutation)
    model = Model(ATTRIBUTES, COUNTERS).load(Batch(mutations))  # type: ignore[arg-type]
    assert_as_model(first, model, now_us)
    assert_as_model(second, model, now_us)
    assert first.digest() == second.digest()


def loaded(seed: int, count: int) -> tuple[Store, Model, list[Event]]:
    drawn = random.Random(seed)
    batch = []
    for number in drawn.sample(range(100_000), count):
        occurred_us, values = payload(number)
        key = (number * 2_654_435_761, number)
        batch.append(Event(drawn.choice(PEOPLE), 0, key, occurred_us, tuple(values.items())))
    store = new_store()
    for event in batch:
        assert apply(store, event) == "OK"
    return store, Model(ATTRIBUTES, COUNTERS).load(set(batch)), batch


@pytest.mark.parametrize("seed", range(5))
def test_windows_are_exact_at_their_edges(seed: int) -> None:
    store, model, _ = loaded(seed, 400)
    for edge_us in range(0, 6 * HOUR, 300_000_000):
        for now_us in (edge_us - 1, edge_us, edge_us + 1):
            assert_as_model(store, model, now_us)


def test_linked_rows_count_together_and_part_again() -> None:
    store, model, batch = loaded(9, 300)
    for stamp, (first, second) in enumerate(itertools.pairwise(PEOPLE), 1):
        mutation = Link(first, 0, second, 0, stamp << 16, True)
        apply(store, mutation)
        model = Model(ATTRIBUTES, COUNTERS).load({*batch, mutation})
    links = {
        Link(first, 0, second, 0, stamp << 16, True)
        for stamp, (first, second) in enumerate(itertools.pairwise(PEOPLE), 1)
    }
    model = Model(ATTRIBUTES, COUNTERS).load({*batch, *links})
    assert_as_model(store, model, 4 * HOUR)
    assert store.identities(2, "device") == sorted(PEOPLE)
    parted = {
        Link(second, 0, first, 0, 9 << 16, False) for first, second in itertools.pairwise(PEOPLE)
    }
    for mutation in parted:
        apply(store, mutation)
    assert_as_model(store, Model(ATTRIBUTES, COUNTERS).load({*batch, *links, *parted}), 4 * HOUR)
    assert store.identities(2, "device") == [(2, b"device")]


def test_resent_event_counts_only_in_a_new_counter() -> None:
    store = new_store()
    assert store.add_event(1, "ann", (1, 1), 0, 0, {1: None}) == "OK"
    assert store.add_event(1, "ann", (1, 1), 0, 0, {1: None}) == "DUPLICATE"
    assert store.add_event(1, "ann", (1, 1), 0, 0, {1: None, 3: 5}) == "OK"
    assert store.add_event(1, "ann", (1, 1), 0, 0, {3: 5}) == "DUPLICATE"
    counters = store.read(1, "ann", 0)[1]
    assert counters[1] == (1, False)
    assert counters[3] == (5, False)


def test_wider_layout_keeps_every_value_of_live_rows() -> None:
    store, model, _ = loaded(3, 300)
    values = {0: 7, 1: True, 2: "łódź", 3: "a@b", 4: 1.5, 5: BORN[1], 6: ["a"], 7: [1.0]}
    for identity in PEOPLE:
        store.set_attributes(*identity, values, 5 << 16)
    before = [store.read(*identity, HOUR) for identity in PEOPLE]
    digest = store.digest()
    for step in range(20):
        more = [Attribute(f"more{step}", kind) for kind in (ValueType.BOOL, ValueType.INT)]
        store.extend([*ATTRIBUTES, *more], [counter(f"more{step}", Aggregate.COUNT)])
        if step % 3 == 0:
            while store.relay(1):
                pass
        elif step % 3 == 1:
            store.set_attributes(*PEOPLE[0], {len(ATTRIBUTES) + 2 * step: True}, 1 << 16)
        for identity, (attributes, counters) in zip(PEOPLE, before, strict=True):
            now_attributes, now_counters = store.read(*identity, HOUR)
            assert {c: now_attributes[c] for c in attributes} == attributes
            assert {c: now_counters[c] for c in counters} == counters
    assert store.relay(1000) == 0
    assert store.digest()[0] == digest[0]
    assert model.component(PEOPLE[0]) == [PEOPLE[0]]


def test_digest_does_not_depend_on_the_order_of_columns() -> None:
    first, second = Store(), Store()
    first.extend(ATTRIBUTES, COUNTERS)
    second.extend(ATTRIBUTES[::-1], COUNTERS[::-1])
    first.set_attributes(1, "ann", {0: 5, 2: "x"}, 1 << 16)
    second.set_attributes(1, "ann", {7: 5}, 1 << 16)
    second.set_attributes(1, "ann", {5: "x"}, 1 << 16)
    first.add_event(1, "ann", (1, 2), 5, 5, {0: None, 3: 2})
    second.add_event(1, "ann", (1, 2), 5, 5, {11: None, 8: 2})
    assert first.digest() == second.digest()


def test_distinct_is_exact_to_its_limit_then_says_approximate() -> None:
    store = new_store()
    column = len(COUNTERS) - 1
    order = list(range(5000))
    random.Random(1).shuffle(order)
    for number in order[:50]:
        store.add_event(1, "ann", (number, 0), 0, 0, {column: f"value {number}"})
    assert store.read(1, "ann", 0)[1][column] == (50, False)
    for number in order:
        store.add_event(1, "ann", (number, 0), 0, 0, {column: f"value {number}"})
    value, approximate = store.read(1, "ann", 0)[1][column]
    assert approximate
    assert value == pytest.approx(5000, rel=0.5)


def test_sum_is_fixed_point_without_order() -> None:
    values = [0.1, 1e9, -1e9, 0.2, 1e-6, 3.3]
    stores = [new_store(), new_store()]
    for store, order in zip(stores, (values, values[::-1]), strict=True):
        for value in order:
            store.add_event(1, "ann", (round(value * 1e6) % 2**60, 1), 0, 0, {2: value})
    assert [store.read(1, "ann", 0)[1][2] for store in stores] == [(3.600001, False)] * 2


def test_points_halve_with_whole_buckets() -> None:
    store = Store()
    store.extend([], [counter("on", Aggregate.COUNT, window_s=90 * 86400, resolution_s=86400)])
    day_us = 86_400_000_000
    for number, day in enumerate([100, 100, 93, 86, 9]):
        store.add_event(1, "ann", (number, 1), 0, day * day_us + 5, {0: None})
    now_us = 100 * day_us + day_us // 2
    assert store.decayed(1, "ann", 0, now_us, 8, 7 * 86400) == (2 * 8 + 4 + 2, 4)
    assert store.decayed(1, "ann", 0, now_us, 8, 0) == (32, 4)
    assert store.decayed(1, "nobody", 0, now_us, 8, 0) == (0, 0)


def test_horizon_forgets_and_refuses_older_ids() -> None:
    store = new_store()
    for second in range(10):
        store.add_event(1, "ann", (second, 1), second * 1000, 0, {1: None})
    assert store.oldest_ms == 0
    assert store.horizon(5000) == 5
    assert store.horizon(1000) == 0
    assert store.horizon_ms == 5000
    assert store.oldest_ms == 5000
    assert store.add_event(1, "ann", (2, 1), 2000, 0, {1: None}) == "TOO_LATE"
    assert store.add_event(1, "ann", (7, 1), 7000, 0, {1: None}) == "DUPLICATE"
    assert store.read(1, "ann", 0)[1][1] == (10, False)


def test_full_dedupe_refuses_new_events_only() -> None:
    store = new_store(dedupe_max=2)
    assert [store.add_event(1, "a", (n, 1), 9000, 0, {1: None}) for n in (1, 2, 3, 1)] == [
        "OK",
        "OK",
        "FULL_DEDUPE",
        "DUPLICATE",
    ]
    assert store.profiles == 1
    assert store.add_event(1, "b", (3, 1), 9000, 0, {1: None}) == "FULL_DEDUPE"
    assert store.profiles == 1
    store.horizon(10_000)
    assert store.add_event(1, "a", (4, 1), 11_000, 0, {1: None}) == "OK"


def test_full_store_has_room_for_known_identities() -> None:
    store = new_store(profiles_max=1)
    assert store.has_room(1, "ann")
    store.set_attributes(1, "ann", {0: 1}, 1)
    assert store.has_room(1, "ann")
    assert not store.has_room(1, "bob")


def test_wrong_values_change_nothing() -> None:
    store = new_store()
    assert store.set_attributes(1, "a", {0: 1, 2: 5}, 1) == "WRONG_TYPE"
    assert store.set_attributes(1, "a", {99: 1}, 1) == "INVALID"
    assert store.set_attributes(1, "a", {4: float("nan")}, 1) == "WRONG_TYPE"
    assert store.set_attributes(1, "a", {6: ["a", 1]}, 1) == "WRONG_TYPE"
    assert store.add_event(1, "a", (1, 1), 0, -1, {1: None}) == "INVALID"
    assert store.add_event(1, "a", (1, 1), 0, 2**62, {1: None}) == "INVALID"
    assert store.add_event(1, "a", (1, 1), 0, 0, {2: "x"}) == "WRONG_TYPE"
    assert store.add_event(1, "a", (1, 1), 0, 0, {4: float("inf")}) == "WRONG_TYPE"
    assert store.link((1, "a"), (1, "a"), 1) == "INVALID"
    assert store.set_attributes(1, "a" * 2000, {0: 1}, 1) == "INVALID"
    assert store.profiles == 0
    assert store.digest() == (0, 0)


def test_expiry_removes_rows_and_their_links() -> None:
    store = new_store()
    for name, second in (("old", 10), ("new", 1000)):
        store.add_event(2, name, (second, 1), second * 1000, second * 1_000_000, {1: None})
        store.link((1, "ann"), (2, name), second << 16)
    store.set_attributes(2, "quiet", {0: 1}, 2_000_000 << 16)
    assert store.expire(2, 500 * 1_000_000) == 1
    assert store.identities(1, "ann") == [(1, b"ann"), (2, b"new")]
    assert store.read(2, "old", 0) is None
    assert store.read(2, "quiet", 0) is not None


def test_stale_identities_are_found_in_slices() -> None:
    store = new_store()
    for number in range(300):
        store.set_attributes(2, f"old {number}", {0: 1}, 1_000 << 16)
        store.set_attributes(2, f"new {number}", {0: 1}, 9_000_000 << 16)
        store.set_attributes(1, f"known {number}", {0: 1}, 1_000 << 16)
    found: list[bytes] = []
    cursor = 0
    while cursor != -1:
        some, cursor = store.stale(2, 500 * 1_000_000, cursor, 100)
        assert len(some) < 200
        found += some
    assert sorted(found) == sorted(f"old {number}".encode() for number in range(300))


def test_slices_meet_every_identity_once() -> None:
    store = new_store()
    names = {f"user {number}".encode() for number in range(1000)}
    for name in names:
        store.set_attributes(1, name, {0: 1}, 1)
    met, cursor = [], 0
    while cursor != -1:
        found, cursor = store.slice(cursor, 37)
        assert len(found) <= 37
        met += found
        store.set_attributes(1, f"more {len(met)}", {0: 1}, 1)
    names_met = [name for _, name in met]
    assert len(names_met) == len(set(names_met))
    assert names <= set(names_met)


def test_columns_become_rows_and_refusals_are_whole() -> None:
    store = new_store()
    mask = np.array([False, True, False, False, False])
    columns = {
        0: np.array([1, 2, 3, 4, 5]),
        1: np.array([True, False, True, False, True]),
        2: ["a", None, "\ud800", "x" * 1025, "b"],
        4: (np.array([0.5, 1.5, 2.5, 3.5, 4.5]), mask),
        5: np.array([0, 1_500_000, 0, 0, -1]),
        6: [["a"], [], None, ["b"], ["c", "d"]],
    }
    result = store.import_columns(1, ["u0", b"u1", "u2", "u3", "u4"], columns, 1 << 16)
    assert (result.created, result.updated) == (3, 0)
    assert [refusal[:2] for refusal in result.refused] == [(2, 2), (3, 2)]
    assert store.read(1, "u2", 0) is None
    attributes = store.read(1, "u1", 0)[0]
    assert [attributes[c] for c in (0, 1, 2, 4, 5, 6)] == [
        2,
        False,
        None,
        None,
        Timestamp(1, 500_000_000),
        [],
    ]
    again = store.import_columns(1, ["u0", "", "x" * 300, 5], {4: [7, 1, 1, 1]}, 2 << 16)
    assert (again.created, again.updated) == (0, 1)
    assert [refusal[1] for refusal in again.refused] == ["id"] * 3
    assert store.read(1, "u0", 0)[0][4] == 7.0
    odd = store.import_columns(1, ["a", "b", "c"], {0: [2**70, 1.5, "x"]}, 3 << 16)
    assert len(odd.refused) == 3
    with pytest.raises(InvalidRequestError, match="2 values"):
        store.import_columns(1, ["a"], {0: [1, 2]}, 1)


def test_extension_is_bounded() -> None:
    store = Store()
    with pytest.raises(InvalidRequestError, match="1025"):
        store.extend([Attribute(f"a{n}", ValueType.INT) for n in range(1025)], [])
    with pytest.raises(InvalidRequestError, match="buckets"):
        store.extend([], [counter("c", Aggregate.COUNT, window_s=10**6, resolution_s=1)])
    with pytest.raises(InvalidRequestError, match="limit"):
        store.extend([], [counter("c", Aggregate.DISTINCT, limit=0)])
    assert store.extend([Attribute(f"a{n}", ValueType.INT) for n in range(1024)], [])[0][-1] == 1023
    store.set_attributes(1, "a", {1023: 5}, 1)
    assert store.read(1, "a", 0)[0][1023] == 5


def test_replaced_strings_are_freed() -> None:
    store = new_store()
    for number in range(20_000):
        values = {2: f"city {number}" * 10, 3: f"mail {number}" * 10, 6: [f"tag {number}"] * 5}
        store.set_attributes(1, "ann", values, (number + 1) << 16)
    assert store.memory()["string_bytes"] < 4_000_000


def test_row_and_side_block_stay_within_their_budget() -> None:
    kinds = [ValueType.BOOL] * 4 + [ValueType.STRING] * 7 + [ValueType.INT] * 4
    kinds += [ValueType.DOUBLE] * 3 + [ValueType.TIMESTAMP] * 2
    counters = [
        counter(f"c{n}", Aggregate.COUNT, window_s=7 * 86400, resolution_s=21600) for n in range(7)
    ] + [counter(f"s{n}", Aggregate.SUM, ValueType.DOUBLE, 30 * 86400, 86400) for n in range(3)]
    store = Store()
    store.extend([Attribute(f"a{n}", kind) for n, kind in enumerate(kinds)], counters)
    samples = {
        ValueType.BOOL: True,
        ValueType.STRING: "x",
        ValueType.INT: 5,
        ValueType.DOUBLE: 1.5,
        ValueType.TIMESTAMP: BORN[1],
    }
    drawn = random.Random(5)
    for person in range(200):
        name = f"user-{person:06}"
        store.set_attributes(1, name, {n: samples[k] for n, k in enumerate(kinds)}, 1 << 16)
        for _ in range(20):
            at_us = drawn.randrange(30 * 86400) * 1_000_000
            values = {column: 1.0 if column > 6 else None for column in drawn.sample(range(10), 2)}
            store.add_event(1, name, (drawn.getrandbits(60), 1), 0, at_us, values)
    memory = store.memory()
    assert memory["row_bytes_median"] <= 256
    assert memory["side_bytes_median"] <= 1024


def test_threads_read_whole_rows_while_others_write() -> None:
    """Values written together are read together, and freed strings are never met."""
    store = new_store()
    stop = threading.Event()
    faults: list[object] = []

    def write(seed: int) -> None:
        for number in range(seed, 30_000, 2):
            text = f"{number}" * 8
            values = {0: number, 2: text, 3: text, 6: [text]}
            store.set_attributes(1, "ann", values, (number + 1) << 16)
            store.add_event(1, "ann", (number, 1), 0, 0, {1: None, 7: text, 9: text})
        stop.set()

    reader = new_reader(store, stop, faults)
    threads = [threading.Thread(target=write, args=(n,)) for n in (0, 1)]
    threads.append(threading.Thread(target=reader))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert store.read(1, "ann", 0)[1][1] == (30_000, False)


def new_reader(store: Store, stop: threading.Event, faults: list[object]) -> Callable[[], None]:
    def read() -> None:
        while not stop.is_set():
            found = store.read(1, "ann", 0)
            if found is None:
                continue
            attributes = found[0]
            text = f"{attributes[0]}" * 8
            if [attributes[2], attributes[3], attributes[6]] != [text, text, [text]]:
                faults.append(attributes)

    return read


def test_waiting_for_a_shard_does_not_hold_up_python() -> None:
    """Digests take every latch without the GIL while reads and links take them with it."""
    store, _, _ = loaded(4, 200)
    before = store.digest()
    stop = threading.Event()
    digests = set()

    def sum_up() -> None:
        while not stop.is_set():
            digests.add(store.digest())
            store.relay(10)

    threads = [threading.Thread(target=sum_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3000):
        for identity in PEOPLE:
            assert store.identities(*identity) == [identity]
            store.incarnation(*identity)
    stop.set()
    for thread in threads:
        thread.join()
    assert digests == {before}
