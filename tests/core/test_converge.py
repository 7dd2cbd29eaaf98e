"""Apply commutes: any order and any repetition of the same mutations ends in one state."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import takewhile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextbest.core import Engine
from nextbest.core.engine import STRIPES
from nextbest.core.playbook.plan import Plan
from nextbest.v1 import decision_pb2, event_pb2, mutation_pb2, profile_pb2
from tests.contact.playbook import answer
from tests.core.histories import (
    DAY_S,
    NAMES,
    NOW_US,
    PLANS,
    START_S,
    History,
    Step,
    events,
    histories,
    identity,
    orders,
)
from tests.core.reservations import ASKED_US, HISTORIES, PEOPLE, one_by_one, proposed
from tests.core.reservations import PLAN as RESERVING

PLAN = PLANS[0]
State = tuple[tuple[int, int], list[bytes]]


@dataclass
class Head:
    """What a snapshot holds besides rows, from before the first of them was copied."""

    plans: list[Plan]
    horizon_ms: int
    parked: list[bytes]


@dataclass
class Node:
    """An engine that goes one way through a history, by one mutation or by batches."""

    batch_max: int = 0
    engine: Engine = field(default_factory=lambda: Engine(profiles_max=100, decisions_max=16))
    waiting: list[bytes] = field(default_factory=list)

    def walk(self, steps: list[Step]) -> Node:
        for step in steps:
            if isinstance(step, bytes) and self.batch_max:
                self.waiting.append(step)
                if len(self.waiting) == self.batch_max:
                    self.flush()
            else:
                self.flush()
                self.step(step)
        self.flush()
        return self

    def flush(self) -> None:
        batch = mutation_pb2.MutationBatch()
        for entry in self.waiting:
            batch.mutations.add().ParseFromString(entry)
        result = self.engine.apply_batch(batch.SerializeToString(), NOW_US)
        assert (result.applied, result.unreadable) == (len(self.waiting), 0)
        self.waiting = []

    def step(self, step: Step) -> None:
        if isinstance(step, bytes):
            self.engine.apply(step)
            return
        kind, number = step
        if kind == "publish":
            self.engine.publish(PLANS[number], active=number % 2 == 0)
        elif kind == "activate":
            self.activate(number)
        else:
            self.engine.horizon(number)

    def activate(self, number: int) -> None:
        for known in self.engine.generations():
            if known.hash == PLANS[number].hash:
                self.engine.activate(known.number)

    def head(self) -> Head:
        plans = [plan for plan in PLANS if self.knows(plan)]
        return Head(plans, self.engine.store.horizon_ms, self.engine.parked_mutations())

    def knows(self, plan: Plan) -> bool:
        return any(known.hash == plan.hash for known in self.engine.generations())

    def copied(self, head: Head) -> Node:
        """A new engine from a snapshot: its head as it was, and the rows as they are now."""
        other = Node()
        store, engine = self.engine.store, other.engine
        engine.store.load_columns(*store.columns())
        for number in range(STRIPES):
            engine.store.load_stripe(store.stripe(number))
        engine.store.load_end()
        for plan in head.plans:
            engine.publish(plan)
        for entry in head.parked:
            engine.park(entry)
        engine.horizon(head.horizon_ms)
        return other

    def state(self) -> State:
        """The digest, and what is read of each identity under each playbook."""
        assert self.engine.parked_mutations() == []
        reads = []
        for number in range(len(PLANS)):
            self.activate(number)
            reads += [read(self.engine, name) for name in NAMES]
        return self.engine.digest(), reads


def read(engine: Engine, name: str) -> bytes:
    request = profile_pb2.GetProfileRequest(identity=identity(name))
    request.now.FromMicroseconds(NOW_US)
    answer = engine.profile(request.SerializeToString(), START_S * 1_000_000)
    profile = profile_pb2.GetProfileResponse.FromString(answer).profile
    return profile.SerializeToString(deterministic=True)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=st.one_of(histories(), histories(sizes=(5, 20))), data=st.data())
def test_every_way_through_a_history_ends_in_one_state(
    history: History, data: st.DataObject
) -> None:
    one = Node().walk(data.draw(orders(history)))
    batched = Node(data.draw(st.integers(1, 9))).walk(data.draw(orders(history)))
    assert one.state() == batched.state()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=st.one_of(histories(), histories(sizes=(5, 20))), data=st.data())
def test_a_snapshot_and_the_log_behind_its_head_end_in_that_state(
    history: History, data: st.DataObject
) -> None:
    """Rows are copied after the head; a snapshot that a horizon passes meanwhile is dropped."""
    steps = data.draw(orders(history))
    begun = data.draw(st.integers(0, len(steps)))
    meanwhile = list(takewhile(lambda step: step[0] != "horizon", steps[begun:]))
    copied = data.draw(st.integers(0, len(meanwhile)))
    node = Node().walk(steps[:begun])
    head = node.head()
    restarted = node.walk(meanwhile[:copied]).copied(head).walk(steps[begun:])
    assert node.walk(steps[begun + copied :]).state() == restarted.state()


def straight(mutations: list[bytes]) -> State:
    plans: list[Step] = [("publish", number) for number in range(len(PLANS))]
    return Node().walk([*plans, *mutations]).state()


@settings(max_examples=100, deadline=None)
@given(mutations=st.lists(events(), min_size=1, max_size=10))
def test_a_mutation_more_is_another_digest(mutations: list[bytes]) -> None:
    """The digest does tell states apart: this test's control."""
    extra = mutation_pb2.Mutation.FromString(mutations[0])
    extra.event.event_id = "another"
    extra.incarnation = 2
    assert straight(mutations)[0] != straight([*mutations, extra.SerializeToString()])[0]


def reserving(mutations: list[mutation_pb2.Mutation], at_once: int = 1) -> Engine:
    """An engine that has applied what may reserve, so many at once."""
    engine = Engine(profiles_max=100)
    engine.publish(RESERVING)
    for first in range(0, len(mutations), at_once):
        batch = mutation_pb2.MutationBatch(mutations=mutations[first : first + at_once])
        assert engine.apply_batch(batch.SerializeToString(), ASKED_US).unreadable == 0
    return engine


def told(engine: Engine) -> list[list[decision_pb2.PlacementExplanation]]:
    """What counts of each person, and what keeps back what."""
    asked = [
        answer(engine, name, ["page"], ASKED_US, explain=True, preview=True) for name in PEOPLE
    ]
    return [list(one.explanations) for one in asked]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=HISTORIES, order=st.randoms(use_true_random=False), at_once=st.integers(1, 9))
def test_reservations_of_several_slots_converge(
    history: list[mutation_pb2.Mutation], order: random.Random, at_once: int
) -> None:
    """With their impressions before or after them, and more than are kept of a person."""
    again = history + [order.choice(history) for _ in history]
    order.shuffle(again)
    first, second = reserving(history), reserving(again, at_once)
    assert first.digest() == second.digest()
    assert told(first) == told(second)


def shown(decision: str, slot: int) -> mutation_pb2.Mutation:
    """An impression that differs from others in what it came of alone."""
    entry = mutation_pb2.Mutation(stamp=1, playbook=RESERVING.hash)
    event = entry.event
    event.identity.CopyFrom(identity(PEOPLE[0]))
    event.event, event.event_id = "impression", "e"
    event.decision_id, event.slot, event.occurred_at.seconds = decision, slot, START_S
    return entry


@pytest.mark.parametrize("other", [("other", 0), ("decision", 1), ("", 0)])
def test_one_event_id_for_two_decisions_is_two_events(other: tuple[str, int]) -> None:
    one, two = shown("decision", 0), shown(*other)
    first, second = reserving([one, two, one]), reserving([two, one])
    assert first.digest() == second.digest()
    assert first.digest() != reserving([one]).digest()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=HISTORIES)
def test_a_reservation_counts_as_one_for_each_slot_does(
    history: list[mutation_pb2.Mutation],
) -> None:
    """So they were once written, and so they may stand in a log or a snapshot."""
    # No more than are kept.
    kept = [one for one in history if len(proposed(one)) < 5][:8]
    before = [old for n, one in enumerate(kept) for old in one_by_one(n, one) or [one]]
    assert told(reserving(kept)) == told(reserving(before))


def test_mutations_wait_for_their_playbook() -> None:
    """A mutation of a playbook that comes later is parked and then applied."""
    entry = mutation_pb2.Mutation(stamp=1, playbook=PLAN.hash)
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


def bought(plan: Plan, stamp: int) -> bytes:
    entry = mutation_pb2.Mutation(stamp=stamp, playbook=plan.hash)
    entry.event.event_id, entry.event.event = "e", "buy"
    entry.event.identity.CopyFrom(identity("ann"))
    entry.event.occurred_at.seconds = START_S
    entry.event.properties["product"].string_value = "a"
    return entry.SerializeToString()


@pytest.mark.parametrize("others", [PLANS[:1], PLANS[1:2], PLANS], ids=["known", "parked", "all"])
def test_an_event_that_waits_beyond_the_horizon_counts_once(others: tuple[Plan, ...]) -> None:
    """What has counted it is remembered as long as it waits for a playbook."""
    sent = [bought(PLANS[1], 1), *(bought(plan, 2) for plan in others)]
    horizons: list[Step] = [("horizon", (START_S + day * DAY_S) * 1_000) for day in (1, 2)]
    waits = Node().walk([("publish", 0), *sent, horizons[0], ("publish", 2), horizons[1]])
    waits.walk([("publish", 1)])
    plans: list[Step] = [("publish", number) for number in range(len(PLANS))]
    knows = Node().walk([*plans, *sent, *horizons])
    assert waits.state() == knows.state()
    profile = profile_pb2.Profile.FromString(read(knows.engine, "ann"))
    assert profile.counters["total"].value.int_value == 1


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
