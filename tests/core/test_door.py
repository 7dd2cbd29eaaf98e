"""The door: native threads at the engine while its own thread publishes, writes and expires."""

import ctypes
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from nextbest.core import Engine
from nextbest.core.errors import InvalidRequestError
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
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, profile_pb2

NOW_US = 1_780_000_000_000_000


class Call(ctypes.Structure):
    _fields_ = (
        ("request", ctypes.c_char_p),
        ("length", ctypes.c_size_t),
        ("now_us", ctypes.c_int64),
        ("deadline_us", ctypes.c_int64),
        ("token", ctypes.c_uint64),
        ("leave", ctypes.c_uint8),
        ("trace", ctypes.c_void_p),
    )


class Answer(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_int32),
        ("pending", ctypes.c_int32),
        ("fault", ctypes.c_uint8),
        ("degraded", ctypes.c_uint8),
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("message", ctypes.c_void_p),
        ("message_length", ctypes.c_size_t),
    )


class Request(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("length", ctypes.c_size_t))


Method = Callable[..., None]
METHOD = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(Call), ctypes.POINTER(Answer))


class Door(ctypes.Structure):
    _fields_ = (
        ("engine", ctypes.c_void_p),
        ("open", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)),
        ("close", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("decide", METHOD),
        ("decide_batch", METHOD),
        ("track", METHOD),
        ("ahead", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)),
        # Not called here.
        *((name, ctypes.c_void_p) for name in ("too_large", "overloaded")),
        ("wake_fd", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)),
        *((name, ctypes.c_void_p) for name in ("completed", "forget", "ended")),
        ("gathers", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)),
        ("let_go", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    )


def door_of(engine: Engine) -> tuple[object, Door]:
    capsule = engine.door()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return capsule, Door.from_address(pointer(capsule, b"nextbest.core.door"))


def logging_door() -> tuple[Engine, object, Door]:
    """An engine whose writes go to a log, what keeps its door, and that."""
    engine = Engine(profiles_max=100)
    engine.publish(plan(0))
    engine.attach_log(2_000)
    return engine, *door_of(engine)


@contextmanager
def seated(door: Door) -> Iterator[int]:
    seat = door.open(door.engine)
    try:
        yield seat
    finally:
        door.close(seat)


def ask(method: Method, seat: int, request: bytes, deadline_us: int = 0) -> tuple[int, bytes, str]:
    """One call without the GIL: its code, its bytes and its message."""
    call, answer = Call(request, len(request), NOW_US, deadline_us, 0), Answer()
    method(seat, ctypes.byref(call), ctypes.byref(answer))
    message = ctypes.string_at(answer.message, answer.message_length) if answer.message else b""
    return answer.code, ctypes.string_at(answer.data, answer.length), message.decode()


def look_ahead(door: Door, seat: int, *requests: bytes) -> None:
    """Let the engine see what it is asked next, in parts that it takes."""
    for i in range(0, len(requests), 32):
        part = [Request(one, len(one)) for one in requests[i : i + 32]]
        door.ahead(seat, (Request * len(part))(*part), len(part))


def plan(number: int) -> Plan:
    """A playbook whose score tells its number."""
    return Plan(
        hash=number.to_bytes(16, "big"),
        attributes=(Attribute("name", ValueType.STRING),),
        events=(Event("buy", (Field("time", ValueType.TIMESTAMP),)),),
        counters=(
            Counter("buys", bytes(16), event=0, aggregate=Aggregate.COUNT),
            # A counter more with each playbook, so that rows are re-laid.
            *(
                Counter(f"buys{n}", bytes([n] * 16), event=0, aggregate=Aggregate.COUNT)
                for n in range(1, number + 1)
            ),
        ),
        scorecards=(
            Scorecard(
                "engagement",
                (ScoreRule(reason="buys", text="buy", points=number + 1, counter=0),),
                min=-(2**62),
                max=2**62,
            ),
        ),
    )


def buy(person: str, number: int) -> bytes:
    request = event_pb2.TrackRequest(event_id=f"{person}-{number}", event="buy")
    request.identity.id = person
    request.occurred_at.FromMicroseconds(NOW_US)
    return request.SerializeToString()


def decide(person: str, **fields: object) -> bytes:
    request = decision_pb2.DecideRequest(scores=["*"], **fields)  # type: ignore[arg-type]
    request.identity.id = person
    return request.SerializeToString()


def test_both_ways_in_give_the_same_bytes() -> None:
    engine = Engine(profiles_max=100)
    engine.publish(plan(0))
    _capsule, door = door_of(engine)
    with seated(door) as seat:
        assert ask(door.track, seat, buy("ann", 1))[0] == 0
        request = decide("ann", decision_id="d", seed=3)
        code, data, _ = ask(door.decide, seat, request)
        assert code == 0
        assert engine.decide(request, NOW_US) == data
        answer = decision_pb2.DecideResponse.FromString(data)
        assert answer.scores[0].points == 1
        batch = decision_pb2.DecideBatchRequest(
            requests=[
                decision_pb2.DecideRequest.FromString(request),
                decision_pb2.DecideRequest(scores=["none"]),
            ]
        ).SerializeToString()
        assert ask(door.decide_batch, seat, batch)[1] == engine.decide_batch(batch, NOW_US)


def test_both_ways_in_refuse_alike() -> None:
    engine = Engine(profiles_max=100)
    _capsule, door = door_of(engine)
    with seated(door) as seat:
        code, data, message = ask(door.decide, seat, decide("ann"))
        assert code == code_pb2.FAILED_PRECONDITION
        assert "publish one first" in message
        engine.publish(plan(0))
        for request in (b"\xff", decide(""), decide("a" * 300), decide("ann", placements=["x"])):
            code, data, message = ask(door.decide, seat, request)
            status = status_pb2.Status.FromString(data)
            with pytest.raises(InvalidRequestError) as refused:
                engine.decide(request, NOW_US)
            assert (code, message) == (status.code, status.message) == (3, str(refused.value))
            violations = error_details_pb2.BadRequest()
            assert status.details[1].Unpack(violations)
            assert violations.field_violations[0].field == refused.value.field
        code, _, message = ask(door.decide, seat, decide("ann"), deadline_us=NOW_US)
        assert code == code_pb2.DEADLINE_EXCEEDED


def test_writes_of_a_seat_go_to_the_log_together() -> None:
    engine, _capsule, door = logging_door()
    fd = engine.log_fd(0)
    with seated(door) as seat, seated(door) as other:
        assert not door.gathers(seat)
        for number in range(3):
            assert ask(door.track, seat, buy("ann", number))[0] == 0
        assert door.gathers(seat)
        assert not door.gathers(other)
        assert not readable(fd)
        assert engine.log_take().mutations == 0
        assert engine.log_waiting(0) == 3
        door.let_go(seat)
        assert not door.gathers(seat)
        assert readable(fd)
        assert engine.log_take().mutations == 3
        # The log has something: more is no reason to wake it, until it is done.
        ask(door.track, seat, buy("ann", 3))
        door.let_go(seat)
        assert not readable(fd)
        engine.log_done(0, 3, (1, 1, 1), 2)
        assert readable(fd)
        assert engine.log_take().mutations == 1


def test_what_is_gathered_can_be_taken_and_goes_by_itself_when_an_entry_is_full() -> None:
    engine, _capsule, door = logging_door()
    fd = engine.log_fd(0)
    with seated(door) as seat:
        ask(door.track, seat, buy("ann", 0))
        assert engine.log_take(gathered=True).mutations == 1
        engine.log_done(0, 1, (1, 1, 1), 2)
        # Nothing is left to let go.
        door.let_go(seat)
        assert not readable(fd)
        for number in range(1, 1_000):
            ask(door.track, seat, buy("ann", number))
        assert not readable(fd)
        ask(door.track, seat, buy("ann", 1_000))
        assert readable(fd)
        assert engine.log_take().mutations == 1_000
        ask(door.track, seat, buy("ann", 1_001))
        assert engine.log_take().mutations == 0
    # A seat that closes leaves nothing behind.
    assert engine.log_take().mutations == 1


def test_a_write_that_is_not_gathered_takes_those_before_it_along() -> None:
    engine, _capsule, door = logging_door()
    with seated(door) as seat:
        ask(door.track, seat, buy("ann", 0))
        engine.track(buy("ann", 1), NOW_US, 1)
        assert engine.log_take().mutations == 2


def test_each_seat_is_woken_for_its_own_writes_and_for_a_part_of_them() -> None:
    engine, _capsule, door = logging_door()
    with seated(door) as seat, seated(door) as other:
        fds = [door.wake_fd(seat), door.wake_fd(other)]
        # More than are told under one latch, one seat's between another's.
        for number in range(150):
            ask(door.track, seat, buy("ann", number))
        ask(door.track, other, buy("bob", 0))
        for number in range(150, 300):
            ask(door.track, seat, buy("ann", number))
        assert engine.log_take(gathered=True).mutations == 301
        assert engine.log_done(0, 100, (1, 1, 1), 2) == 100
        assert [readable(fd) for fd in fds] == [True, False]
        assert engine.log_done(0, 51, (1, 1, 1), 2) == 51
        assert [readable(fd) for fd in fds] == [True, True]
        assert engine.log_done(0, 150, (1, 1, 1), 2) == 150


def test_a_seat_that_closes_is_told_nothing_more() -> None:
    engine, _capsule, door = logging_door()
    with seated(door) as seat:
        with seated(door) as gone:
            for number in range(100):
                ask(door.track, gone, buy("ann", number))
        for number in range(100, 200):
            ask(door.track, seat, buy("ann", number))
        assert engine.log_take(gathered=True).mutations == 200
        assert engine.log_done(0, 100, (1, 1, 1), 2) == 100
        assert not readable(door.wake_fd(seat))
        assert engine.log_done(0, 100, (1, 1, 1), 2) == 100
        assert readable(door.wake_fd(seat))


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_threads_see_whole_playbooks_while_others_are_published() -> None:
    """Each answer is of one generation: its score tells the playbook that its hash names."""
    engine = Engine(profiles_max=10_000, generations_max=3)
    engine.publish(plan(0))
    _capsule, door = door_of(engine)
    stop, wrong, answered = threading.Event(), [], [0, 0]
    tracked = [0, 0]

    def serve(which: int) -> None:
        person = f"p{which}"
        with seated(door) as seat:
            while not stop.is_set():
                for _ in range(50):
                    tracked[which] += 1
                    look_ahead(door, seat, buy(person, tracked[which]), decide(person))
                    code, _, message = ask(door.track, seat, buy(person, tracked[which]))
                    got, data, more = ask(door.decide, seat, decide(person))
                    answer = decision_pb2.DecideResponse.FromString(data)
                    number = int(answer.playbook_hash, 16)
                    points = answer.scores[0].points
                    if code or got or points != (number + 1) * tracked[which]:
                        wrong.append((code, got, message, more, points, number))
                    answered[which] += 1

    threads = [threading.Thread(target=serve, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    number = 0
    # A round for each schema; then until the threads have had their share.
    while number < 60 or (min(answered) < 500 and number < 100_000 and not wrong):
        number += 1
        engine.publish(plan(number % 60))
        engine.activate(engine.generation)
        while engine.relay(100):
            pass
        upsert = profile_pb2.UpsertProfileRequest(
            write_id=f"w{number}",
            identity=common_pb2.Identity(id=f"p{number % 2}"),
            attributes={"name": common_pb2.Value(string_value="x" * (number % 60))},
        )
        engine.upsert(upsert.SerializeToString(), NOW_US)
        engine.expire(2, NOW_US)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert min(answered) >= 500
    assert engine.store.profiles == 2


def test_looking_ahead_changes_nothing_whatever_it_sees() -> None:
    engine, _capsule, door = logging_door()
    with seated(door) as seat:
        # Of an empty store, then of one that knows some of them.
        for _ in range(2):
            digest, profiles = engine.digest(), engine.store.profiles
            look_ahead(door, seat, b"", b"\x12", b"\x12\x7f\x0a", b"\x10\x02", b"\xff" * 20)
            look_ahead(door, seat, *(buy(f"p{n}", 0) for n in range(70)), decide(""), decide("p1"))
            assert (engine.digest(), engine.store.profiles) == (digest, profiles)
            for n in range(40):
                assert ask(door.track, seat, buy(f"p{n}", 0))[0] == 0
    assert engine.store.profiles == 40


def test_one_decision_id_has_one_answer_from_all_threads() -> None:
    engine = Engine(profiles_max=100)
    engine.publish(plan(0))
    _capsule, door = door_of(engine)
    seen: list[list[bytes]] = [[], []]

    def serve(which: int) -> None:
        with seated(door) as seat:
            for number in range(500):
                seen[which].append(
                    ask(door.decide, seat, decide("ann", decision_id=f"{number}"))[1]
                )

    threads = [threading.Thread(target=serve, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[0] == seen[1]


def test_seats_are_bounded_and_come_back() -> None:
    engine = Engine(profiles_max=10)
    _capsule, door = door_of(engine)
    for _ in range(3):
        seats = []
        while (seat := door.open(door.engine)) is not None:
            seats.append(seat)
        assert 100 < len(seats) < 256
        for seat in seats:
            door.close(seat)
