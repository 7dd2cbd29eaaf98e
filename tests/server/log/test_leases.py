"""Leases: who may decide by consents, and whom a revocation waits for."""

from __future__ import annotations

import asyncio
import time
from itertools import count

import pytest

from nextbest.server.log.contents import position_message
from nextbest.server.log.leases import MembersBehindError
from nextbest.server.log.log import Position
from nextbest.server.log.memory import MemoryLog, MemoryStore
from nextbest.v1 import log_pb2
from tests.server.log.member import Member, equal, eventually, following, now_us

LEASE_MS = 600
_numbers = count(1)


class CutLog(MemoryLog):
    """A log that one member can be cut off from."""

    cut = False

    def _there(self) -> MemoryStore:
        store = super()._there()
        if self.cut:
            store.available = False
            try:
                return super()._there()
            finally:
                store.available = True
        return store


def cluster(size: int, store: MemoryStore | None = None) -> list[Member]:
    store = store or MemoryStore()
    return [
        Member(CutLog(store), f"m{number}", process=next(_numbers), consent_lease_ms=LEASE_MS)
        for number in range(size)
    ]


def live(member: Member) -> bool:
    """Whether decisions there may use consents now."""
    until_us = member.engine.consents_until_us
    return until_us is None or until_us > time.monotonic_ns() // 1_000


async def written(member: Member, event: str) -> Position:
    at = (await member.write(event)).position
    return Position(at.epoch, at.sequence, at.nonce)


async def settled(*members: Member) -> None:
    """No lease of an earlier connection can be left."""
    await eventually(lambda: all(map(live, members)))
    await asyncio.sleep(LEASE_MS / 1_000 + 0.3)


async def test_a_lease_is_renewed_while_the_log_is_followed_and_runs_out_without() -> None:
    (member,) = cluster(1)
    assert not live(member)
    async with following(member):
        await eventually(lambda: live(member))
        for _ in range(20):
            await asyncio.sleep(0.05)
            assert live(member)
        member.node.context.log.cut = True
        assert live(member)
        await eventually(lambda: not live(member), 2 * LEASE_MS / 1_000)
        member.node.context.log.cut = False
        await eventually(lambda: live(member))
        assert member.node.status().HasField("lease_left_ms")


async def test_who_is_well_is_waited_for_by_its_heartbeat_alone() -> None:
    members = cluster(3)
    async with following(*members):
        await settled(*members)
        for number in range(5):
            begun_s = time.monotonic()
            position = await written(members[0], f"e{number}")
            await members[0].node.every_member(position, 5.0)
            # A lease would take longer.
            assert time.monotonic() - begun_s < LEASE_MS / 1_000
            for member in members:
                assert member.engine.reached(position)


async def test_who_is_cut_off_is_waited_for_until_its_lease_is_over() -> None:
    members = cluster(3)
    async with following(*members):
        await settled(*members)
        members[1].node.context.log.cut = True
        position = await written(members[0], "e1")
        waiting = asyncio.create_task(members[0].node.every_member(position, 5.0))
        while not waiting.done():
            await asyncio.sleep(0.002)
        await waiting
        assert not members[1].engine.reached(position)
        assert not live(members[1])
        assert live(members[2])
        members[1].node.context.log.cut = False
        await eventually(lambda: members[1].engine.reached(position))
        await eventually(lambda: live(members[1]))


async def test_a_deadline_before_that_names_who_is_behind_and_the_write_stands() -> None:
    members = cluster(2)
    async with following(*members):
        await settled(*members)
        members[1].node.context.log.cut = True
        position = await written(members[0], "e1")
        with pytest.raises(MembersBehindError, match=r"m1; the write stands") as raised:
            await members[0].node.every_member(position, 0.1)
        assert raised.value.status_reason == "MEMBERS_BEHIND"
        members[1].node.context.log.cut = False
        await equal(*members)


async def test_a_member_nobody_can_have_heard_of_is_waited_for_after_a_start() -> None:
    """What was read since then does not tell who had a lease before."""
    members = cluster(1)
    async with following(*members):
        begun_s = time.monotonic()
        position = await written(members[0], "e1")
        await members[0].node.every_member(position, 5.0)
        assert time.monotonic() - begun_s > LEASE_MS / 2_000


async def test_a_new_epoch_holds_leases_back_and_a_lost_write_is_waited_for_anew() -> None:
    store = MemoryStore()
    members = cluster(2, store)
    async with following(*members):
        await settled(*members)
        position = await written(members[0], "lost")
        await equal(*members)
        # The newest entries are lost with the master; who wrote brings it back.
        behind = sum((one.epoch, one.sequence) >= position[:2] for one in store.records)
        store.fail_over(lost=behind)
        begun_s = time.monotonic()
        await members[0].node.every_member(position, 10.0)
        assert time.monotonic() - begun_s < 5.0
        await eventually(lambda: all(map(live, members)))
        await equal(*members)
        assert members[1].views() == 1


async def test_many_waits_have_few_heartbeats_together() -> None:
    store = MemoryStore()
    members = cluster(2, store)
    async with following(*members):
        await settled(*members)
        positions = [await written(members[0], f"e{number}") for number in range(50)]
        before = len(store.records)
        await asyncio.gather(*(members[0].node.every_member(one, 5.0) for one in positions))
        assert len(store.records) - before < 20


async def heard(member: Member, name: str, **more: int) -> None:
    """Have a heartbeat of somebody else in the log, who has applied what this member has."""
    here = member.position
    heartbeat = log_pb2.Heartbeat(
        member=name, position=position_message(here), now_ms=now_us() // 1_000, **more
    )
    await member.node.notes.append(heartbeat=heartbeat)
    await eventually(lambda: member.position[:2] > here[:2])


async def test_who_is_of_a_version_without_leases_is_waited_for_until_it_has_passed() -> None:
    members = cluster(2)
    async with following(*members):
        await settled(*members)
        await heard(members[1], "old", format=1, process=77)
        position = await written(members[0], "e1")
        with pytest.raises(MembersBehindError, match=r"old \(of a version without leases\); the"):
            await members[0].node.every_member(position, 3 * LEASE_MS / 1_000)
        await equal(*members)
        await heard(members[1], "old", format=1, process=77)
        await members[0].node.every_member(position, 5.0)


async def test_who_has_leases_comes_after_who_had_none_under_its_name() -> None:
    members = cluster(2)
    async with following(*members):
        await settled(*members)
        await heard(members[1], "old", format=1, process=77)
        position = await written(members[0], "e1")
        await heard(members[1], "old", format=2, process=78, lease_ms=LEASE_MS)
        await members[0].node.every_member(position, 5.0)


async def test_who_was_not_seen_for_long_is_not_waited_for() -> None:
    members = cluster(2)
    async with following(*members):
        await settled(*members)
        for member in members:
            member.node.members.seen(
                log_pb2.Member(name="gone", format=1, now_ms=now_us() // 1_000 - 3_600_001),
                "gone",
                0,
            )
        position = await written(members[0], "e1")
        await members[0].node.every_member(position, 5.0)


async def test_the_longest_lease_in_the_log_is_waited_for_with_its_margin() -> None:
    members = cluster(1)
    async with following(*members):
        leases = members[0].node.leases
        assert leases.longest_s == pytest.approx(LEASE_MS / 1_000 + 0.1)
        await heard(members[0], "far", format=2, process=1, lease_ms=60_000)
        await eventually(lambda: leases.longest_s > 1.0)
        # Clocks of 3 percent apart.
        assert leases.longest_s >= 60 * 1.03
        assert leases.wait_s_max > leases.longest_s
        await heard(members[0], "far", format=2, process=1, lease_ms=1_000)
        assert leases.longest_s >= 60 * 1.03, "one of before may last"


async def test_a_lease_told_by_a_snapshot_alone_is_waited_for() -> None:
    (member,) = cluster(1)
    now_ms = now_us() // 1_000 - 30_000
    told = log_pb2.Member(name="far", lease_ms=60_000, format=2, now_ms=now_ms)
    member.node.members.seen(told, told.name, 0.0)
    assert [one.lease_ms for one in member.node.members.messages()] == [60_000]
    assert member.node.leases.longest_s >= 60 * 1.03


async def test_a_long_lease_of_who_is_gone_makes_no_later_wait_longer() -> None:
    (member,) = cluster(1)
    leases, members = member.node.leases, member.node.members
    gone_ms = now_us() // 1_000 - 3_600_000
    told = log_pb2.Member(name="far", lease_ms=60_000, format=2, now_ms=gone_ms - 61_000)
    members.seen(told, told.name, 0.0)
    assert leases.longest_s == pytest.approx(LEASE_MS / 1_000 + 0.1)
    # Its lease began before an hour of silence, and may have ended within it.
    told.now_ms = gone_ms - 59_000
    members.seen(told, told.name, 0.0)
    assert leases.longest_s >= 60 * 1.03


async def test_a_shorter_lease_under_a_name_does_not_end_the_longer_one() -> None:
    """The process that had it may still be there."""
    (member,) = cluster(1)
    for lease_ms in (60_000, 1_000):
        now_ms = now_us() // 1_000
        told = log_pb2.Member(name="far", lease_ms=lease_ms, format=2, now_ms=now_ms)
        member.node.members.seen(told, told.name, 0.0)
    assert member.node.leases.longest_s >= 60 * 1.03
