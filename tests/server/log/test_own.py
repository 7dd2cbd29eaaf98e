"""Own entries pass when they are answered, unless others' come before them."""

from __future__ import annotations

from nextbest.server.log.memory import MemoryLog, MemoryStore
from tests.server.log.member import Member, equal, eventually, following

# Any append keeps the reader from the log, and nothing but an answer wakes it within a test.
RESTING = {"rest_mutations_min": 1, "rest_ms": 600_000, "rest_ms_max": 600_000}
# No heartbeat comes between.
QUIET = {"pulse_ms": 600_000, "lease_ms": 600_000}


async def rested(member: Member) -> None:
    """Write until an entry passes though the log is not read: the reader rests."""
    await eventually(lambda: member.node.ahead == 0)
    for number in range(10):
        await member.write(f"{member.node.context.member}{number}")
    await eventually(lambda: member.node.ahead == 0)


async def test_own_entries_pass_while_the_log_is_not_read() -> None:
    store = MemoryStore()
    a = Member(MemoryLog(store), "a", **RESTING, **QUIET)
    async with following(a):
        await rested(a)
        answer = await a.write("last")
        assert a.node.ahead == 0
        assert a.position == (
            answer.position.epoch,
            answer.position.sequence,
            answer.position.nonce,
        )
        kept = a.node.context.retained
        assert kept.position(len(kept) - 1) == a.position


async def test_an_answer_that_leaves_out_others_entries_has_them_read() -> None:
    store = MemoryStore()
    a = Member(MemoryLog(store), "a", **RESTING, **QUIET)
    b = Member(MemoryLog(store), "b", **QUIET)
    async with following(a, b):
        await rested(a)
        await b.write("other")
        assert a.views() == 10
        await a.write("last")
        await eventually(lambda: a.views() == b.views() == 12)
        await equal(a, b)


async def test_a_few_writes_do_not_keep_others_entries_waiting() -> None:
    """Only appends of many mutations keep the reader from the log."""
    store = MemoryStore()
    a = Member(MemoryLog(store), "a", **{**RESTING, "rest_mutations_min": 2}, **QUIET)
    b = Member(MemoryLog(store), "b", **QUIET)
    async with following(a, b):
        await rested(a)
        await b.write("other")
        await eventually(lambda: a.views() == 11)
