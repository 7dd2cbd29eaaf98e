"""Entries of the log, applied many at a time: only plain ones, and only whole ones."""

from array import array
from collections.abc import Container, Sequence

import pytest

from nextbest.core import Engine
from nextbest.core.errors import InvalidRequestError
from nextbest.core.playbook.plan import (
    Aggregate,
    Counter,
    Event,
    Field,
    Plan,
    ValueType,
)
from nextbest.server.log.contents import pack, pack_batch
from nextbest.v1 import event_pb2, log_pb2, mutation_pb2

NOW_US = 1_780_000_000_000_000
HASH = b"h" * 16
PLAN = Plan(
    hash=HASH,
    attributes=(),
    events=(Event("view", (Field("time", ValueType.TIMESTAMP),)),),
    counters=(Counter("views", bytes(16), event=0, aggregate=Aggregate.COUNT),),
)
Records = Sequence[tuple[int, int, bytes]]


def made() -> Engine:
    engine = Engine(profiles_max=10_000)
    engine.publish(PLAN)
    engine.attach_log(8)
    engine.advance((1, 0, 5), NOW_US)
    return engine


def batch(*numbers: int, playbook: bytes = HASH) -> bytes:
    message = mutation_pb2.MutationBatch()
    for number in numbers:
        event = event_pb2.TrackRequest(event_id=f"e-{number}", event="view")
        event.identity.id = f"p-{number % 7}"
        event.occurred_at.FromMicroseconds(NOW_US - 1_000_000)
        message.mutations.add(stamp=number + 1, playbook=playbook, event=event)
    return message.SerializeToString()


def records(count: int, size: int = 1) -> list[tuple[int, int, bytes]]:
    return [
        (1, at + 1, pack_batch(at + 100, batch(*range(at * size, (at + 1) * size))))
        for at in range(count)
    ]


def apply(engine: Engine, found: Records, first: int = 0, own: Container[int] = ()) -> list[int]:
    epochs, sequences = (array("Q", [record[at] for record in found]) for at in (0, 1))
    data = [record[2] for record in found]
    return engine.apply_entries(epochs, sequences, data, first, own, NOW_US)


def test_entries_end_in_the_state_that_their_batches_end_in() -> None:
    one, other = made(), made()
    found = records(50, size=3)
    assert apply(one, found) == list(range(100, 150))
    for number in range(50):
        other.apply_batch(batch(*range(number * 3, number * 3 + 3)), NOW_US)
    assert one.digest() == other.digest()
    assert one.position == (1, 50, 149)
    assert one.last_stamp == other.last_stamp
    assert [one.reached((1, at, at + 99)) for at in (1, 25, 50)] == [True] * 3


def test_what_was_passed_is_not_passed_again() -> None:
    engine = made()
    found = records(10)
    assert len(apply(engine, found[:4])) == 4
    assert apply(engine, found) == []
    assert len(apply(engine, found, 4)) == 6
    assert apply(engine, found, 10) == []


def test_it_stops_before_an_entry_of_ours() -> None:
    engine = made()
    assert apply(engine, records(9), 0, {104}) == [100, 101, 102, 103]
    assert engine.position == (1, 4, 103)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"\x01",
        pack_batch(104, batch(4))[:-1],
        pack_batch(104, batch(4)) + b"\0",
        b"\x02" + pack_batch(104, batch(4))[1:],
        pack_batch(104, b"\xff"),
        pack_batch(104, batch(4) + b"\x12\0"),
        pack_batch(104, batch(4) + b"\x0a\x03\xfa\x01\x00"),
        pack_batch(104, mutation_pb2.MutationBatch(mutations=[{}]).SerializeToString()),
        pack_batch(
            104,
            mutation_pb2.MutationBatch(
                mutations=[mutation_pb2.Mutation(publication=mutation_pb2.Publication(hash=HASH))]
            ).SerializeToString(),
        ),
        pack(104, horizon=log_pb2.Horizon(before_ms=1, term=1)),
        pack(104, heartbeat=log_pb2.Heartbeat(member="m")),
    ],
)
def test_it_stops_before_what_is_not_plain_with_nothing_of_it_applied(odd: bytes) -> None:
    engine, other = made(), made()
    found = records(9)
    found[4] = (1, 5, odd)
    assert len(apply(engine, found)) == 4
    apply(other, records(4))
    assert engine.digest() == other.digest()
    assert engine.position == (1, 4, 103)


def test_every_flipped_bit_stops_it() -> None:
    engine = made()
    data = pack_batch(100, batch(1))
    before = engine.digest()
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert apply(engine, [(1, 1, bytes(damaged))]) == []
    assert engine.digest() == before
    assert apply(engine, [(1, 1, data)]) == [100]


def test_entries_of_every_length_are_read() -> None:
    engine = made()
    for length in range(1, 200):
        message = mutation_pb2.MutationBatch.FromString(batch(length))
        message.mutations[0].event.event_id = "e" * length
        data = pack_batch(length, message.SerializeToString())
        assert apply(engine, [(1, length, data)]) == [length]
    assert engine.store.remembered == 199


@pytest.mark.parametrize("places", [[(1, 2)], [(2, 0)], [(2, 1)], [(1, 0)], [(0, 1)]])
def test_only_the_next_entry_of_the_epoch_is_plain(places: list[tuple[int, int]]) -> None:
    engine = made()
    found: Records = [(*place, pack_batch(9, batch(1))) for place in places]
    assert apply(engine, found) == []
    assert engine.position == (1, 0, 5)


def test_events_of_an_unknown_playbook_are_parked() -> None:
    engine = made()
    found = [(1, 1, pack_batch(7, batch(1, playbook=b"?" * 16)))]
    assert apply(engine, found) == [7]
    assert len(engine.parked_mutations()) == 1


def test_a_long_list_is_done_in_parts() -> None:
    engine = made()
    found = records(10, size=900)
    done: list[int] = []
    parts = 0
    while len(done) < 10:
        done += apply(engine, found, len(done))
        parts += 1
    assert parts == 4
    assert engine.position == (1, 10, 109)


def test_without_a_log_it_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        apply(Engine(), [])
