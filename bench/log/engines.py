"""Engines in this process: events of shop-100's people, and the mutations they become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bench.micro import encode, people, subject
from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan

BATCH_MUTATIONS = 1_000
BATCH_BYTES = 262_144
WAITING_MAX = 100_000
APPLIED = 1
LOGGED_QUEUE = 0
# Of nobody in particular: what these engines queue goes nowhere.
PLACE = (1, 1, 1)
PLAN: list[Plan] = []


class Queued(NamedTuple):
    """Batches of a queue as bytes, and how many mutations they hold."""

    batches: list[bytes]
    mutations: int
    digest: tuple[int, int]

    @property
    def bytes_each(self) -> int:
        """The mean size of a mutation in its batch."""
        return round(sum(map(len, self.batches)) / self.mutations)


def plan() -> Plan:
    """The plan of shop-100, compiled once."""
    if not PLAN:
        PLAN.append(subject.compiled(subject.playbooks()["plain"]))
    return PLAN[0]


def engine(ack: int = APPLIED, *, dedupe_max: int = 20_000_000) -> Engine:
    """An engine with a log attached."""
    made = Engine(profiles_max=2_000_000, dedupe_max=dedupe_max)
    made.publish(plan())
    made.attach_log(WAITING_MAX, default_ack=ack)
    return made


def empty() -> Engine:
    """An engine without a playbook, as a start begins with one."""
    return Engine(profiles_max=2_000_000, dedupe_max=50_000_000)


def events(count: int) -> list[bytes]:
    """So many TrackRequests, of as many people as it takes."""
    found: list[bytes] = []
    for number in range(people.PROFILES):
        person = people.person(number)
        found += [encode.track(person, event) for event in person.events]
        if len(found) >= count:
            return found[:count]
    raise SystemExit(f"{len(found)} events, not {count}")


def queued(requests: list[bytes], mutations: int = BATCH_MUTATIONS) -> Queued:
    """What events are as batches of so many mutations, as an engine frames them."""
    made = engine()
    batches: list[bytes] = []
    for first in range(0, len(requests), WAITING_MAX):
        for one in requests[first : first + WAITING_MAX]:
            made.track(one, subject.NOW_US)
        batches += taken(made, mutations)
    return Queued(batches, len(requests), made.digest())


def taken(made: Engine, mutations: int) -> Iterator[bytes]:
    """Take all that waits, so many at a time."""
    while True:
        data, count = made.log_take(LOGGED_QUEUE, mutations, BATCH_BYTES)
        if not count:
            return
        yield data
        made.log_done(LOGGED_QUEUE, count, PLACE, APPLIED)
