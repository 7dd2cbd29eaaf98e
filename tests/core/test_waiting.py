"""Writes that wait for the log: queued as bytes, applied and answered when the log has them."""

import os
import select

import pytest

from nextbest.core import Engine
from nextbest.core.errors import InvalidRequestError, LogBusyError, LogFailedError, NextbestError
from nextbest.core.playbook.plan import Aggregate, Counter, Event, Field, Plan, ValueType
from nextbest.v1 import common_pb2, event_pb2, mutation_pb2, profile_pb2

NOW_US = 1_780_000_000_000_000
VIEW = Event("view", (Field("time", ValueType.TIMESTAMP),))
VIEWS = Counter("views", bytes(16), event=0, aggregate=Aggregate.COUNT)


def track(number: int, ack: int = common_pb2.ACK_LEVEL_LOGGED) -> bytes:
    request = event_pb2.TrackRequest(event_id=f"e-{number}", event="view", ack=ack)
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
    engine.publish(Plan(hash=bytes(16), events=(VIEW,), counters=(VIEWS,)))
    return engine


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_a_logged_write_is_applied_and_answered_after_the_log(engine: Engine) -> None:
    fd = engine.attach_log(8)
    assert not readable(fd)
    assert engine.track_waiting(track(1), NOW_US, 71) is None
    assert readable(fd)
    assert views(engine) == 0
    batch = engine.log_take()
    assert batch.mutations == 1
    (mutation,) = mutation_pb2.MutationBatch.FromString(batch.data).mutations
    assert mutation.event.event_id == "e-1"
    assert engine.completed() is None
    assert engine.log_done(1) == 1
    assert readable(engine.completed_fd)
    done = engine.completed()
    assert done is not None
    token, data = done
    assert isinstance(data, bytes)
    answer = event_pb2.TrackResponse.FromString(data)
    assert (token, answer.ack, answer.duplicate) == (71, common_pb2.ACK_LEVEL_LOGGED, False)
    assert views(engine) == 1
    assert engine.completed() is None
    assert not readable(engine.completed_fd)


def test_a_full_queue_refuses_and_keeps_nothing(engine: Engine) -> None:
    engine.attach_log(3)
    for number in range(3):
        assert engine.track_waiting(track(number), NOW_US, number) is None
    with pytest.raises(LogBusyError) as refused:
        engine.track_waiting(track(9), NOW_US, 9)
    assert refused.value.retry_ms > 0
    with pytest.raises(LogBusyError):
        engine.track(track(10, common_pb2.ACK_LEVEL_APPLIED), NOW_US)
    assert views(engine) == 0
    assert engine.log_take().mutations == 3
    assert engine.log_done(3) == 3
    assert [engine.completed() is not None for _ in range(4)] == [True, True, True, False]
    assert views(engine) == 3
    assert engine.track_waiting(track(9), NOW_US, 9) is None


def test_answers_that_nobody_reads_hold_new_writes_back(engine: Engine) -> None:
    engine.attach_log(2)
    for number in range(2):
        assert engine.track_waiting(track(number), NOW_US, number) is None
    engine.log_take()
    assert engine.log_done(2) == 2
    with pytest.raises(LogBusyError):
        engine.track_waiting(track(2), NOW_US, 2)
    done = engine.completed()
    assert done is not None
    assert engine.track_waiting(track(2), NOW_US, 2) is None
    engine.log_take()
    assert engine.log_done(1) == 1
    tokens = [done[0] for _ in range(2) if (done := engine.completed()) is not None]
    assert tokens == [1, 2]


def test_an_unknown_outcome_is_told_as_such(engine: Engine) -> None:
    engine.attach_log(8)
    engine.track_waiting(track(1), NOW_US, 5)
    engine.log_take()
    engine.log_done(1, known=False)
    done = engine.completed()
    assert done is not None
    token, error = done
    assert token == 5
    assert isinstance(error, LogFailedError)
    assert "same id" in str(error)
    assert views(engine) == 0


def test_an_applied_write_is_queued_too_and_counts_once(engine: Engine) -> None:
    engine.attach_log(8)
    engine.track(track(1, common_pb2.ACK_LEVEL_APPLIED), NOW_US)
    assert views(engine) == 1
    assert engine.log_take().mutations == 1
    engine.log_done(1)
    assert engine.completed() is None
    assert views(engine) == 1


def test_batches_keep_the_order_and_their_bounds(engine: Engine) -> None:
    engine.attach_log(100)
    for number in range(50):
        engine.track_waiting(track(number), NOW_US, number)
    seen = []
    while (batch := engine.log_take(count_max=20, bytes_max=400)).mutations:
        assert batch.mutations <= 20
        assert len(batch.data) <= 400
        parsed = mutation_pb2.MutationBatch.FromString(batch.data)
        seen += [mutation.event.event_id for mutation in parsed.mutations]
    assert seen == [f"e-{number}" for number in range(50)]
    assert engine.log_done(1_000) == 50


def test_without_a_log_only_applied_is_taken(engine: Engine) -> None:
    for ack in (common_pb2.ACK_LEVEL_LOGGED, common_pb2.ACK_LEVEL_REPLICATED):
        with pytest.raises(InvalidRequestError, match="keeps no log"):
            engine.track_waiting(track(1, ack), NOW_US, 1)
    engine.attach_log(4)
    with pytest.raises(InvalidRequestError, match="no replicas"):
        engine.track_waiting(track(1, common_pb2.ACK_LEVEL_REPLICATED), NOW_US, 1)
    with pytest.raises(NextbestError, match="attached already"):
        engine.attach_log(4)


def test_the_descriptors_go_with_the_engine() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        Engine(profiles_max=10).attach_log(4)
    assert len(os.listdir("/proc/self/fd")) <= before
