"""Re-seeding: a wiped log is started anew from what a member has in memory."""

from __future__ import annotations

from nextbest.core.errors import FAILED_PRECONDITION
from nextbest.server.log.branch import FETCH, Branch
from nextbest.server.log.context import Context
from nextbest.server.log.epochs import Epochs
from nextbest.server.log.heartbeats import heartbeats
from nextbest.server.log.log import LogError, Position, Record
from nextbest.server.log.members import Members

# How far back from the log's end heartbeats are looked for.
_LOOKED_AT = 2_000


class ReseedRefusedError(LogError):
    """There is nothing to start anew, the log's entries were not given up by `force`, or
    another member goes on in the same history: then no force is enough."""

    status_code = FAILED_PRECONDITION
    status_reason = "RESEED_REFUSED"
    retry_ms = 0


async def reseed(
    context: Context, epochs: Epochs, branch: Branch, members: Members, force: bool
) -> Position:
    """Open the next epoch on a log that lost everything; gives its first entry.

    It follows the oldest entry that a member may still be at.  This member and the others then
    come back to the log as after any lost tail, from there: each appends what it has behind
    that entry and nobody else brought back.
    """
    info = await context.log.connect()
    tail = await context.log.last()
    if tail is not None and not force:
        raise ReseedRefusedError(f"log: not empty, its last entry is {tail.epoch}-{tail.sequence}")
    if tail is not None and (member := await _follower(context, branch, tail)):
        raise ReseedRefusedError(
            f"log: {member} follows it and may have acknowledged what it holds; {FETCH}, or stop "
            "that member first"
        )
    if await branch.holds(context.here):
        raise ReseedRefusedError("log: this member's last entry is in it")
    start = _start(context, members)
    opened = await epochs.open(info, start, tail, create=tail is None, reseeded=True)
    if tail is not None:
        await context.log.trim(opened[:2])
    return opened


async def _follower(context: Context, branch: Branch, tail: Record) -> str:
    """Another member that goes on in this node's own history, by its heartbeat of late.

    Empty without one.  Who began another history on a wiped log has to give way instead.
    """
    if not await branch.knows_log():
        return ""
    since_ms = await context.log.time_ms() - context.limits.lease_ms
    place = (tail.epoch, max(tail.sequence - _LOOKED_AT, 0))
    async for heartbeat in heartbeats(context.log, place, (tail.epoch, tail.sequence)):
        if heartbeat.member != context.member and heartbeat.now_ms >= since_ms:
            return heartbeat.member
    return ""


def _start(context: Context, members: Members) -> Position:
    """The oldest entry that a member may be at, as far back as entries are kept.

    One that stands on a branch that was lost may have left ours anywhere.
    """
    retained = context.retained
    since_ms = context.now_us() // 1_000 - context.limits.member_ms
    positions = [context.here, *(member.position for member in members.since(since_ms))]
    return min(positions) if all(map(retained.has, positions)) else retained.base
