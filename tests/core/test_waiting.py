"""Writes that wait for the log: applied and queued as bytes, answered when the log has them."""

import os
import select
from collections import deque
from itertools import count, islice

import pytest

from nextbest.core import Engine
from nextbest.core.errors import (
    AckRefusedError,
    AlreadyUsedError,
    InvalidRequestError,
    LogAwayError,
    LogBusyError,
    LogFailedError,
    NextbestError,
    PositionLostError,
    PositionNotReachedError,
    TombstonesFullError,
    UnknownKindError,
    WritesRefusedError,
)
from nextbest.core.playbook.plan import (
    Aggregate,
    Attribute,
    Counter,
    Event,
    Field,
    Plan,
    ValueType,
)
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, mutation_pb2, profile_pb2

NOW_US = 1_780_000_000_000_000
VIEW = Event("view", (Field("time", ValueType.TIMESTAMP),))
VIEWS = Counter("views", bytes(16), event=0, aggregate=Aggregate.COUNT)
PLAN = Plan(
    hash=bytes(16),
    attributes=(Attribute("name", ValueType.STRING),),
    events=(VIEW,),
    counters=(VIEWS,),
)
APPLIED, LOGGED, REPLICATED = 1, 2, 3
AT = (3, 7, 99)


def track(number: int, ack: int = LOGGED) -> bytes:
    request = event_pb2.TrackRequest(event_id=f"e-{number}", event="view")
    request.ack = ack  # type: ignore[assignment]
    request.identity.id = "ann"
    request.occurred_at.FromMicroseconds(NOW_US - 1_000_000)
    return request.SerializeToString()


def views(engine: Engine) -> int:
    request = profile_pb2.GetProfileRequest()
    request.identity.id = "ann"
    answer = profile_pb2.GetProfileResponse.FromString(
        engine.profile(request.SerializeToString(), NOW_US)
    )
    return int(answer.profile.counters["views"].value.int_value)


@pytest.fixture
def engine() -> Engine:
    engine = Engine(profiles_max=1000)
    engine.publish(PLAN)
    return engine


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def answer_of(engine: Engine) -> tuple[int, bytes]:
    done = engine.completed(NOW_US)
    assert done is not None
    token, data = done
    assert isinstance(data, bytes)
    return token, data


def test_a_logged_write_is_applied_at_once_and_answered_after_the_log(engine: Engine) -> None:
    engine.attach_log(8)
    fd = engine.log_fd(0)
    assert not readable(fd)
    assert engine.track(track(1), NOW_US, 71) is None
    assert readable(fd)
    assert views(engine) == 1
    batch = engine.log_take(0)
    assert batch.mutations == 1
    (mutation,) = mutation_pb2.MutationBatch.FromString(batch.data).mutations
    assert mutation.event.event_id == "e-1"
    assert engine.completed(NOW_US) is None
    assert engine.log_done(0, 1, AT, LOGGED) == 1
    assert readable(engine.completed_fd)
    token, data = answer_of(engine)
    answer = event_pb2.TrackResponse.FromString(data)
    assert (token, answer.ack, answer.duplicate) == (71, LOGGED, False)
    position = answer.position
    assert (position.epoch, position.sequence, position.nonce) == AT
    assert engine.completed(NOW_US) is None
    assert not readable(engine.completed_fd)


def test_writes_wake_the_log_once_until_it_is_done_with_what_it_took(engine: Engine) -> None:
    engine.attach_log(8)
    fd = engine.log_fd(0)
    engine.track(track(1), NOW_US, 1)
    assert engine.log_take(0).mutations == 1
    engine.track(track(2), NOW_US, 2)
    assert not readable(fd)
    engine.log_done(0, 1, AT, LOGGED)
    assert readable(fd)
    assert engine.log_take(0).mutations == 1
    engine.log_failed(0, 1)
    assert not readable(fd)
    engine.track(track(3), NOW_US, 3)
    assert readable(fd)


def test_a_large_batch_is_answered_in_its_order(engine: Engine) -> None:
    engine.attach_log(300)
    for number in range(200):
        # Every third one is nobody's: its call did not wait.
        engine.track(track(number, LOGGED if number % 3 else 1), NOW_US, number + 1)
    assert engine.log_take(0).mutations == 200
    assert engine.log_done(0, 300, AT, LOGGED) == 200
    told = []
    while (done := engine.completed(NOW_US)) is not None:
        told.append(done[0])
    assert told == [number + 1 for number in range(200) if number % 3]


def test_writes_of_any_size_come_whole_however_many_wait(engine: Engine) -> None:
    engine.attach_log(64)
    numbers, waits = count(1), deque[bytes]()
    for some in (1, 64, 5, 64, 64, 2):
        for number in islice(numbers, some):
            body = mutation_pb2.Publication(hash=b"%d" % number * (number % 7) ** 6)
            sent = engine.submit(9, body.SerializeToString(), NOW_US, LOGGED, number)
            waits.append(sent)
        while (taken := engine.log_take(0, 3)).mutations:
            batch = mutation_pb2.MutationBatch.FromString(taken.data)
            for mutation in batch.mutations:
                assert mutation == mutation_pb2.Mutation.FromString(waits.popleft())
            engine.log_done(0, taken.mutations, AT, LOGGED)
        while engine.completed(NOW_US) is not None:
            pass
    assert not waits


def test_every_kind_of_write_waits(engine: Engine) -> None:
    engine.attach_log(8)
    upsert = profile_pb2.UpsertProfileRequest(write_id="w")
    upsert.identity.id = "ann"
    upsert.attributes["name"].string_value = "Ann"
    link = profile_pb2.LinkIdentityRequest(write_id="l")
    link.first.id, link.second.id = "ann", "bob"
    erase = profile_pb2.EraseProfileRequest(write_id="x")
    erase.identity.id = "ann"
    assert engine.upsert(upsert.SerializeToString(), NOW_US, 1) is None
    assert engine.link(link.SerializeToString(), NOW_US, 2) is None
    assert engine.erase(erase.SerializeToString(), NOW_US, 3) is None
    assert engine.store.profiles == 0
    batch = engine.log_take(0)
    parsed = mutation_pb2.MutationBatch.FromString(batch.data)
    kinds = [mutation.WhichOneof("body") for mutation in parsed.mutations]
    assert kinds == ["attributes", "link", "erasure"]
    engine.log_done(0, 3, AT, LOGGED)
    assert profile_pb2.UpsertProfileResponse.FromString(answer_of(engine)[1]).created
    linked = profile_pb2.LinkIdentityResponse.FromString(answer_of(engine)[1])
    erased = profile_pb2.EraseProfileResponse.FromString(answer_of(engine)[1])
    for answer in (linked, erased):
        assert [each.id for each in answer.identities] == ["ann", "bob"]
        assert answer.ack == LOGGED
        assert answer.position.sequence == AT[1]


def test_a_full_queue_refuses_and_keeps_nothing(engine: Engine) -> None:
    engine.attach_log(3)
    for number in range(3):
        assert engine.track(track(number), NOW_US, number + 1) is None
    with pytest.raises(LogBusyError) as refused:
        engine.track(track(9), NOW_US, 9)
    assert refused.value.retry_ms > 0
    with pytest.raises(LogBusyError):
        engine.track(track(10, APPLIED), NOW_US)
    assert views(engine) == 3
    assert engine.log_take(0).mutations == 3
    assert engine.log_done(0, 3, AT, LOGGED) == 3
    assert [engine.completed(NOW_US) is not None for _ in range(4)] == [True, True, True, False]
    assert views(engine) == 3
    assert engine.track(track(9), NOW_US, 9) is None


def test_answers_that_nobody_reads_hold_new_writes_back(engine: Engine) -> None:
    engine.attach_log(2)
    for number in (1, 2):
        assert engine.track(track(number), NOW_US, number) is None
    engine.log_take(0)
    assert engine.log_done(0, 2, AT, LOGGED) == 2
    with pytest.raises(LogBusyError):
        engine.track(track(3), NOW_US, 3)
    assert answer_of(engine)[0] == 1
    assert engine.track(track(3), NOW_US, 3) is None
    engine.log_take(0)
    assert engine.log_done(0, 1, AT, LOGGED) == 1
    assert [answer_of(engine)[0] for _ in range(2)] == [2, 3]


def test_an_unknown_outcome_is_told_as_such(engine: Engine) -> None:
    engine.attach_log(8)
    engine.track(track(1), NOW_US, 5)
    engine.log_take(0)
    assert engine.log_failed(0, 1) == 1
    done = engine.completed(NOW_US)
    assert done is not None
    token, error = done
    assert token == 5
    assert isinstance(error, LogFailedError)
    assert "same id" in str(error)


def test_an_applied_write_is_queued_too_and_counts_once(engine: Engine) -> None:
    engine.attach_log(8)
    engine.track(track(1, APPLIED), NOW_US)
    assert views(engine) == 1
    batch = engine.log_take(0)
    assert batch.mutations == 1
    engine.log_done(0, 1, AT, LOGGED)
    assert engine.completed(NOW_US) is None
    engine.apply_batch(batch.data, NOW_US)
    assert views(engine) == 1


def test_replicated_writes_have_a_queue_of_their_own(engine: Engine) -> None:
    engine.attach_log(8)
    engine.track(track(1, REPLICATED), NOW_US, 5)
    engine.track(track(2), NOW_US, 6)
    assert [engine.log_take(queue).mutations for queue in (0, 1)] == [1, 1]
    engine.log_done(1, 1, AT, REPLICATED)
    token, data = answer_of(engine)
    assert (token, event_pb2.TrackResponse.FromString(data).ack) == (5, REPLICATED)


def test_batches_keep_the_order_and_their_bounds(engine: Engine) -> None:
    engine.attach_log(100)
    for number in range(50):
        engine.track(track(number), NOW_US, number + 1)
    seen = []
    while (batch := engine.log_take(0, count_max=20, bytes_max=400)).mutations:
        assert batch.mutations <= 20
        assert len(batch.data) <= 400
        parsed = mutation_pb2.MutationBatch.FromString(batch.data)
        seen += [mutation.event.event_id for mutation in parsed.mutations]
    assert seen == [f"e-{number}" for number in range(50)]
    assert engine.log_done(0, 1_000, AT, LOGGED) == 50


def test_without_a_log_only_applied_is_taken(engine: Engine) -> None:
    for ack in (LOGGED, REPLICATED):
        with pytest.raises(AckRefusedError, match="keeps no log"):
            engine.track(track(1, ack), NOW_US, 1)
    assert engine.track(track(1, 0), NOW_US)
    engine.attach_log(4)
    with pytest.raises(NextbestError, match="attached already"):
        engine.attach_log(4)
    with pytest.raises(InvalidRequestError, match="cannot wait"):
        engine.track(track(2, 0), NOW_US)


def test_a_log_that_is_away_refuses_at_once_what_would_wait(engine: Engine) -> None:
    engine.attach_log(4)
    engine.log_gate(1, "the log is away since noon")
    with pytest.raises(LogAwayError, match="since noon"):
        engine.track(track(1), NOW_US, 1)
    assert views(engine) == 0
    assert engine.track(track(1, APPLIED), NOW_US)
    engine.log_gate(2, "the clock is 3 s off")
    with pytest.raises(WritesRefusedError, match="3 s off"):
        engine.track(track(2, APPLIED), NOW_US)
    engine.log_gate(0)
    engine.replicated_refused("two hosts, allowed: three or more")
    with pytest.raises(AckRefusedError, match="two hosts"):
        engine.track(track(2, REPLICATED), NOW_US, 2)
    assert engine.track(track(2), NOW_US, 2) is None


def at(sequence: int, epoch: int = 1, nonce: int = 0) -> tuple[int, int, int]:
    return epoch, sequence, nonce or 1_000 * epoch + sequence


def follow(engine: Engine, to: int, epoch: int = 1) -> None:
    for sequence in range(engine.position[1] + 1 if engine.position[0] == epoch else 0, to + 1):
        engine.advance(at(sequence, epoch), NOW_US)


def test_a_position_is_reached_to_come_or_lost(engine: Engine) -> None:
    engine.attach_log(4)
    engine.epoch_opened(1, at(0)[2], (0, 0, 0))
    follow(engine, 5)
    assert engine.reached((0, 0, 0))
    assert engine.reached(at(3))
    assert not engine.reached(at(6))
    assert not engine.reached(at(0, 2))
    with pytest.raises(PositionLostError):
        engine.reached(at(3, nonce=1))
    # Epoch 2 says that its predecessor ended at 4: entry 5 was on a lost branch.
    engine.rewind(at(4))
    engine.epoch_opened(2, at(0, 2)[2], at(4))
    follow(engine, 2, 2)
    assert engine.reached(at(4))
    with pytest.raises(PositionLostError):
        engine.reached(at(5))
    # A twin of epoch 2 differs in its nonce alone.
    with pytest.raises(PositionLostError):
        engine.reached(at(1, 2, 77))
    with pytest.raises(PositionLostError):
        engine.reached(at(0, 2, 78))
    assert engine.epochs() == [(1, 1000, (0, 0, 0)), (2, 2000, at(4))]
    assert engine.position == at(2, 2)


def test_the_last_entry_of_an_older_epoch_is_known_by_its_nonce(engine: Engine) -> None:
    # As after a start from a snapshot: the entries before it are not known one by one.
    engine.attach_log(4)
    engine.epoch_opened(4, at(0, 4)[2], at(28, 3))
    engine.epoch_opened(1005, at(0, 1005)[2], at(3, 4))
    follow(engine, 2, 1005)
    assert engine.reached(at(3, 4))
    with pytest.raises(PositionLostError):
        engine.reached(at(3, 4, 77))


def test_an_epoch_that_the_first_known_one_leaves_out_is_lost(engine: Engine) -> None:
    engine.attach_log(4)
    engine.epoch_opened(5, at(0, 5)[2], at(10, 3))
    follow(engine, 2, 5)
    for lost in (at(2, 4), at(11, 3)):
        with pytest.raises(PositionLostError):
            engine.reached(lost)
    # Nothing is known of what was long before.
    assert engine.reached(at(1, 2))
    assert engine.reached(at(10, 3))


def decide(position: tuple[int, int, int]) -> bytes:
    request = decision_pb2.DecideRequest()
    request.identity.id = "ann"
    wanted = request.min_position
    wanted.epoch, wanted.sequence, wanted.nonce = position
    return request.SerializeToString()


def test_a_decision_waits_for_its_position(engine: Engine) -> None:
    engine.attach_log(4)
    follow(engine, 5)
    with pytest.raises(PositionNotReachedError):
        engine.decide(decide(at(6)), NOW_US)
    engine.await_position(9, NOW_US)
    assert engine.completed(NOW_US) is None
    engine.advance(at(6), NOW_US)
    assert engine.completed(NOW_US) == (9, b"")
    answer = decision_pb2.DecideResponse.FromString(engine.decide(decide(at(6)), NOW_US))
    assert answer.position.sequence == 6


def test_a_wait_ends_with_its_time(engine: Engine) -> None:
    engine.attach_log(4)
    for token, deadline_us in ((1, NOW_US + 200_000), (2, 0)):
        with pytest.raises(PositionNotReachedError):
            engine.decide(decide(at(6)), NOW_US)
        engine.await_position(token, NOW_US, deadline_us)
    engine.caught_up(NOW_US + 199_999)
    assert engine.completed(NOW_US) is None
    engine.caught_up(NOW_US + 200_000)
    assert engine.completed(NOW_US) == (1, b"")
    engine.caught_up(NOW_US + 1_000_000)
    assert engine.completed(NOW_US) == (2, b"")


def test_answers_say_how_stale_they_are(engine: Engine) -> None:
    engine.attach_log(4)
    engine.caught_up(NOW_US)
    engine.log_away(True, NOW_US)
    answer = decision_pb2.DecideResponse.FromString(
        engine.decide(decide((0, 0, 0)), NOW_US + 250_000)
    )
    assert answer.staleness_ms == 250
    assert list(answer.degraded) == [common_pb2.DEGRADATION_LOG_AWAY]
    header = decision_pb2.DecideBatchResponse.FromString(engine.header(NOW_US + 250_000))
    assert (header.staleness_ms, list(header.degraded)) == (250, [4])


def test_a_kind_to_come_stops_the_batch_before_anything_is_applied(engine: Engine) -> None:
    batch = mutation_pb2.MutationBatch()
    batch.mutations.add(stamp=1, playbook=PLAN.hash).event.ParseFromString(track(1))
    known = batch.SerializeToString()
    with pytest.raises(UnknownKindError):
        engine.apply_batch(known + b"\x0a\x03\xfa\x01\x00", NOW_US)
    assert views(engine) == 0
    result = engine.apply_batch(known + b"\x0a\x01\xff", NOW_US)
    assert (result.applied, result.unreadable) == (1, 1)
    assert views(engine) == 1


def test_what_others_have_accepted_is_applied_over_the_bounds() -> None:
    engine = Engine(dedupe_max=1_000, profiles_max=1)
    engine.publish(PLAN)
    batch = mutation_pb2.MutationBatch()
    for number in range(1_500):
        event = batch.mutations.add(stamp=1, playbook=PLAN.hash).event
        event.ParseFromString(track(number))
        event.identity.id = f"p{number % 2}"
    assert engine.apply_batch(batch.SerializeToString(), NOW_US).applied == 1_500
    assert (engine.store.remembered, engine.store.profiles) == (1_500, 2)


def test_publications_are_handed_on(engine: Engine) -> None:
    engine.attach_log(4)
    numbers = count(1)
    sent = mutation_pb2.Publication(hash=b"h" * 16, number=2).SerializeToString()
    mutation = engine.submit(9, sent, NOW_US, LOGGED, next(numbers))
    batch = engine.log_take(0)
    engine.log_done(0, 1, AT, LOGGED)
    assert answer_of(engine)[0] == 1
    other = Engine()
    result = other.apply_batch(batch.data, NOW_US)
    assert result.announced == [mutation]
    assert mutation_pb2.Mutation.FromString(mutation).publication.hash == b"h" * 16


def test_the_clock_passes_the_stamps_of_others_unless_they_are_far_ahead(engine: Engine) -> None:
    engine.observe((NOW_US // 1_000 + 400 << 16) + 5, NOW_US)
    assert engine.last_stamp == (NOW_US // 1_000 + 400 << 16) + 5
    engine.observe(NOW_US // 1_000 + 60_000 << 16, NOW_US)
    assert engine.last_stamp == (NOW_US // 1_000 + 400 << 16) + 5


def test_the_descriptors_go_with_the_engine() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        Engine(profiles_max=10).attach_log(4)
    assert len(os.listdir("/proc/self/fd")) <= before


def erase(name: str, write_id: str, ack: int = APPLIED) -> bytes:
    request = profile_pb2.EraseProfileRequest(write_id=write_id)
    request.ack = ack  # type: ignore[assignment]
    request.identity.id = name
    return request.SerializeToString()


def test_a_repeated_erasure_leaves_who_has_registered_since(engine: Engine) -> None:
    engine.attach_log(8)
    engine.track(track(1, APPLIED), NOW_US)
    first = engine.erase(erase("ann", "x"), NOW_US)
    assert views(engine) == 0
    engine.track(track(2, APPLIED), NOW_US)
    assert views(engine) == 1
    again = engine.erase(erase("ann", "x"), NOW_US)
    assert views(engine) == 1
    assert first is not None
    assert again is not None
    assert profile_pb2.EraseProfileResponse.FromString(again).identities[0].id == "ann"
    # Another node, which has read it, knows the id too.
    other = Engine()
    other.publish(PLAN)
    other.attach_log(8)
    other.apply_batch(engine.log_take(0).data, NOW_US)
    other.erase(erase("ann", "x"), NOW_US)
    assert views(other) == 1
    with pytest.raises(AlreadyUsedError):
        other.erase(erase("bob", "x"), NOW_US)
    other.erase(erase("ann", "y"), NOW_US)
    assert views(other) == 0


def test_a_repeat_of_an_erasure_that_a_snapshot_holds_leaves_who_has_registered_since(
    engine: Engine,
) -> None:
    engine.attach_log(8)
    engine.track(track(1, APPLIED), NOW_US)
    engine.erase(erase("ann", "x"), NOW_US)
    restarted = Engine()
    restarted.publish(PLAN)
    restarted.attach_log(8)
    hashes = engine.erasure_hashes()
    assert len(hashes) == 1
    restarted.settle_erasures(hashes)
    restarted.track(track(2, APPLIED), NOW_US)
    waiting = restarted.log_waiting(0)
    again = restarted.erase(erase("ann", "x"), NOW_US)
    assert again is not None
    assert profile_pb2.EraseProfileResponse.FromString(again).identities[0].id == "ann"
    assert (views(restarted), restarted.log_waiting(0)) == (1, waiting)
    # The next snapshot has it too.
    assert restarted.erasure_hashes() == hashes
    restarted.erase(erase("ann", "y"), NOW_US)
    assert views(restarted) == 0


def test_tombstones_of_people_who_are_unknown_are_bounded() -> None:
    engine = Engine(tombstones_max=2)
    engine.publish(PLAN)
    engine.attach_log(8)
    engine.track(track(1, APPLIED), NOW_US)
    for number in range(2):
        engine.erase(erase(f"nobody-{number}", f"w{number}"), NOW_US)
    assert engine.store.tombstones == 2
    with pytest.raises(TombstonesFullError, match="tombstones_max"):
        engine.erase(erase("nobody-2", "w2"), NOW_US)
    # Who has a tombstone, and who is known, can be erased all the same.
    engine.erase(erase("nobody-1", "w3"), NOW_US)
    engine.erase(erase("ann", "w4"), NOW_US)
    assert (views(engine), engine.store.tombstones) == (0, 3)


def test_what_cannot_be_taken_yet_is_told_so_and_stays(engine: Engine) -> None:
    engine.attach_log(8)
    for number in (1, 2):
        engine.track(track(number), NOW_US, number)
    engine.log_take(0, count_max=1)
    assert engine.log_unwait(0) == 1
    done = engine.completed(NOW_US)
    assert done is not None
    assert done[0] == 2
    assert isinstance(done[1], LogFailedError)
    assert engine.log_take(0).mutations == 1
    assert engine.log_done(0, 2, AT, LOGGED) == 2
    assert answer_of(engine)[0] == 1
    assert engine.completed(NOW_US) is None
