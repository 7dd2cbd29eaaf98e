"""The state: what the store, the log and its node are at.  Read on the event loop alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nextbest.server.clock import now_us
from nextbest.server.keeper import Keeper
from nextbest.server.log.ledgers import LEDGERS_MAX, Ledgers, Period
from nextbest.server.log.log import LOGGED_QUEUE, REPLICATED_QUEUE, Position
from nextbest.server.log.node import Node
from nextbest.server.log.standing import STATES
from nextbest.server.log.taker import Taker
from nextbest.server.telemetry import catalogue
from nextbest.server.telemetry.readings import Readings, by_name

if TYPE_CHECKING:
    from nextbest.core import BudgetInfo, Engine
    from nextbest.server.record.stream import StreamCounts
    from nextbest.server.shadow.shadow import Shadow

QUEUE_NAMES = {LOGGED_QUEUE: "logged", REPLICATED_QUEUE: "replicated"}
# Every row is looked at for the account of memory.
ACCOUNT_S = 60.0
_BYTES = "_bytes"
# Of a spend's unit.
MICROS = 1_000_000
_OPTIONAL = ("nextbest_log_", "nextbest_snapshot", "nextbest_records_stream", "nextbest_shadow_")
# What a server without a log, or without a snapshot, has no values of.
_ABSENT: Readings = {
    metric: {} for metric in catalogue.METRICS if metric.name.startswith(_OPTIONAL)
}


class State:
    """Reads an engine and its keeper."""

    def __init__(self, engine: Engine, keeper: Keeper) -> None:
        self._engine = engine
        self._keeper = keeper
        self._bytes: dict[str, float] = {}
        # Of drafts beside the active playbook, once there can be any.
        self.shadow: Shadow | None = None
        # Of the stream of records, where there is one.
        self.stream: StreamCounts | None = None

    async def account(self) -> None:
        """Sum up the store's memory once a minute, beside the loop, until cancelled."""
        while True:
            memory = await asyncio.to_thread(self._engine.store.memory)
            self._bytes = _parts(memory)
            await asyncio.sleep(ACCOUNT_S)

    def readings(self) -> Readings:
        """All of it."""
        readings = {**_ABSENT, **self._store(), **self._position()}
        if (node := self._keeper.node) is not None:
            readings |= {**self._writes(), **_node(node), **_appends(node)}
            readings |= _ledgers(node.budgets.ledgers, self._engine.budgets(now_us()))
        if self.stream is not None:
            readings |= _stream(self.stream)
        if self.shadow is not None:
            readings |= _shadow(self.shadow)
        if (taker := self._keeper.taker) is not None:
            readings |= _snapshot(taker)
        return readings

    def _store(self) -> Readings:
        engine = self._engine
        records = engine.records()
        return {
            catalogue.RECORDS: {(): records.kept},
            catalogue.RECORDS_DROPPED: {(): records.dropped},
            catalogue.RECORDS_LOST: {(): records.lost_bytes},
            catalogue.RECORDS_WAITING: {(): records.waiting_bytes},
            catalogue.GENERATION: {(): engine.generation},
            catalogue.PLAYBOOKS_REFUSED: {(): self._keeper.refused_playbooks},
            catalogue.PROFILES: {(): engine.store.profiles},
            catalogue.EVENTS_REMEMBERED: {(): engine.store.remembered},
            catalogue.TOMBSTONES: {(): engine.store.tombstones},
            catalogue.STORE_BYTES: by_name(self._bytes),
            catalogue.ANSWERS_EVICTED: {(): engine.answers_evicted_early},
            **_budgets(engine.budgets(now_us())),
        }

    def _position(self) -> Readings:
        epoch, sequence, _ = self._engine.position
        return {
            catalogue.LOG_EPOCH: {(): epoch},
            catalogue.LOG_SEQUENCE: {(): sequence},
            catalogue.LOG_STALENESS: {(): self._keeper.staleness_ms / 1_000},
        }

    def _writes(self) -> Readings:
        engine = self._engine
        waiting = {name: engine.log_waiting(queue) for queue, name in QUEUE_NAMES.items()}
        return {
            catalogue.LOG_WAITING: by_name(waiting),
            catalogue.LOG_WAITING_MAX: {(): self._keeper.waiting_max},
            catalogue.LOG_WRITES_REFUSED: by_name(engine.log_refused()),
        }


def _shadow(shadow: Shadow) -> Readings:
    totals = shadow.totals
    return {
        catalogue.SHADOW_DECISIONS: {
            ("same",): totals.compared - totals.changed,
            ("changed",): totals.changed,
            ("incomplete",): totals.incomplete,
            ("failed",): totals.failed,
            ("skipped",): totals.skipped,
        },
        catalogue.SHADOW_CPU: {(): totals.cpu_s},
        catalogue.SHADOW_RESTARTS: {(): totals.restarts},
        catalogue.SHADOW_SHARE: {(): shadow.now.budget.share if shadow.now else 0.0},
    }


def _parts(memory: dict[str, int]) -> dict[str, float]:
    """The sums in bytes, without their unit."""
    return {
        name.removesuffix(_BYTES): size for name, size in memory.items() if name.endswith(_BYTES)
    }


def _budgets(budgets: list[BudgetInfo]) -> Readings:
    parts: dict[tuple[str, ...], float] = {}
    outcomes: dict[tuple[str, ...], float] = {}
    for one in budgets:
        unit = MICROS if one.micros else 1
        for part, amount in (("used", one.used), ("held", one.held), ("left", one.left)):
            parts[one.name, part] = amount / unit
        outcomes |= {
            (one.name, outcome): count
            for outcome, count in (
                ("held", one.times_held),
                ("shown", one.times_used),
                ("expired", one.expired),
                ("late_paid", one.late),
                ("late_unpaid", one.unpaid),
                ("again", one.again),
                ("refused", one.full),
            )
        }
    return {catalogue.BUDGET: parts, catalogue.BUDGET_RESERVATIONS: outcomes}


def _ledgers(ledgers: Ledgers, budgets: list[BudgetInfo]) -> Readings:
    refused = sum(bool(ledgers.why_not(Period.at(one), one.calendar)) for one in budgets)
    return {
        catalogue.BUDGET_LEDGERS: {(): len(ledgers.known)},
        catalogue.BUDGET_LEDGERS_MAX: {(): LEDGERS_MAX},
        catalogue.BUDGETS_REFUSED: {(): refused},
    }


def _node(node: Node) -> Readings:
    context = node.context
    progress, counts = context.progress, context.counts
    age_s = progress.committed_age_s
    lease_ms = node.leases.left_ms
    return {
        catalogue.LOG_LAG: {(): _lag(context.here, progress.end)},
        catalogue.LOG_COMMIT_AGE: {} if age_s is None else {(): age_s},
        catalogue.LOG_STATE: {(state,): float(state == node.state) for state in STATES},
        catalogue.LOG_AHEAD: {(): node.ahead},
        catalogue.LOG_LEASE: {} if lease_ms is None else {(): lease_ms / 1_000},
        catalogue.LOG_REVOCATIONS: {
            ("passed",): node.leases.passed_waits,
            ("behind",): node.leases.behind_waits,
        },
        catalogue.LOG_APPLIED: {(): counts.applied},
        catalogue.LOG_DEAD_LETTERS: {(): node.reader.dead_letters},
        catalogue.LOG_EPOCH_CHANGES: {(): counts.epochs},
        catalogue.LOG_DIVERGENCES: {(): progress.divergences},
        catalogue.LOG_CONNECTS: {(): counts.connects},
        catalogue.LOG_MEMBERS: {(): len(node.members.messages())},
        catalogue.LOG_LEADS: {(): float(node.leads)},
        catalogue.BUDGET_CLAIMS: {
            ("lost",): node.budgets.lost,
            ("revoked",): node.budgets.shares.revoked,
        },
        catalogue.SNAPSHOTS: {
            ("taken",): counts.snapshots,
            ("failed",): counts.snapshots_failed,
        },
    }


def _lag(here: Position, end: Position) -> int:
    """How many entries there are behind `here`, as far as one epoch tells."""
    if end.epoch == here.epoch:
        return max(end.sequence - here.sequence, 0)
    return end.sequence + 1 if end.epoch > here.epoch else 0


def _appends(node: Node) -> Readings:
    queues = [(QUEUE_NAMES[n], queue) for n, queue in enumerate(node.context.counts.queues)]
    return {
        catalogue.LOG_APPENDS: {
            (name, outcome): count
            for name, queue in queues
            for outcome, count in queue.outcomes.items()
        },
        catalogue.LOG_APPENDED_MUTATIONS: {(name,): queue.mutations for name, queue in queues},
        catalogue.LOG_APPENDED_BYTES: {(name,): queue.bytes for name, queue in queues},
        catalogue.LOG_APPEND_DURATION: {(name,): queue.seconds.read() for name, queue in queues},
    }


def _snapshot(taker: Taker) -> Readings:
    if (last := taker.last) is None:
        return {}
    taken = taker.taken
    return {
        catalogue.SNAPSHOT_AGE: {(): (now_us() - last.taken_at_us) / 1e6},
        catalogue.SNAPSHOT_BYTES: {(): last.bytes},
        catalogue.SNAPSHOT_DURATION: {} if taken is None else {(): taken.took_ms / 1_000},
    }


def _stream(counts: StreamCounts) -> Readings:
    return {
        catalogue.RECORDS_STREAM: {(): counts.entries},
        catalogue.RECORDS_STREAM_LOST: {(): counts.lost_bytes},
        catalogue.RECORDS_STREAM_WAITING: {(): counts.waiting_bytes},
    }
