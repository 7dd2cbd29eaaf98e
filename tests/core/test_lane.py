"""The lane in this process: answers that wait for the log, deadlines, drains, what is counted."""

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import grpc
import pytest

from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.core.errors import InvalidRequestError
from nextbest.core.lane.settings import LaneSettings
from nextbest.core.playbook.plan import Aggregate, Counter, Event, Field, Plan, ValueType
from nextbest.v1 import common_pb2, decision_pb2, event_pb2

pytestmark = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)

if lane_available:
    from nextbest.core.lane_native import Lane

TRACK = "/nextbest.v1.EventService/Track"
DECIDE = "/nextbest.v1.DecisionService/Decide"
BATCH = "/nextbest.v1.DecisionService/DecideBatch"
WAIT_S = 10.0
NOW_US = 1_780_000_000_000_000
# READS_WAITING_MAX of core/serving/history.pyx.
READS_WAITING_MAX = 4_096
Call = Callable[..., Any]


def engine_of(writes_max: int = 0) -> Engine:
    engine = Engine(profiles_max=1000)
    view = Event("view", (Field("time", ValueType.TIMESTAMP),))
    views = Counter("views", bytes(16), event=0, aggregate=Aggregate.COUNT)
    engine.publish(Plan(hash=bytes(16), events=(view,), counters=(views,)))
    if writes_max:
        engine.attach_log(writes_max)
    return engine


def done(engine: Engine, count: int) -> int:
    """The log has so many of what it took, in one entry after those before."""
    epoch, sequence, _ = engine.position
    position = (max(epoch, 1), sequence + 1, sequence + 100)
    told = engine.log_done(0, count, position, common_pb2.ACK_LEVEL_LOGGED)
    if told:
        engine.advance(position, NOW_US)
    return told


@contextmanager
def serving(engine: Engine, **bounds: int) -> Iterator[tuple[Any, int]]:
    """A lane on a thread of its own, and its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        listener.setblocking(False)
        lane = Lane(engine.door(), [listener.fileno()], LaneSettings(**bounds), "127.0.0.1:1")
        lane.set_serving(True)
        thread = threading.Thread(target=lane.run)
        thread.start()
        try:
            yield lane, listener.getsockname()[1]
        finally:
            lane.stop()
            thread.join(WAIT_S)
            assert not thread.is_alive()


@contextmanager
def calling(port: int, method: str) -> Iterator[Call]:
    # A connection of its own.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        yield channel.unary_unary(method, None, None)


def track(number: int) -> bytes:
    request = event_pb2.TrackRequest(
        event_id=f"e-{number}", event="view", ack=common_pb2.ACK_LEVEL_LOGGED
    )
    request.identity.id = "ann"
    request.occurred_at.GetCurrentTime()
    return request.SerializeToString()


def decision(sequence: int = 0) -> decision_pb2.DecideRequest:
    """A decision, at a position of the first epoch when it names one."""
    request = decision_pb2.DecideRequest(identity=common_pb2.Identity(id="ann"))
    if sequence:
        at = request.min_position
        at.epoch, at.sequence, at.nonce = place(sequence)
    return request


def decide(sequence: int = 0) -> bytes:
    return decision(sequence).SerializeToString()


def place(sequence: int, epoch: int = 1) -> tuple[int, int, int]:
    return epoch, sequence, 1_000 * epoch + sequence


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_answers_wait_for_the_log_and_decisions_do_not() -> None:
    engine = engine_of(writes_max=1000)
    with (
        serving(engine) as (_, port),
        calling(port, TRACK) as call,
        calling(port, DECIDE) as ask,
    ):
        calls = [call.future(track(n), timeout=WAIT_S) for n in range(200)]
        taken = 0
        while taken < 200:
            taken += engine.log_take(0, count_max=100).mutations
            assert ask(decide(), timeout=WAIT_S)
        assert not any(each.done() for each in calls)
        while done(engine, 70):
            pass
        answers = [event_pb2.TrackResponse.FromString(each.result()) for each in calls]
    assert {answer.ack for answer in answers} == {common_pb2.ACK_LEVEL_LOGGED}
    assert len({answer.position.sequence for answer in answers}) == 3
    assert not any(answer.duplicate for answer in answers)


def test_answers_of_one_entry_go_to_many_connections() -> None:
    """To some many at once, to some by turns, and to one whose client has gone."""
    engine, numbers = engine_of(writes_max=1000), count()
    taken, answers = 0, []

    def ask(*calls: Call) -> None:
        nonlocal taken
        answers.extend(call.future(track(next(numbers)), timeout=WAIT_S) for call in calls)
        end = taken + len(calls)
        while taken < end:
            taken += engine.log_take().mutations

    with serving(engine) as (lane, port), calling(port, TRACK) as one, calling(port, TRACK) as two:
        for _ in range(12):
            ask(one, two)
        with calling(port, TRACK) as gone:
            ask(*[gone] * 20)
        until(lambda: lane.counters()["connections.open"] == 2)
        del answers[24:]
        ask(*[one] * 30, *[two] * 20)
        assert done(engine, taken) == 94
        assert [each.result() is not None for each in answers] == [True] * 74


def test_a_full_queue_is_resource_exhausted_with_a_time_to_retry() -> None:
    engine = engine_of(writes_max=5)
    with serving(engine) as (_, port), calling(port, TRACK) as call:
        waiting = [call.future(track(n), timeout=WAIT_S) for n in range(5)]
        # What is with the log still has its place in the queue.
        taken = 0
        while taken < 5:
            taken += engine.log_take().mutations
        with pytest.raises(grpc.RpcError) as refused:
            call(track(9), timeout=WAIT_S)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(refused.value.trailing_metadata())
        assert b"RetryInfo" in trailers["grpc-status-details-bin"]
        done(engine, 5)
        assert [each.result() for each in waiting]
        later = call.future(track(9), timeout=WAIT_S)
        until(lambda: engine.log_take().mutations == 1)
        done(engine, 1)
        assert later.result()


def test_an_unknown_outcome_names_the_retry() -> None:
    engine = engine_of(writes_max=5)
    with serving(engine) as (_, port), calling(port, TRACK) as call:
        waiting = call.future(track(1), timeout=WAIT_S)
        until(lambda: engine.log_take().mutations == 1)
        engine.log_failed(0, 1)
        error = waiting.exception()
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "same id" in error.details()


def test_a_deadline_passes_while_the_log_is_silent() -> None:
    engine = engine_of(writes_max=5)
    with serving(engine) as (lane, port), calling(port, TRACK) as call:
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as late:
            call(track(1), timeout=0.2)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.15 < time.monotonic() - began < 2
        # The client's clock may run out a little before the lane's.
        until(lambda: gone(lane) == 1)
        engine.log_take()
        done(engine, 1)
        until(lambda: lane.counters()["answers.too_late"] == 1)


def gone(lane: Any, method: str = "Track") -> int:
    """Calls that the lane has ended before their answer came."""
    counted = lane.counters()
    return int(counted["calls.cancelled"] + counted.get(f"calls.{method}.DEADLINE_EXCEEDED", 0))


def test_a_cancelled_call_is_forgotten_and_its_write_stands() -> None:
    engine = engine_of(writes_max=5)
    with serving(engine) as (lane, port), calling(port, TRACK) as call:
        request = track(1)
        waiting = call.future(request, timeout=WAIT_S)
        until(lambda: engine.log_take().mutations == 1)
        waiting.cancel()
        until(lambda: lane.counters()["calls.cancelled"] == 1)
        done(engine, 1)
        until(lambda: lane.counters()["answers.too_late"] == 1)
        again = call.future(request, timeout=WAIT_S)
        until(lambda: engine.log_take().mutations == 1)
        done(engine, 1)
        assert event_pb2.TrackResponse.FromString(again.result()).duplicate


def test_a_lane_that_goes_leaves_its_writes_to_the_log() -> None:
    engine = engine_of(writes_max=5)
    with serving(engine) as (lane, port), calling(port, TRACK) as call:
        waiting = call.future(track(1), timeout=WAIT_S)
        until(lambda: engine.log_take().mutations == 1)
        lane.stop()
        assert waiting.exception().code() is grpc.StatusCode.UNAVAILABLE
    assert done(engine, 1) == 1


def test_a_drain_waits_for_what_waits() -> None:
    engine = engine_of(writes_max=5)
    with serving(engine) as (lane, port), calling(port, TRACK) as call:
        waiting = call.future(track(1), timeout=WAIT_S)
        until(lambda: engine.log_take().mutations == 1)
        lane.drain(int(WAIT_S * 1000))
        time.sleep(0.2)
        assert not waiting.done()
        done(engine, 1)
        assert waiting.result()
        until(lambda: lane.counters()["connections.closed.drain"] == 1)


def test_a_drain_ends_with_its_grace() -> None:
    engine = engine_of(writes_max=5)
    with serving(engine) as (lane, port), calling(port, TRACK) as call:
        waiting = call.future(track(1), timeout=WAIT_S)
        until(lambda: engine.log_take().mutations == 1)
        began = time.monotonic()
        lane.drain(300)
        error = waiting.exception()
        assert time.monotonic() - began < WAIT_S / 2
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def follow(engine: Engine, to: int) -> None:
    for sequence in range(engine.position[1], to + 1):
        engine.advance(place(sequence), NOW_US)


def now_us() -> int:
    return time.time_ns() // 1_000


def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    error = call.exception(timeout=WAIT_S)
    assert error is not None
    return error.code(), error.details()


def test_decisions_are_answered_in_their_order_once_their_position_is_here() -> None:
    engine = engine_of(writes_max=1000)
    follow(engine, 1)
    answered: list[int] = []
    with serving(engine) as (_, port), calling(port, DECIDE) as ask:
        calls = []
        for number, sequence in enumerate((4, 2, 3, 2, 4, 3)):
            calls.append(ask.future(decide(sequence), timeout=WAIT_S))
            calls[-1].add_done_callback(lambda _, number=number: answered.append(number))
            assert ask(decide(1), timeout=WAIT_S)
        for sequence, order in ((2, [1, 3]), (3, [1, 3, 2, 5]), (4, [1, 3, 2, 5, 0, 4])):
            engine.advance(place(sequence), NOW_US)
            until(lambda order=order: len(answered) >= len(order))
            assert answered == order
            answer = decision_pb2.DecideResponse.FromString(calls[order[-1]].result())
            assert answer.position.sequence == sequence


def test_a_batch_waits_for_all_its_positions() -> None:
    engine = engine_of(writes_max=10)
    follow(engine, 1)
    requests = [decision(), decision(3), decision(2), decision(4)]
    request = decision_pb2.DecideBatchRequest(requests=requests).SerializeToString()
    with (
        serving(engine) as (_, port),
        calling(port, BATCH) as call,
        calling(port, DECIDE) as ask,
    ):
        waiting = call.future(request, timeout=WAIT_S)
        for sequence in (2, 3, 4):
            assert ask(decide(1), timeout=WAIT_S)
            assert not waiting.done()
            engine.advance(place(sequence), NOW_US)
        answer = decision_pb2.DecideBatchResponse.FromString(waiting.result())
    assert [result.WhichOneof("result") for result in answer.results] == ["response"] * 4
    assert answer.position.sequence == 4


def test_a_position_that_is_lost_while_it_is_waited_for_is_aborted() -> None:
    engine = engine_of(writes_max=10)
    engine.epoch_opened(1, 1_000, (0, 0, 0))
    follow(engine, 5)
    with (
        serving(engine) as (_, port),
        calling(port, DECIDE) as ask,
        calling(port, BATCH) as call,
    ):
        waiting = ask.future(decide(7), timeout=WAIT_S)
        batch = decision_pb2.DecideBatchRequest(requests=[decision(), decision(7)])
        waiting_batch = call.future(batch.SerializeToString(), timeout=WAIT_S)
        twin = decision(7)
        twin.min_position.nonce += 1
        waiting_twin = ask.future(twin.SerializeToString(), timeout=WAIT_S)
        assert ask(decide(5), timeout=WAIT_S)
        assert call(decision_pb2.DecideBatchRequest().SerializeToString(), timeout=WAIT_S)
        # The surviving branch ended at 4, and its next epoch's first entry says so.
        engine.rewind(place(4))
        assert not waiting.done()
        engine.epoch_opened(2, 2_000, place(4))
        for each in (waiting, waiting_twin):
            code, text = refused(each)
            assert code is grpc.StatusCode.ABORTED
            assert "epoch 1, sequence 7" in text
        answer = decision_pb2.DecideBatchResponse.FromString(waiting_batch.result())
        assert answer.results[0].HasField("response")
        assert answer.results[1].error.code == grpc.StatusCode.ABORTED.value[0]


def test_a_position_waits_no_longer_than_the_deadline_or_a_second() -> None:
    engine = engine_of(writes_max=1)
    follow(engine, 1)
    with serving(engine) as (lane, port), calling(port, DECIDE) as ask:
        began = time.monotonic()
        code, _ = refused(ask.future(decide(2), timeout=0.2))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.15 < time.monotonic() - began < 2
        # One may wait at a time: the next one can, so that the last has left its place.
        until(lambda: gone(lane, "Decide") == 1)
        began = time.monotonic()
        waiting = ask.future(decide(2))
        while not waiting.done():
            assert time.monotonic() - began < WAIT_S
            engine.caught_up(now_us())
            time.sleep(0.01)
        assert 0.9 < time.monotonic() - began < 3
        code, text = refused(waiting)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "min_position" in text
        assert lane.counters()["answers.too_late"] == 0


def test_a_cancelled_decision_leaves_its_place() -> None:
    engine = engine_of(writes_max=2)
    follow(engine, 1)
    with serving(engine) as (lane, port), calling(port, DECIDE) as ask:
        for number in range(1, 20):
            calls = [ask.future(decide(2), timeout=600) for _ in range(3)]
            until(lambda calls=calls: any(each.done() for each in calls))
            (surplus,) = [each for each in calls if each.done()]
            assert refused(surplus)[0] is grpc.StatusCode.UNAVAILABLE
            for each in calls:
                each.cancel()
            until(lambda number=number: lane.counters()["calls.cancelled"] == 2 * number)
        last = [ask.future(decide(2), timeout=WAIT_S) for _ in range(2)]
        assert ask(decide(1), timeout=WAIT_S)
        engine.advance(place(2), NOW_US)
        assert all(each.result() for each in last)
        assert lane.counters()["answers.too_late"] == 0


def test_so_many_decisions_wait_for_a_position_and_no_more() -> None:
    engine = engine_of(writes_max=10_000)
    follow(engine, 1)
    with serving(engine, streams_max=100_000) as (_, port), calling(port, DECIDE) as ask:
        calls = [ask.future(decide(2), timeout=60) for _ in range(5_000)]
        until(lambda: sum(each.done() for each in calls) == 5_000 - READS_WAITING_MAX)
        assert ask(decide(1), timeout=WAIT_S)
        surplus = [each for each in calls if each.done()]
        assert {refused(each)[0] for each in surplus} == {grpc.StatusCode.UNAVAILABLE}
        engine.advance(place(2), NOW_US)
        answers = [each.result() for each in calls if each not in set(surplus)]
        assert len(answers) == READS_WAITING_MAX
        again = ask.future(decide(3), timeout=WAIT_S)
        assert ask(decide(2), timeout=WAIT_S)
        engine.advance(place(3), NOW_US)
        assert again.result()


def test_a_lane_that_goes_frees_the_decisions_that_wait() -> None:
    engine = engine_of(writes_max=10_000)
    follow(engine, 1)
    for _ in range(2):
        with serving(engine) as (lane, port), calling(port, DECIDE) as ask:
            waiting = [ask.future(decide(2), timeout=WAIT_S) for _ in range(100)]
            assert ask(decide(1), timeout=WAIT_S)
            lane.stop()
            assert {refused(each)[0] for each in waiting} == {grpc.StatusCode.UNAVAILABLE}
        del lane
        gc.collect()
    engine.advance(place(2), now_us())
    with serving(engine) as (_, port), calling(port, DECIDE) as ask:
        assert ask(decide(2), timeout=WAIT_S)


def test_a_drain_waits_for_decisions_that_wait() -> None:
    engine = engine_of(writes_max=10)
    follow(engine, 1)
    with serving(engine) as (lane, port), calling(port, DECIDE) as ask:
        waiting = ask.future(decide(2), timeout=WAIT_S)
        assert ask(decide(1), timeout=WAIT_S)
        lane.drain(int(WAIT_S * 1000))
        time.sleep(0.1)
        assert not waiting.done()
        engine.advance(place(2), NOW_US)
        assert waiting.result()


def test_calls_are_counted_by_method_and_status() -> None:
    with serving(engine_of()) as (lane, port), calling(port, DECIDE) as ask:
        for _ in range(3):
            ask(decide(), timeout=WAIT_S)
        with pytest.raises(grpc.RpcError):
            ask(b"\xff", timeout=WAIT_S)
        counted = lane.counters()
        assert counted["calls.Decide.OK"] == 3
        assert counted["calls.Decide.INVALID_ARGUMENT"] == 1
        assert counted["connections.open"] == counted["connections.accepted"] == 1
    assert lane.counters()["connections.open"] == 0


def test_too_many_listeners_are_refused_by_name() -> None:
    engine = engine_of()
    with pytest.raises(InvalidRequestError, match="listeners"):
        Lane(engine.door(), [0] * 65, LaneSettings(), "")
    with pytest.raises(InvalidRequestError, match="peer_uids"):
        Lane(engine.door(), [], LaneSettings(peer_uids=tuple(range(300))), "")


def test_a_lane_in_a_cycle_gives_its_seat_back_to_a_living_engine() -> None:
    """The collector must not clear the door before the lane is gone."""
    for _ in range(20):
        cycle: list[Any] = [Lane(engine_of().door(), [], LaneSettings(), "")]
        cycle.append(cycle)
        del cycle
        gc.collect()
