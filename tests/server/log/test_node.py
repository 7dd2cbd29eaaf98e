"""The node: what is acknowledged is in the log, and members that lost something find out."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from nextbest.core.errors import (
    UNAVAILABLE,
    AckRefusedError,
    LogAwayError,
    LogFailedError,
    PositionLostError,
    TooLateError,
    WritesRefusedError,
)
from nextbest.server.log.contents import pack, unpack
from nextbest.server.log.cover import SnapshotVoidError
from nextbest.server.log.entry import READS, frame
from nextbest.server.log.limits import RESEED_SKIP
from nextbest.server.log.log import BEFORE, LOGGED_QUEUE, Position, Record
from nextbest.server.log.log import LogAwayError as CutOffError
from nextbest.server.log.memory import MemoryLog, MemoryStore
from nextbest.server.log.reseed import ReseedRefusedError
from nextbest.v1 import decision_pb2, log_pb2, mutation_pb2, profile_pb2
from tests.server.log.member import (
    APPLIED,
    LOGGED,
    REPLICATED,
    Member,
    equal,
    eventually,
    following,
    now_us,
)


def pair(store: MemoryStore) -> tuple[Member, Member]:
    return Member(MemoryLog(store), "a"), Member(MemoryLog(store), "b")


async def test_a_first_member_opens_the_log_and_its_writes_are_in_it() -> None:
    store = MemoryStore()
    member = Member(MemoryLog(store))
    async with following(member):
        answer = await member.track("e1")
        assert answer.ack == LOGGED
        assert answer.position.epoch == 1
        assert answer.position.sequence >= 1
        await member.node.reach(
            (answer.position.epoch, answer.position.sequence, answer.position.nonce), 1.0
        )
        assert member.views() == 1
        assert member.node.ahead == 0
        assert store.records[0][:2] == (1, 0)


async def test_a_member_that_never_read_the_log_accepts_nothing_until_it_has() -> None:
    """It cannot know which ids the others have forgotten."""
    store = MemoryStore()
    store.available = False
    member = Member(MemoryLog(store))
    await member.start()
    try:
        await member.until("away")
        with pytest.raises(WritesRefusedError) as refused:
            await member.track("e1", ack=APPLIED)
        assert refused.value.status_code == UNAVAILABLE
        assert refused.value.retry_ms
        store.available = True
        await member.until("following")
        assert (await member.track("e1", ack=APPLIED)).ack == APPLIED
    finally:
        await member.stop(0)


async def test_two_members_converge_and_read_each_others_writes() -> None:
    a, b = pair(MemoryStore())
    async with following(a, b):
        for number in range(50):
            answer = await (a if number % 2 else b).track(f"e{number}")
        at = answer.position
        for member in (a, b):
            await member.node.reach((at.epoch, at.sequence, at.nonce), 1.0)
            assert member.views() == 50
        await equal(a, b)


async def test_replicated_is_refused_where_one_process_holds_it_all() -> None:
    member = Member(MemoryLog(MemoryStore()))
    async with following(member):
        with pytest.raises(AckRefusedError, match="one process"):
            await member.track("e1", ack=REPLICATED)


async def test_replicated_is_answered_with_replicas_and_commits_what_went_before() -> None:
    member = Member(MemoryLog(MemoryStore(replicas=2)))
    async with following(member):
        await member.track("e1")
        answer = await member.track("e2", ack=REPLICATED)
        assert answer.ack == REPLICATED
        assert member.node.context.progress.committed[:2] >= (1, answer.position.sequence)


async def test_too_few_replicas_leave_the_outcome_unknown_and_logged_writes_go_on() -> None:
    store = MemoryStore(replicas=1)
    member = Member(MemoryLog(store))
    async with following(member):
        store.replicas = 0
        with pytest.raises(LogFailedError):
            await member.track("e1", ack=REPLICATED)
        assert (await member.track("e2")).ack == LOGGED
        assert member.node.state == "following"
        # It is in the log all the same, and nothing stays ahead.
        await eventually(lambda: member.node.ahead == 0)
        store.replicas = 1
        answer = await member.track("e1", ack=REPLICATED)
        assert answer.duplicate
        assert member.views() == 2


async def test_a_log_that_is_away_refuses_at_once_and_gets_what_was_applied_later() -> None:
    store = MemoryStore()
    a, b = pair(store)
    async with following(a, b):
        await a.track("e1")
        store.available = False
        await a.until("away")
        begun = time.monotonic()
        with pytest.raises(LogAwayError):
            await a.track("e2")
        assert time.monotonic() - begun < 0.05
        assert (await a.track("e3", ack=APPLIED)).ack == APPLIED
        assert a.views() == 2
        assert a.node.ahead == 1
        store.available = True
        await a.until("following")
        await equal(a, b)
        assert b.views() == 2


class SlowLog(MemoryLog):
    """Takes appends, and answers them when it is let."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.answers = asyncio.Event()
        self.answers.set()

    async def append(
        self, queue: int, epoch: int, replication_id: str, data: bytes, replicas: int
    ) -> int:
        sequence = await super().append(queue, epoch, replication_id, data, replicas)
        await self.answers.wait()
        return sequence


async def test_an_append_that_takes_too_long_is_answered_as_unknown_and_kept() -> None:
    store = MemoryStore()
    log = SlowLog(store)
    member = Member(log)
    async with following(member):
        log.answers.clear()
        begun = time.monotonic()
        results = await asyncio.gather(
            *(member.track(f"e{number}") for number in range(20)), return_exceptions=True
        )
        assert time.monotonic() - begun < 0.2
        assert all(isinstance(result, LogFailedError) for result in results)
        assert member.node.state == "away"
        with pytest.raises(LogAwayError):
            await member.track("e99")
        log.answers.set()
        await member.until("following")
        assert (await member.track("e1")).duplicate
        await eventually(lambda: member.node.ahead == 0)
        assert member.views() == 20


async def test_a_batch_that_came_back_is_not_appended_again() -> None:
    store = MemoryStore()
    log = SlowLog(store)
    member = Member(log)
    async with following(member):
        log.answers.clear()
        with pytest.raises(LogFailedError):
            await member.track("e1")
        # The connection breaks without an answer, though the log has the entry.
        store.available = False
        log.answers.set()
        await member.until("away")
        store.available = True
        await member.until("following")
        await eventually(lambda: member.node.ahead == 0)
    assert batches(store) == 1


def batches(store: MemoryStore) -> int:
    return sum(unpack(record).kind == "batch" for record in store.records)


async def test_a_lost_tail_is_found_and_appended_again() -> None:
    store = MemoryStore()
    a, b = pair(store)
    async with following(a, b):
        for number in range(20):
            await a.write(f"a{number}")
            await b.write(f"b{number}")
        await equal(a, b)
        store.fail_over(lost=15)
        await eventually(lambda: a.position.epoch > 1 and b.position.epoch > 1)
        await a.until("following")
        await b.until("following")
        await equal(a, b)
        assert a.views() == b.views() == 40
        assert a.node.status().divergences == 1
        assert b.node.status().divergences == 1
    fresh = Member(MemoryLog(store), "c")
    async with following(fresh):
        assert fresh.views() == 40


async def test_a_position_on_the_lost_branch_is_lost_and_never_waited_for() -> None:
    store = MemoryStore()
    member = Member(MemoryLog(store))
    async with following(member):
        answer = await member.track("e1")
        at = (answer.position.epoch, answer.position.sequence, answer.position.nonce)
        await member.node.reach(at, 1.0)
        store.fail_over(lost=len(store.records) - 1)
        await eventually(lambda: member.node.status().divergences == 1)
        await member.until("following")
        with pytest.raises(PositionLostError):
            await member.node.reach(at, 1.0)
        assert (await member.track("e1")).duplicate


async def test_two_branches_of_one_epoch_are_told_apart_by_their_nonces() -> None:
    first = MemoryStore()
    log = MemoryLog(first)
    a = Member(log, "a")
    async with following(a):
        await a.write("common")
        await eventually(lambda: a.node.ahead == 0)
        second = MemoryStore()
        second.records = list(first.records)
        b = Member(MemoryLog(second), "b")
        async with following(b):
            first.fail_over()
            for number in range(5):
                await a.write(f"a{number}")
            for number in range(9):
                await b.write(f"b{number}")
            await eventually(lambda: a.position.epoch == b.position.epoch == 2)
            log._store = second
            await eventually(lambda: a.node.status().divergences == 1)
            await a.until("following")
            await equal(a, b)
            assert a.views() == b.views() == 15


async def test_a_wiped_log_is_refused_until_an_operator_starts_it_anew() -> None:
    store = MemoryStore()
    a, b = pair(store)
    async with following(a, b):
        for number in range(10):
            await a.write(f"e{number}")
        await equal(a, b)
        store.wipe()
        begun = time.monotonic()
        await a.until("reset")
        await b.until("reset")
        assert time.monotonic() - begun < 1.0
        with pytest.raises(WritesRefusedError):
            await a.track("late", ack=APPLIED)
        with pytest.raises(ReseedRefusedError):
            await Member(MemoryLog(store), "x").node.reseed()
        assert not store.records
        opened = await a.node.reseed()
        assert opened.epoch == 2 + RESEED_SKIP
        await a.until("following")
        await b.until("following")
        await b.write("e10")
        await equal(a, b)
        assert a.views() == b.views() == 11


async def test_a_log_begun_anew_by_a_newcomer_is_not_followed() -> None:
    store = MemoryStore()
    a = Member(MemoryLog(store), "a")
    async with following(a):
        for number in range(10):
            await a.write(f"e{number}")
        await eventually(lambda: a.node.ahead == 0)
        store.wipe()
        await a.until("reset")
        newcomer = Member(MemoryLog(store), "n")
        async with following(newcomer):
            await newcomer.write("n1")
            await asyncio.sleep(0.1)
            assert a.node.state == "reset"
            assert a.views() == 10
            with pytest.raises(ReseedRefusedError, match="not empty"):
                await a.node.reseed()
            await a.node.reseed(force=True)
            await a.until("following")
            # The newcomer needs a snapshot now; what it took meanwhile is not lost.
            await eventually(lambda: newcomer.node.needs_snapshot)
            await eventually(lambda: a.views() == 11)


async def test_a_damaged_entry_is_skipped_by_every_member_alike() -> None:
    store = MemoryStore()
    a, b = pair(store)
    async with following(a, b):
        await a.track("e1")
        await equal(a, b)
        last = store.records[-1]
        store.add(Record(last.epoch, last.sequence + 1, b"\x01damaged entry"))
        store.add(Record(last.epoch, last.sequence + 2, frame(b"\xff\xff\xff")))
        await b.track("e2")
        await eventually(lambda: a.views() == b.views() == 2)
        await equal(a, b)
        for member in (a, b):
            assert member.node.status().dead_letters == 2
            assert member.node.state == "following"


async def test_an_entry_of_a_newer_kind_stops_the_member_until_it_is_upgraded() -> None:
    store = MemoryStore()
    member = Member(MemoryLog(store))
    async with following(member):
        await member.track("e1")
        last = store.records[-1]
        # Field 15 of LogEntry, which this version does not know.
        store.add(Record(last.epoch, last.sequence + 1, frame(b"\x09" + bytes(8) + b"\x7a\x01x")))
        await member.until("incompatible")
        at = member.position
        with pytest.raises(WritesRefusedError):
            await member.track("e2")
        await asyncio.sleep(0.2)
        assert member.position == at
        assert member.node.state == "incompatible"


async def test_a_member_without_a_snapshot_reads_the_log_from_its_beginning() -> None:
    store = MemoryStore()
    a = Member(MemoryLog(store))
    async with following(a):
        for number in range(30):
            await a.write(f"e{number}")
    again = Member(MemoryLog(store))
    async with following(again):
        assert again.views() == 30
        assert (await again.track("e1")).duplicate
        assert store.records[-1].epoch == 1


async def test_a_member_that_a_trimmed_log_left_behind_says_so() -> None:
    store = MemoryStore()
    a, b = pair(store)
    async with following(a):
        for number in range(30):
            await a.write(f"e{number}")
        store.drop(10)
        await b.start()
        await b.until("diverged")
        assert "begins at 1-10" in b.node.status().reason
        with pytest.raises(WritesRefusedError):
            await b.track("x")
        await b.stop(0)


async def test_a_member_left_behind_hands_over_what_only_it_has() -> None:
    store = MemoryStore()
    cut = CutLog(store)
    a, b = Member(cut, "a"), Member(MemoryLog(store), "b")
    async with following(a, b):
        await a.write("e1")
        await equal(a, b)
        cut.cut = True
        await a.until("away")
        await a.track("e2", ack=APPLIED)
        for number in range(10):
            await b.write(f"b{number}")
        store.drop(len(store.records) - 2)
        cut.cut = False
        await eventually(lambda: a.node.needs_snapshot)
        await eventually(lambda: b.views() == 12)
        await asyncio.sleep(0.3)
        assert sum(b"e2" in event_ids(record) for record in store.records) == 1
        assert a.node.needs_snapshot
        assert a.node.ahead == 0
        # What b acknowledged since would be gone.
        with pytest.raises(ReseedRefusedError, match="b follows it"):
            await a.node.reseed(force=True)


class CutLog(MemoryLog):
    """One member's way to the log, which can be cut."""

    cut = False

    def _there(self) -> MemoryStore:
        if self.cut:
            raise CutOffError("memory: cut off")
        return super()._there()


def event_ids(record: Record) -> set[bytes]:
    """The ids of the events in an entry."""
    entry = unpack(record)
    if entry.kind != "batch":
        return set()
    batch = mutation_pb2.MutationBatch.FromString(entry.body)
    return {mutation.event.event_id.encode() for mutation in batch.mutations}


async def test_an_erased_person_does_not_come_back_with_a_lost_tail() -> None:
    store = MemoryStore()
    a, b = pair(store)
    async with following(a, b):
        await a.track("e1", "eve")
        await equal(a, b)
        store.available = False
        await a.until("away")
        await a.track("of-the-forgotten", "eve", ack=APPLIED)
        await eventually(lambda: a.node.ahead == 1)
        a.engine.erase(erasure("eve"), a.clock(), 0)
        store.available = True
        await a.until("following")
        await equal(a, b)
        assert a.views("eve") == b.views("eve") == 0
    assert not any(b"of-the-forgotten" in record.data for record in store.records)


def erasure(person: str) -> bytes:
    request = profile_pb2.EraseProfileRequest(write_id="x", ack=APPLIED)
    request.identity.id = person
    return request.SerializeToString()


async def test_a_full_log_refuses_writes_and_goes_on_when_there_is_room() -> None:
    store = MemoryStore()
    member = Member(MemoryLog(store))
    async with following(member):
        await member.track("e1")
        store.bytes_max = store.bytes
        with pytest.raises(LogFailedError):
            await member.track("e2")
        await member.until("full")
        with pytest.raises(LogAwayError):
            await member.track("e3")
        store.bytes_max = 1 << 30
        await member.until("following")
        await eventually(lambda: member.node.ahead == 0)
        assert member.views() == 2
        assert batches(store) == 2


async def test_a_full_log_is_trimmed_as_far_as_snapshots_go() -> None:
    store = MemoryStore()
    held = Snapshots()
    member = Member(MemoryLog(store), snapshots=held)
    async with following(member):
        for number in range(20):
            await member.write(f"e{number}")
        await eventually(lambda: member.node.ahead == 0)
        held.newest = Position(*member.node.context.retained.position(10))
        await eventually(lambda: store.records[0][:2] == held.newest[:2])
        held.newest = member.position
        # The next heartbeat says so, and is the last that fits.
        store.bytes_max = store.bytes + 100
        await member.until("full")
        await member.until("following")
        assert store.records[0][:2] >= held.newest[:2]


async def test_a_clock_that_is_off_refuses_writes() -> None:
    off_ms = 0
    log = MemoryLog(MemoryStore(), lambda: now_us() // 1_000 + off_ms)
    member = Member(log)
    async with following(member):
        await member.track("e1")
        off_ms = 700
        await member.until("skewed")
        with pytest.raises(WritesRefusedError, match="clock"):
            await member.track("e2", ack=APPLIED)
        off_ms = -300
        await member.until("following")
        await member.track("e3")


async def test_the_lease_passes_on_when_its_holder_falls_silent() -> None:
    store = MemoryStore()
    a, b = pair(store)
    async with following(a):
        await eventually(lambda: a.node.leads)
        async with following(b):
            await asyncio.sleep(0.1)
            assert not b.node.leads
            assert b.node.coordinator.holder == "a"
            term = a.node.coordinator.term
            await a.node.stop(0)
            await eventually(lambda: b.node.leads)
            assert b.node.coordinator.term == term + 1


class Snapshots:
    """Stands for the files: what matters is how far they reach."""

    def __init__(self) -> None:
        self.newest = BEFORE

    async def take(self) -> object:
        return None


async def test_the_log_is_trimmed_up_to_the_oldest_snapshot_and_never_past_it() -> None:
    store = MemoryStore()
    held, other = Snapshots(), Snapshots()
    a = Member(MemoryLog(store), "a", snapshots=held)
    b = Member(MemoryLog(store), "b", snapshots=other)
    async with following(a, b):
        for number in range(20):
            await a.write(f"e{number}")
        await equal(a, b)
        held.newest = a.position
        await asyncio.sleep(0.3)
        assert store.records[0][:2] == (1, 0)
        other.newest = Position(*a.node.context.retained.position(5))
        await eventually(lambda: store.records[0][:2] == other.newest[:2])
        await asyncio.sleep(0.2)
        assert store.records[0][:2] == other.newest[:2]
        other.newest = held.newest
        await eventually(lambda: store.records[0][:2] == held.newest[:2])


DAY_US = 86_400_000_000


async def test_the_coordinator_moves_the_horizon_in_steps_for_everybody() -> None:
    store = MemoryStore()
    a = Member(MemoryLog(store), "a", horizon_ms=30)
    b = Member(MemoryLog(store), "b", horizon_ms=30)
    async with following(a, b):
        old_us = now_us() - 40 * DAY_US
        await a.track("old", at_us=old_us)
        await a.track("new")
        # The first move forgets nothing, and tells edges what they may not take any more.
        await eventually(lambda: 0 < b.engine.store.horizon_ms <= old_us // 1_000)
        with pytest.raises(TooLateError):
            await b.track("late", at_us=old_us + 60_000_000)
        hour_ms = 3_600_000
        await eventually(lambda: b.engine.store.horizon_ms > old_us // 1_000 + hour_ms - 1_000)
        await equal(a, b)
        assert a.engine.store.horizon_ms == b.engine.store.horizon_ms
        assert a.engine.store.remembered == b.engine.store.remembered == 1
        assert a.views() == b.views() == 2
        assert all(later - earlier <= hour_ms for earlier, later in pairwise(moves(store)))


def moves(store: MemoryStore) -> list[int]:
    """Where the log's horizons are."""
    entries = map(unpack, store.records)
    return [entry.body.before_ms for entry in entries if entry.kind == "horizon"]


async def beats(member: Member, count: int) -> None:
    """So many heartbeats of a member, each a chance to move the horizon."""
    end = member.position.sequence + count
    await eventually(lambda: member.position.sequence >= end)


class HoldingLog(MemoryLog):
    """Appends of mutations at LOGGED take until they are freed."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.free = asyncio.Event()

    async def append(self, queue: int, *entry: Any) -> int:
        if queue == LOGGED_QUEUE:
            await self.free.wait()
        return await super().append(queue, *entry)


async def test_the_horizon_waits_for_what_was_accepted_before_the_last_one() -> None:
    store = MemoryStore(replicas=1)
    log = HoldingLog(store)
    a, b = Member(MemoryLog(store), "a", horizon_ms=30), Member(log, "b")
    async with following(a):
        await eventually(lambda: a.node.leads)
        async with following(b):
            old_us = now_us() - 40 * DAY_US
            await b.track("held", ack=APPLIED, at_us=old_us + 60_000_000)
            await a.track("old", at_us=old_us)
            await eventually(lambda: b.engine.store.horizon_ms > 0)
            await beats(a, 20)
            # The one that drops nothing.
            assert len(moves(store)) == 1
            log.free.set()
            await eventually(lambda: len(moves(store)) > 1)
            await equal(a, b)
            assert a.views() == b.views() == 2
            assert not b.node.needs_snapshot


class UnsureLog(MemoryLog):
    """A log of which it is not known whether its master stays."""

    known = False

    async def stays(self) -> bool | None:
        return True if self.known else None


async def test_the_horizon_waits_while_the_master_may_have_been_replaced() -> None:
    store = MemoryStore()
    log = UnsureLog(store)
    member = Member(log, horizon_ms=30)
    async with following(member):
        await member.track("old", at_us=now_us() - 40 * DAY_US)
        await beats(member, 10)
        assert not moves(store)
        log.known = True
        await eventually(lambda: len(moves(store)) > 1)


async def test_horizons_that_the_log_lost_come_again_one_by_one() -> None:
    store = MemoryStore()
    member = Member(MemoryLog(store), horizon_ms=30)
    async with following(member):
        old_us = now_us() - 40 * DAY_US
        await member.track("young", at_us=old_us + 5_400_000_000)
        await member.track("old", at_us=old_us)
        await eventually(lambda: len(moves(store)) == 3)
        before = moves(store)
        kinds = [unpack(record).kind for record in store.records]
        store.fail_over(lost=len(kinds) - kinds.index("horizon"))
        # Who was away meanwhile has passed none of them, and took what only the first allows.
        await eventually(lambda: len(moves(store)) == 3)
        assert moves(store) == before


async def test_what_is_older_than_the_horizon_is_listed_and_a_snapshot_asked_for() -> None:
    store = MemoryStore()
    log = MemoryLog(store)
    a, b = Member(log, "a"), Member(MemoryLog(store), "b")
    async with following(a, b):
        await eventually(lambda: bool(b.node.coordinator.term))
        store.available = False
        await a.until("away")
        await a.track("old", ack=APPLIED, at_us=now_us() - 40 * DAY_US)
        await a.track("new", ack=APPLIED)
        last = store.records[-1]
        horizon = log_pb2.Horizon(before_ms=now_us() // 1_000 - 30 * 86_400_000)
        horizon.term = b.node.coordinator.term
        store.add(Record(last.epoch, last.sequence + 1, pack(1, horizon=horizon)))
        store.available = True
        await eventually(lambda: a.node.status().lost_ids == ["old"])
        await eventually(lambda: b.views() == 1)
        assert a.node.state == "diverged"
        assert a.node.needs_snapshot


async def test_entries_of_a_coordinator_that_was_replaced_are_ignored() -> None:
    store = MemoryStore()
    member = Member(MemoryLog(store))
    async with following(member):
        await eventually(lambda: member.node.leads)
        last = store.records[-1]
        horizon = log_pb2.Horizon(before_ms=now_us() // 1_000, term=0)
        store.add(Record(last.epoch, last.sequence + 1, pack(1, horizon=horizon)))
        await member.track("e1")
        await eventually(lambda: member.node.ahead == 0)
        assert member.engine.store.horizon_ms == 0


async def test_a_format_is_allowed_once_every_member_reads_it() -> None:
    store = MemoryStore()
    a, b = pair(store)
    async with following(a, b):
        await eventually(lambda: a.node.coordinator.format == b.node.coordinator.format == READS)
        assert sum(unpack(record).kind == "format" for record in store.records) == 1


async def test_staleness_stays_low_while_only_others_write() -> None:
    a, b = pair(MemoryStore())
    async with following(a, b):
        end = time.monotonic() + 1.0
        number = 0
        while time.monotonic() < end:
            await a.write(f"e{number}")
            number += 1
        # Reads never came back empty; b knows the log's end from its own heartbeats.
        header = decision_pb2.DecideResponse.FromString(b.engine.header(now_us()))
        assert header.staleness_ms < 700
        assert not header.degraded


async def test_status_says_how_the_log_and_the_members_are() -> None:
    a, b = pair(MemoryStore(replicas=1))
    async with following(a, b):
        await a.track("e1")
        await equal(a, b)
        await eventually(lambda: len(a.node.status().members) == 2)
        await eventually(lambda: a.node.status().lease.term == 1)
        status = a.node.status()
        assert (status.kind, status.state, status.reason) == ("memory", "following", "")
        assert (status.member, status.replicas, status.replicated_refused) == ("a", 1, "")
        assert [member.name for member in status.members] == ["a", "b"]
        assert [epoch.number for epoch in status.epochs] == [1]
        assert status.epochs[0].replication_id
        await eventually(lambda: a.node.status().committed.sequence > 0)
        assert b.node.status().digest_rows == status.digest_rows


async def test_a_snapshot_is_covered_once_all_it_holds_is_read_back_and_committed() -> None:
    store = MemoryStore(replicas=1)
    log = SlowLog(store)
    member = Member(log)
    async with following(member):
        await member.track("e1")
        mark = member.node.cover.mark()
        await member.track("e2", ack=APPLIED)
        end = await member.node.cover.settle(mark)
        assert end[:2] > mark.position[:2]
        assert member.node.context.progress.committed[:2] >= end[:2]


async def test_a_snapshot_of_a_lost_tail_is_void() -> None:
    store = MemoryStore(replicas=1)
    member = Member(MemoryLog(store))
    async with following(member):
        await member.track("e1")
        await eventually(lambda: member.node.ahead == 0)
        mark = member.node.cover.mark()
        store.replicas = 0
        settling = asyncio.create_task(member.node.cover.settle(mark))
        await asyncio.sleep(0.05)
        store.fail_over(lost=min(5, len(store.records) - 1))
        with pytest.raises(SnapshotVoidError):
            await settling


async def test_stopping_gives_the_log_what_waits() -> None:
    store = MemoryStore()
    member = Member(MemoryLog(store))
    await member.start()
    await member.until("following")
    for number in range(100):
        await member.track(f"e{number}", ack=APPLIED)
    assert await member.stop(1.0) == 0
    again = Member(MemoryLog(store), "b")
    async with following(again):
        assert again.views() == 100
