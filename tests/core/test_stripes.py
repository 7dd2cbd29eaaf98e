"""Stripes: a store written piece by piece, and made again from the pieces."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from pathlib import Path

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextbest.core.engine import STRIPES, Store
from nextbest.core.errors import InvalidRequestError, NextbestError
from nextbest.core.expression.values import Timestamp
from nextbest.core.playbook.plan import Aggregate, Attribute, ValueType
from nextbest.v1 import log_pb2

sys.path.insert(0, str(Path(__file__).parent))

from store_model import ATTRIBUTES, BORN, COUNTERS, Mutation, counter
from test_store import (
    ERASURES,
    HOUR,
    PEOPLE,
    Batch,
    apply,
    events,
    links,
    loaded,
    new_store,
    payload,
    sets,
)

DISTINCT = len(COUNTERS) - 1
MUTATIONS = st.lists(sets() | events() | events() | links() | ERASURES, max_size=40)


def stripes(store: Store) -> list[bytes]:
    return [store.stripe(number) for number in range(STRIPES)]


def make(
    pieces: list[bytes], columns: tuple[list[object], list[object]], into: Store | None = None
) -> Store:
    store = Store() if into is None else into
    store.load_columns(*columns)
    for piece in pieces:
        store.load_stripe(piece)
    assert store.load_end() == 0
    return store


def copied(store: Store, into: Store | None = None) -> Store:
    return make(stripes(store), store.columns(), into)


def assert_alike(first: Store, second: Store, now_us: int) -> None:
    assert second.digest() == first.digest()
    assert second.profiles == first.profiles
    assert second.remembered == first.remembered
    for identity in PEOPLE:
        assert second.identities(*identity) == first.identities(*identity)
        assert second.incarnation(*identity) == first.incarnation(*identity)
        assert second.read(*identity, now_us) == first.read(*identity, now_us)
    names = ("profiles", "dedupe", "counter_sets", "erased", "overflowed")
    assert [second.memory()[name] for name in names[:2] + names[3:]] == [
        first.memory()[name] for name in names[:2] + names[3:]
    ]


def widened(store: Store, step: int) -> None:
    """Rows of an older layout stay as they are until they are written."""
    more = [Attribute(f"more{step}", kind) for kind in (ValueType.BOOL, ValueType.INT)]
    store.extend(more, [counter(f"more{step}", Aggregate.COUNT)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=MUTATIONS, after=MUTATIONS, now_us=st.integers(0, 6 * HOUR), widen=st.booleans())
def test_a_store_of_the_same_stripes_is_the_same_store(
    before: list[Mutation], after: list[Mutation], now_us: int, widen: bool
) -> None:
    first = new_store()
    for mutation in Batch(before):
        apply(first, mutation)
        if widen and first.memory()["layout"] < 3:
            widened(first, first.memory()["layout"])
    second = copied(first)
    assert_alike(first, second, now_us)
    for mutation in Batch(after):
        assert apply(second, mutation) == apply(first, mutation)
    assert_alike(first, second, now_us)


def full_store() -> Store:
    store, _, _ = loaded(3, 300)
    values = {0: 7, 1: True, 2: "łódź", 3: "a@b", 4: -1.5, 5: BORN[1], 6: ["a", ""], 7: [1.0]}
    for stamp, identity in enumerate(PEOPLE, 5):
        store.set_attributes(*identity, values, stamp << 16)
        store.set_attributes(*identity, {0: None, 2: "other"}, (stamp + 1) << 16)
    store.set_attributes(1, "carol", {6: [], 7: [], 1: False, 4: float("inf")}, 1 << 16)
    for number in range(60):
        values = {DISTINCT: f"value {number}"}
        store.add_event(1, "carol", (number, 9), 0, HOUR, values)
    for a, b in ((0, 1), (1, 2), (2, 3)):
        store.link(PEOPLE[a], PEOPLE[b], 7 << 16)
    store.link(PEOPLE[0], PEOPLE[3], 8 << 16, linked=False)
    store.erase(2, "gone", 4)
    store.set_attributes(2, "gone", {0: 5}, 9 << 16, 5)
    return store


def test_what_is_read_of_every_kind_of_value_is_the_same() -> None:
    first = full_store()
    second = copied(first)
    assert_alike(first, second, 3 * HOUR)
    for name in ("carol", "gone"):
        for kind in (1, 2):
            assert second.read(kind, name, HOUR) == first.read(kind, name, HOUR)
    assert second.read(1, "carol", HOUR)[1][DISTINCT][1], "distinct is approximate"
    assert second.read(1, "carol", HOUR)[0][6] == []
    assert second.incarnation(2, "gone") == 5


def test_stripes_are_messages_of_the_contract() -> None:
    store = full_store()
    found = [log_pb2.SnapshotStripe.FromString(data) for data in stripes(store)]
    rows = {(row.kind, row.id): row for stripe in found for row in stripe.rows}
    assert rows.keys() == {*PEOPLE, (1, b"carol"), (2, b"gone")}
    assert sum(len(stripe.event_hashes) for stripe in found) == store.remembered
    carol = rows[1, b"carol"]
    assert [len(hashes.hashes) for hashes in carol.hashes] == [50]
    assert carol.hashes[0].dropped
    assert {a.column: a.value.WhichOneof("kind") for a in carol.attributes} == {
        1: "bool_value",
        4: "double_value",
        6: "string_list",
        7: "string_list",
    }
    again = [stripe.SerializeToString() for stripe in found]
    assert make(again, store.columns()).digest() == store.digest()


def test_columns_are_found_again_in_another_order() -> None:
    first = full_store()
    into = Store()
    into.extend([Attribute("new", ValueType.STRING), *ATTRIBUTES[::-1]], COUNTERS[5:])
    second = copied(first, into)
    assert second.digest() == first.digest()
    for identity in PEOPLE:
        attributes, counters = first.read(*identity, HOUR)
        now_attributes, now_counters = second.read(*identity, HOUR)
        for number, attribute in enumerate(ATTRIBUTES):
            moved = second.extend([attribute], [])[0][0]
            assert now_attributes[moved] == attributes[number], attribute.name
        for number, spec in enumerate(COUNTERS):
            moved = second.extend([], [spec])[1][0]
            assert now_counters[moved] == counters[number], spec.name
    third = copied(second, new_store())
    assert third.digest() == first.digest()
    assert third.read(*PEOPLE[0], HOUR)[1] == first.read(*PEOPLE[0], HOUR)[1]


def test_columns_survive_the_messages_of_the_head() -> None:
    store = full_store()
    attributes, counters = store.columns()
    head = log_pb2.SnapshotHead(
        attributes=[log_pb2.SnapshotAttribute(**a._asdict()) for a in attributes],
        counters=[log_pb2.SnapshotCounter(**c._asdict()) for c in counters],
    )
    head = log_pb2.SnapshotHead.FromString(head.SerializeToString())
    second = make(stripes(store), (list(head.attributes), list(head.counters)))
    assert second.columns() == store.columns()
    assert_alike(store, second, HOUR)


def test_personal_data_is_kept_apart_as_this_store_has_it() -> None:
    first = Store()
    first.extend([Attribute("mail", ValueType.STRING)], [])
    first.set_attributes(1, "ann", {0: "a@b"}, 1 << 16)
    into = Store()
    into.extend([Attribute("mail", ValueType.STRING, pii=True)], [])
    second = copied(first, into)
    assert second.columns()[0][0].pii
    assert second.read(1, "ann", 0)[0][0] == "a@b"
    assert second.digest() == first.digest()


def test_a_sum_that_has_wrapped_is_still_known_to_have() -> None:
    store = new_store()
    for number in range(2):
        store.add_event(1, "ann", (number, 1), 0, 0, {3: 2**63 - 1})
    assert store.read(1, "ann", 0)[1][3] == (-2, True)
    second = copied(store)
    assert second.read(1, "ann", 0)[1][3] == (-2, True)
    assert second.memory()["overflowed"] == 1


def test_the_horizon_drops_what_it_would_have_dropped() -> None:
    first = new_store()
    for second in range(10):
        first.add_event(1, "ann", (second, 1), second * 1000, 0, {1: None})
    late, early = new_store(), new_store()
    early.horizon(5000)
    copied(first, early)
    copied(first, late)
    assert late.remembered == early.remembered == 10
    first.horizon(5000)
    # What is behind the horizon goes with the next one; it does not count until then.
    assert early.digest() == first.digest()
    assert late.horizon(5000) == 5
    for store in (late, early):
        assert store.digest() == first.digest()
        assert store.add_event(1, "ann", (7, 1), 7000, 0, {1: None}) == "DUPLICATE"


def searched_oldest_ms(store: Store) -> int:
    """What a look at every event says."""
    pieces = map(log_pb2.SnapshotStripe.FromString, stripes(store))
    times_s = [time_s for piece in pieces for time_s in piece.event_times_s]
    return min(times_s) * 1_000 if times_s else -1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.lists(events() | ERASURES, max_size=30).map(Batch) | st.integers(0, 6 * HOUR // 1_000),
        min_size=1,
        max_size=6,
    )
)
def test_the_oldest_event_is_the_one_that_a_search_finds(steps: list[Batch | int]) -> None:
    store = new_store()
    for step in steps:
        if isinstance(step, int):
            store.horizon(step)
        else:
            for mutation in step:
                apply(store, mutation)
        assert store.oldest_ms == searched_oldest_ms(store)
    assert copied(store).oldest_ms == store.oldest_ms


def test_the_oldest_event_is_known_after_its_table_has_grown() -> None:
    store = new_store()
    drawn = random.Random(5)
    for number in range(2_000):
        id_ms = drawn.randrange(1, 10**9)
        store.add_event(1, "ann", (number, 1), id_ms, id_ms * 1_000, {1: None})
    for before_ms in range(0, 10**9, 10**8):
        store.horizon(before_ms)
        assert store.oldest_ms == searched_oldest_ms(store) >= before_ms // 1_000 * 1_000
    store.horizon(2 * 10**9)
    assert (store.remembered, store.oldest_ms) == (0, -1)


def test_rows_are_of_the_newest_layout_and_count_as_such() -> None:
    store = full_store()
    widened(store, 1)
    second = copied(store)
    assert store.relay(0) > 0
    assert second.relay(0) == 0
    for _ in range(2):
        widened(second, 2)
        while second.relay(1):
            pass
    assert second.digest() == store.digest()


def test_a_link_whose_end_was_erased_between_two_copies_goes() -> None:
    store = new_store()
    people = [f"p{number}" for number in range(40)]
    for name in people:
        store.set_attributes(1, name, {0: 1}, 1 << 16)
    for first, second in zip(people[::2], people[1::2], strict=True):
        store.link((1, first), (1, second), 2 << 16)
    pieces = [store.stripe(number) for number in range(STRIPES // 2)]
    for name in people[::3]:
        store.erase(1, name, 0)
    store.set_attributes(1, "p0", {0: 1}, 3 << 16, 1)
    pieces += [store.stripe(number) for number in range(STRIPES // 2, STRIPES)]
    second = Store()
    second.load_columns(*store.columns())
    for piece in pieces:
        second.load_stripe(piece)
    assert second.load_end() > 0
    assert second.load_end() == 0
    for name in people[::3]:
        second.erase(1, name, 0)
    second.set_attributes(1, "p0", {0: 1}, 3 << 16, 1)
    assert second.digest() == store.digest()
    for name in people:
        assert second.identities(1, name) == store.identities(1, name)


def spoil_longer_text(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].attributes[2].value.string_value = "x" * 1025


def spoil_wrong_type(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].attributes[0].value.bool_value = True


def spoil_unknown_column(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].attributes[0].column = len(ATTRIBUTES)


def spoil_column_twice(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].attributes.append(stripe.rows[0].attributes[0])


def spoil_counter(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].numbers[0].column = DISTINCT


def spoil_bucket_twice(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].numbers.append(stripe.rows[0].numbers[0])


def spoil_bucket_far(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].numbers[0].buckets.append(2**31)
    stripe.rows[0].numbers[0].values.append(1)


def spoil_bucket_none(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].numbers[0].buckets[0] = 0


def spoil_value_missing(stripe: log_pb2.SnapshotStripe) -> None:
    del stripe.rows[0].numbers[0].values[-1]


def spoil_moment_bucket(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].moments[0].bucket += 1


def spoil_moment_value(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].moments[0].value.int_value = 1


def spoil_hashes(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].hashes[0].hashes.append(stripe.rows[0].hashes[0].hashes[0])


def spoil_identity(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].id = b"x" * 1025


def spoil_incarnation(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.event_incarnations[0] = 2**16


def spoil_row_twice(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows.append(stripe.rows[0])


def spoil_link_to_itself(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.rows[0].links.add(kind=stripe.rows[0].kind, id=stripe.rows[0].id)


def spoil_set(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.sets[0].counters.append(len(COUNTERS))


def spoil_set_number(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.event_sets[0] = 99


def spoil_event_twice(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.event_hashes[1] = stripe.event_hashes[0]


def spoil_event_none(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.event_hashes[0] = 0


def spoil_event_count(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.event_times_s.append(1)


def spoil_erased(stripe: log_pb2.SnapshotStripe) -> None:
    stripe.erased_identities.append(1)


SPOILS = {name[6:]: spoil for name, spoil in globals().items() if name.startswith("spoil_")}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_what_no_store_writes_is_refused(spoil: object) -> None:
    store, _, _ = loaded(3, 300)
    store.set_attributes(*PEOPLE[0], {0: 7, 1: True, 2: "x"}, 5 << 16)
    found = [log_pb2.SnapshotStripe.FromString(data) for data in stripes(store)]
    stripe = next(
        one for one in found if one.rows and one.rows[0].id == b"ann" and one.rows[0].kind == 1
    )
    spoil(stripe)  # type: ignore[operator]
    second = Store()
    second.load_columns(*store.columns())
    with pytest.raises(InvalidRequestError, match=r"stripe"):
        second.load_stripe(stripe.SerializeToString())


def test_a_refused_row_gives_back_its_strings() -> None:
    store = new_store()
    store.set_attributes(1, "ann", {2: "x" * 1000, 3: "y" * 1000, 6: ["z" * 1000]}, 1 << 16)
    store.add_event(1, "ann", (1, 1), 0, 0, {7: "p" * 1000})
    store.link((1, "ann"), (2, "b" * 1000), 1 << 16)
    pieces = [data for data in stripes(store) if data]
    second = make(pieces, store.columns())
    for _ in range(3000):
        for piece in pieces:
            with pytest.raises(InvalidRequestError, match=r"stripe\.rows\.id"):
                second.load_stripe(piece)
    assert second.digest() == store.digest()
    assert second.memory()["string_bytes"] < 4_000_000


def test_a_row_whose_id_comes_behind_its_cells_is_refused() -> None:
    store = full_store()
    piece = next(one for one in map(store.stripe, range(STRIPES)) if one)
    row = log_pb2.SnapshotStripe.FromString(piece).rows[0]
    cells = log_pb2.StripeRow(attributes=row.attributes, numbers=row.numbers).SerializeToString()
    head = log_pb2.StripeRow(kind=row.kind, id=row.id).SerializeToString()
    assert cells
    for body, known in ((head + cells, 1), (cells + head, 0)):
        data = b"\x0a" + encoded_length(body) + body
        into = Store()
        into.load_columns(*store.columns())
        with contextlib.nullcontext() if known else pytest.raises(InvalidRequestError):
            into.load_stripe(data)
        assert into.profiles == known


def encoded_length(data: bytes) -> bytes:
    count = len(data)
    assert count < 1 << 14
    return bytes([count & 0x7F | 0x80, count >> 7]) if count > 0x7F else bytes([count])


def test_unknown_fields_are_skipped() -> None:
    store = full_store()
    more = b"\xf8\x07\x05\xfa\x07\x03abc"
    pieces = []
    for data in stripes(store):
        stripe = log_pb2.SnapshotStripe.FromString(data)
        for row in stripe.rows:
            row.MergeFromString(more)
            for cell in (*row.attributes, *row.numbers, *row.moments, *row.hashes, *row.links):
                cell.MergeFromString(more)
        pieces.append(more + stripe.SerializeToString())
    assert make(pieces, store.columns()).digest() == store.digest()


def test_a_known_identity_is_not_loaded_over() -> None:
    store = full_store()
    with pytest.raises(InvalidRequestError, match=r"stripe\.rows\.id"):
        copied(store, copied(store))


def test_columns_that_cannot_be_are_refused() -> None:
    attributes, counters = new_store().columns()
    store = Store()
    with pytest.raises(InvalidRequestError, match=r"attributes\.age\.type"):
        store.load_columns([attributes[0]._replace(type=8)], [])
    for fault in ({"aggregate": 9}, {"type": 7}, {"limit": 2**17}, {"window_s": -1}):
        with pytest.raises(InvalidRequestError, match="counters"):
            store.load_columns([], [counters[0]._replace(**fault)])
    with pytest.raises(InvalidRequestError, match="text for a sum"):
        store.load_columns([], [counters[3]._replace(type=4)])
    with pytest.raises(InvalidRequestError, match="window"):
        store.load_columns([], [counters[0]._replace(resolution_s=1)])
    assert store.columns() == ([], [])
    store.load_columns(attributes, counters)
    with pytest.raises(InvalidRequestError, match=counters[0].name):
        store.load_columns([], [counters[0]._replace(window_s=7200)])


def test_a_stripe_that_is_none_is_refused() -> None:
    for number in (-1, STRIPES):
        with pytest.raises(InvalidRequestError, match="0 to 4095"):
            Store().stripe(number)


def test_a_smaller_memory_of_events_takes_them_all() -> None:
    store, _, _ = loaded(3, 300)
    second = copied(store, Store(dedupe_max=100))
    assert second.remembered == store.remembered > 100
    assert second.digest() == store.digest()


def mutated(data: bytes, drawn: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(drawn.randrange(1, 5)):
        at = drawn.randrange(len(spoiled) + 1)
        choice = drawn.randrange(4)
        if choice == 0:
            del spoiled[at : at + drawn.randrange(1, 9)]
        elif choice == 1:
            spoiled[at:at] = drawn.randbytes(drawn.randrange(1, 9))
        elif choice == 2 and at < len(spoiled):
            spoiled[at] = drawn.choice((0, 1, 127, 128, 255, spoiled[at] ^ 1 << drawn.randrange(8)))
        else:
            start = drawn.randrange(len(spoiled) + 1)
            spoiled[at:at] = spoiled[start : start + drawn.randrange(1, 60)]
    return bytes(spoiled)


def odd(value: object, drawn: random.Random) -> object:
    """Another value of the same type, at the edge of something."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return drawn.choice((0, 1, value + 1, 65_535, 2**31, 2**32 - 2, 2**32 - 1, 2**63 - 1))
    if isinstance(value, float):
        return drawn.choice((0.0, float("nan"), float("inf")))
    more = drawn.choice((0, 1, 1024, 1025))
    return value + "x" * more if isinstance(value, str) else value + b"x" * more  # type: ignore


def disturb(message: Message, drawn: random.Random) -> None:
    """Change one field, drop one item of a list or repeat one, somewhere in the message."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = drawn.choice(fields)
    with contextlib.suppress(ValueError, TypeError):
        if isinstance(value, Message):
            disturb(value, drawn)
        elif isinstance(value, bool | int | float | str | bytes):
            setattr(message, field.name, odd(value, drawn))
        elif drawn.random() < 0.2:
            del value[drawn.randrange(len(value))]
        elif drawn.random() < 0.2:
            value.extend(value[: drawn.randrange(1, 4)])
        elif isinstance(value[0], Message):
            disturb(drawn.choice(value), drawn)
        else:
            value[drawn.randrange(len(value))] = odd(drawn.choice(value), drawn)


def disturbed(data: bytes, drawn: random.Random) -> bytes:
    stripe = log_pb2.SnapshotStripe.FromString(data)
    for _ in range(drawn.randrange(1, 4)):
        disturb(stripe, drawn)
    return stripe.SerializeToString()


SOUND = [data for data in stripes(full_store()) if data]


def use(store: Store) -> None:
    """What must hold in any state that could be loaded."""
    store.digest()
    store.memory()
    found, cursor = store.slice(0, 1000)
    assert cursor == -1
    for number, identity in enumerate(found):
        for now_us in (0, 2 * HOUR):
            store.read(*identity, now_us)
        occurred_us, values = payload(number)
        incarnation = store.incarnation(*identity)
        store.add_event(*identity, (number, 5), 0, occurred_us, values, incarnation)
        store.set_attributes(*identity, {2: "x", 0: 5}, 99 << 16, incarnation)
        store.link(identity, (2, "device"), 99 << 16, first_incarnation=incarnation)
    widened(store, 1)
    store.relay(1000)
    store.digest()
    copied(store)
    store.horizon(10**9)
    for identity in found[::2]:
        store.erase(*identity, store.incarnation(*identity))
    store.expire(1, 2**62)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.randoms(use_true_random=False))
def test_spoiled_stripes_are_refused_or_leave_a_sound_store(drawn: random.Random) -> None:
    store = new_store()
    store.load_columns(*store.columns())
    for data in SOUND:
        try:
            store.load_stripe(drawn.choice((mutated, disturbed))(data, drawn))
        except NextbestError:
            continue
    store.load_end()
    use(store)


def test_stripes_are_whole_while_others_write() -> None:
    store = new_store()
    stop = threading.Event()
    names = [f"p{number}" for number in range(50)]

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            for name in names:
                text = f"{number}" * 8
                values = {0: number, 2: text, 3: text, 6: [text]}
                store.set_attributes(1, name, values, number << 16)
                store.add_event(1, name, (number, 1), 0, 0, {1: None, 7: text, 9: text})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            second = Store()
            pieces = stripes(store)
            second.load_columns(*store.columns())
            for piece in pieces:
                second.load_stripe(piece)
            for name in names:
                found = second.read(1, name, 0)
                if found is None:
                    continue
                text = f"{found[0][0]}" * 8
                assert [found[0][2], found[0][3], found[0][6]] == [text, text, [text]]
                assert abs(found[1][1][0] - found[0][0]) <= 1
    finally:
        stop.set()
        writer.join()
    assert copied(store).digest() == store.digest()


def test_timestamps_keep_their_microseconds() -> None:
    store = new_store()
    store.set_attributes(1, "ann", {5: Timestamp(-5, 999_999_000)}, 1 << 16)
    assert copied(store).read(1, "ann", 0)[0][5] == Timestamp(-5, 999_999_000)
