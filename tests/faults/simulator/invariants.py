"""What must hold when the faults are healed and all is quiet."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from nextbest.core import Engine
from nextbest.core.errors import PositionLostError
from nextbest.server.log.contents import unpack
from nextbest.server.log.log import Record
from tests.faults.simulator.scenario import EVERYONE, all_astray
from tests.faults.simulator.world import STREAM, Catalogue, Machine, World
from tests.faults.simulator.writes import APPLIED, REPLICATED, Seen, Write, look, present


class BrokenError(AssertionError):
    """An invariant does not hold; each line says which and where."""


def check(world: World, mode: str) -> None:
    """Raises BrokenError with everything that does not hold."""
    found = [*world.broken, *nothing_silent(world), *entries(world)]
    if mode != "unsafe" or not world.losses:
        # A claim is lost only with entries that the log had taken, and with all who had read them.
        found += world.overspent[:1]
    found += [f"{one['process']}: {one.get('exception')!r}" for one in world.loop.errors]
    # Where no node is left that may follow the log, none is at rest: there is nothing to compare.
    at_rest = mode != "unsafe" or not all_astray(world)
    if at_rest:
        found += at_rest_holds(world, mode)
    if found:
        raise BrokenError("\n".join(found))


def at_rest_holds(world: World, mode: str) -> list[str]:
    """What does not hold of nodes that all follow the log, and are at its end."""
    found = list(digests(world))
    if mode != "unsafe":
        # A flush may come between the replicas' answer and the node's.
        found += world.unreplicated
        # Sentinel may promote what has nothing only where several servers failed together.
        stranded = world.stranded + world.excused * (mode == "single")
        found += [f"needed another node's snapshot: {one}" for one in stranded]
    if mode != "unsafe" or not all_forgotten(world):
        found += contents(world, mode)
        found += [*positions(world), *reads(world), *revocations(world, mode)]
    return found


def all_forgotten(world: World) -> bool:
    """Whether the log was wiped when no node had anything: they begin anew, from nothing."""
    first = world.first_entry()
    return (
        first.kind == "open"
        and not first.body.previous.epoch
        and (first.nonce != world.first_nonce)
    )


def seen_by(machine: Machine) -> dict[str, Seen]:
    """What it shows of everyone; asked once, as nothing changes any more."""
    if machine.seen is None:
        now_us = machine.now_us()
        machine.seen = {one: look(machine.engine, one, now_us) for one in EVERYONE}
    return machine.seen


# Equal digests at equal positions.


def digests(world: World) -> Iterator[str]:
    engines = {repr(one): one.engine for one in world.machines}
    if (replayed := replay(world)) is not None:
        engines["the log"] = replayed
    rows = {name: (one.digest()[1],) for name, one in engines.items()}
    # What a lost tail made forget stays forgotten until the horizon moves again.
    events = {
        (one.store.horizon_ms, name): (one.digest()[0], one.store.horizon_ms)
        for name, one in engines.items()
    }
    horizons = len({horizon for horizon, _ in events})
    if len(set(rows.values())) > 1:
        yield "digests of rows differ: " + "; ".join(f"{one}: {x[0]}" for one, x in rows.items())
    if len(set(events.values())) > horizons:
        yield "digests of events differ: " + "; ".join(f"{n}: {x}" for n, x in events.items())
    if len(places := {one.engine.position for one in world.machines}) > 1:
        yield f"positions differ: {places}"


def replay(world: World) -> Engine | None:
    """A new engine with all that the log holds; None when the log's start is gone."""
    master = world.master()
    assert master is not None
    stream = master.data.streams[STREAM]
    first = world.first_entry()
    if first.kind != "open" or first.body.previous.epoch:
        return None
    engine = Engine(profiles_max=200, dedupe_max=4_000, generations_max=4, decisions_max=64)
    catalogue = Catalogue(engine, world.plans)
    term = 0
    for (epoch, sequence), fields in zip(stream.ids, stream.fields, strict=True):
        entry = unpack(Record(epoch, sequence, fields[1]))
        if entry.kind == "lease":
            term = max(term, entry.body.term)
        elif entry.kind == "horizon" and entry.body.term == term:
            engine.horizon(entry.body.before_ms)
        elif entry.kind == "batch":
            for mutation in engine.apply_batch(entry.body, 0).announced:
                catalogue.announced(mutation)
    return engine


def entries(world: World) -> Iterator[str]:
    """An entry is in the log once, unless the network sent it twice."""
    master = world.master()
    assert master is not None
    stream = master.data.streams[STREAM]
    nonces: dict[int, tuple[int, int]] = {}
    for id, fields in zip(stream.ids, stream.fields, strict=True):
        nonce = unpack(Record(*id, fields[1])).nonce
        if nonce in nonces and not world.repeats:
            yield f"entry {id} is the same as {nonces[nonce]}"
        nonces[nonce] = id


# Every acknowledged write is there, as often as it should be.


def contents(world: World, mode: str) -> Iterator[str]:
    seen = seen_by(world.machines[0])
    erased = {one.identity: one for one in world.writes if one.kind == "erase"}
    for write in world.writes:
        there = present(write, seen[write.identity])
        if there > 1:
            yield f"{write} counts {there} times"
        end = erased.get(write.identity)
        if write.kind == "erase":
            continue
        if end is not None:
            yield from after_erasure(world, write, end, there, mode)
        elif not there and required(world, write, mode):
            yield f"{write} is lost; acknowledged by {write.acknowledged}"
    for identity, what in seen.items():
        events = sum(what.events.values())
        if what.count != events:
            yield f"{identity}: {what.count} events counted, {events} in the sum"


def after_erasure(world: World, write: Write, end: Write, there: int, mode: str) -> Iterator[str]:
    """What was sent before the erasure must be gone; what was accepted well after it stays."""
    if end.acknowledged is None or not required(world, end, mode):
        return
    if write.ack == APPLIED:
        # Another node may still have it ahead of the log, unknown to who erased.
        return
    # What a client gave up waiting for may still be under way, and come after the erasure.
    over = all(
        one.outcome in ("ok", "refused") and one.ended < end.attempts[0].sent
        for one in write.attempts
    )
    if there and over:
        yield f"{write} is there, but {end} came after it"


def required(world: World, write: Write, mode: str) -> bool:
    """Whether the level that acknowledged a write promises that it is there."""
    if write.acknowledged is None:
        return False
    by = write.acknowledged
    died = [(when, name) for when, name in world.deaths if when >= by.sent and name == by.node]
    if not died:
        # Its node still has it, and brings it back whatever the log has lost.
        return True
    # An orderly end has put in the log what was applied.
    if write.ack == APPLIED and died[0] not in world.stops:
        return False
    if write.ack != REPLICATED or mode == "unsafe":
        return not any(when >= by.sent for when in world.losses)
    faults = [end for start, end, _what in world.redis_faults if end >= by.sent - 1.0]
    # Who dies before it is back from a master that was replaced is a second fault in one failover;
    # where that was hardly known, for what was acknowledged since.  One that stops in order must be
    # back.
    away = by.ended >= world.deaths_away.get(died[0], inf) and died[0] not in world.stops
    return mode == "single" or len(faults) + away <= 1


# Positions, and what nodes say of what they lost.


def positions(world: World) -> Iterator[str]:
    """A position is reached or lost; of an epoch that nobody alive has heard of, neither."""
    known = max(one.node.epochs.highest for one in world.machines)
    seen = {one: seen_by(one) for one in world.machines}
    erased = {one.identity for one in world.writes if one.kind == "erase"}
    for write in world.writes:
        if write.acknowledged is None or write.ack == APPLIED or write.kind == "erase":
            continue
        for machine in world.machines:
            try:
                reached = machine.engine.reached(write.position)
            except PositionLostError:
                continue
            if not reached and write.position[0] <= known:
                yield f"{machine}: {write.position} of {write} is neither here nor lost"
                continue
            there = present(write, seen[machine][write.identity])
            if reached and not there and write.identity not in erased:
                yield f"{machine}: {write.position} is reached, but {write} is not there"


def reads(world: World) -> Iterator[str]:
    """What was read at a position that was reached."""
    erased = {one.identity for one in world.writes if one.kind == "erase"}
    for when, machine, write in world.unread:
        if write.identity not in erased:
            yield f"{machine} at {when - 1000:.3f}: {write.position} is reached, without {write}"


def revocations(world: World, mode: str) -> Iterator[str]:
    """Nobody decides by what an acknowledged revocation has taken back, whose level holds."""
    for when, machine, write in world.unheeded:
        if mode != "unsafe" and required(world, write, mode):
            yield f"{machine} at {when - 1000:.3f}: may decide without {write}"


def nothing_silent(world: World) -> Iterator[str]:
    for machine in world.machines:
        if machine.node.reader.dead_letters:
            yield f"{machine}: {machine.node.reader.dead_letters} dead letters"
