"""The engine's own state: generations, waiting mutations, and what a read may keep alive."""

from collections.abc import Sequence
from typing import Any

import pytest

from nextbest.core import Engine
from nextbest.core.errors import (
    NoMemoryError,
    StoreFullError,
    UnknownGenerationError,
    UnknownNameError,
)
from nextbest.core.playbook.plan import (
    Aggregate,
    Attribute,
    Counter,
    Event,
    Field,
    Plan,
    Scorecard,
    ScoreRule,
    ValueType,
)
from nextbest.server.varint import varint
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, mutation_pb2, profile_pb2

NOW_US = 1_780_000_000_000_000
ANN = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id="ann")


def plan(name: str, points: int = 0) -> Plan:
    """A playbook with an attribute, an event and its counter, worth points for each event."""
    rules = (ScoreRule(reason="buys", text="buy", points=points, counter=0),) if points else ()
    return Plan(
        hash=name.encode().ljust(16, b"\0"),
        attributes=(Attribute("name", ValueType.STRING),),
        events=(Event("buy", (Field("time", ValueType.TIMESTAMP),)),),
        counters=(Counter("buys", bytes(16), event=0, aggregate=Aggregate.COUNT),),
        scorecards=(Scorecard("engagement", rules, min=-(2**62), max=2**62),),
    )


def set_name(engine: Engine, name: str, number: int = 0) -> None:
    request = profile_pb2.UpsertProfileRequest(
        write_id=f"w{number}",
        identity=ANN,
        attributes={"name": common_pb2.Value(string_value=name)},
    )
    engine.upsert(request.SerializeToString(), NOW_US + number * 1_000)


def decide(engine: Engine) -> decision_pb2.DecideResponse:
    request = decision_pb2.DecideRequest(identity=ANN, scores=["*"])
    return decision_pb2.DecideResponse.FromString(
        engine.decide(request.SerializeToString(), NOW_US)
    )


def buy(event_id: str, playbook: Plan) -> bytes:
    track = event_pb2.TrackRequest(event_id=event_id, identity=ANN, event="buy")
    track.occurred_at.FromMicroseconds(NOW_US)
    return mutation_pb2.Mutation(stamp=1, playbook=playbook.hash, event=track).SerializeToString()


def buy_now(engine: Engine, event_id: str) -> None:
    track = event_pb2.TrackRequest(event_id=event_id, identity=ANN, event="buy")
    track.occurred_at.FromMicroseconds(NOW_US)
    engine.track(track.SerializeToString(), NOW_US)


def test_a_decision_that_is_over_keeps_no_replaced_text() -> None:
    engine = Engine()
    engine.publish(plan("one"))
    set_name(engine, "ann")
    decide(engine)
    for number in range(1, 10_000):
        set_name(engine, f"{number:0500}", number)
    assert engine.memory()["string_bytes"] < 2_000_000


def test_an_import_after_a_decision_frees_what_it_replaces() -> None:
    engine = Engine()
    engine.publish(plan("one"))
    set_name(engine, "ann")
    decide(engine)
    for number in range(10_000):
        columns = {"name": [f"{number:0500}"]}
        engine.import_columns(1, ["ann"], columns, NOW_US // 1_000 + number)
    assert engine.memory()["string_bytes"] < 2_000_000


def test_an_engine_of_one_generation_keeps_the_newest() -> None:
    engine = Engine(generations_max=1)
    engine.publish(plan("one"))
    engine.publish(plan("two"))
    assert [(known.number, known.active) for known in engine.generations()] == [(2, True)]
    with pytest.raises(UnknownGenerationError, match="allowed: 2"):
        engine.activate(1)


def test_what_has_waited_is_applied_over_the_bound_of_the_edge() -> None:
    engine = Engine(dedupe_max=1)
    late = plan("late", points=1)
    for number in range(3):
        engine.apply(buy(f"e{number}", late))
    assert engine.memory()["parked"] == 3
    engine.publish(late)
    assert engine.memory()["parked"] == 0
    assert decide(engine).scores[0].points == 3
    with pytest.raises(StoreFullError):
        engine.apply(buy("e9", late))


def test_points_beyond_all_bounds_are_cut_and_the_ledger_adds_up() -> None:
    engine = Engine()
    engine.publish(plan("rich", points=2**62))
    for number in range(4):
        buy_now(engine, f"e{number}")
    score = decide(engine).scores[0]
    assert score.points == 10**12


class Names(Sequence[str]):
    """Makes each item when it is asked for, and keeps none."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        if row >= self._count:
            raise IndexError(row)
        return f"name {row} " * 20


def test_columns_may_make_their_items_on_the_way() -> None:
    engine = Engine()
    playbook = Plan(
        hash=bytes(16),
        attributes=(Attribute("a", ValueType.STRING), Attribute("b", ValueType.STRING)),
    )
    engine.publish(playbook)
    columns = {"a": Names(50), "b": Names(50)}
    engine.import_columns(1, [f"p{row}" for row in range(50)], columns, NOW_US // 1_000)
    for row in range(50):
        found = engine.store.read(1, f"p{row}", NOW_US)
        assert found is not None
        assert set(found[0].values()) == {f"name {row} " * 20}


def test_a_plan_needs_a_whole_hash() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        Engine().publish(Plan(hash=b"abc"))


def test_an_erasure_ends_the_incarnations_it_names() -> None:
    engine = Engine()
    engine.publish(plan("one"))
    set_name(engine, "ann")
    erasure = mutation_pb2.Erasure()
    erasure.identities.add(identity=ANN, incarnation=0)
    erasure.identities.add(identity=common_pb2.Identity(kind=3, id="nobody"), incarnation=4)
    engine.apply(mutation_pb2.Mutation(stamp=1, erasure=erasure).SerializeToString())
    assert engine.store.profiles == 0
    assert engine.store.incarnation(1, "ann") == 1
    assert engine.store.incarnation(3, "nobody") == 5
    set_name(engine, "ann")
    engine.apply(mutation_pb2.Mutation(stamp=9**9, erasure=erasure).SerializeToString())
    assert engine.store.profiles == 1


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    engine = Engine()
    engine.publish(plan("one"))
    track = event_pb2.TrackRequest(event_id="e", identity=ANN, event="nothing like it")
    track.occurred_at.FromMicroseconds(NOW_US)
    with pytest.raises(UnknownNameError, match="allowed: event of the playbook: buy"):
        engine.track(track.SerializeToString(), NOW_US)


def test_a_write_that_found_no_room_spoils_none_that_follows() -> None:
    engine = Engine()
    engine.publish(plan("one"))
    request = profile_pb2.UpsertProfileRequest(write_id="w", identity=ANN).SerializeToString()
    # A field that is not known, of more than a mutation can have.
    size = 1 << 26
    with pytest.raises(NoMemoryError):
        engine.upsert(request + varint(99 << 3 | 2) + varint(size) + bytes(size), NOW_US)
    set_name(engine, "ann", 1)
    assert engine.store.profiles == 1
