"""The engine: one compiled unit of all that is on the hot path.

The subjects' files are included, so that the C++ compiler can inline across them.  This
file owns the Engine: the state, and the `def` edge at which requests and errors cross.
"""

import os
from array import array
from collections.abc import Sequence
from itertools import accumulate

cimport cython
from libc.math cimport NAN, floor, isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset, strcmp, strlen
from libcpp.algorithm cimport lower_bound, sort
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from . import errors
from .expression.zones import all_zones

cdef int64_t TIMESTAMP_US_FAR = 253402300799000000
# A sum's addend in micro-units fits in 64 bits; a sum that does not wraps around.
cdef double SUM_LIMIT = 9e12
cdef double POINTS_MAX = 1e12

cdef enum:
    PLAYBOOK_VALUES_MAX = 16777216

include "telemetry/trace_types.pyx"
include "telemetry/counter_types.pyx"
include "expression/arena.pyx"
include "expression/value.pyx"
include "expression/machine.pyx"
include "expression/time.pyx"
include "expression/compare.pyx"
include "expression/convert.pyx"
include "expression/operate.pyx"
include "expression/vm.pyx"
include "expression/program.pyx"
include "profile/store.pyx"
include "wire/fault.pyx"
include "wire/reader.pyx"
include "wire/shape.pyx"
include "wire/writer.pyx"
include "wire/status.pyx"
include "playbook/names.pyx"
include "expression/zones.pyx"
include "wire/value_reader.pyx"
include "wire/messages.pyx"
include "wire/python.pyx"
include "profile/stripe.pyx"
include "profile/stripe_load.pyx"
include "telemetry/tally.pyx"
include "playbook/specs.pyx"
include "playbook/native.pyx"
include "playbook/generations.pyx"
include "decide/identifier.pyx"
include "decide/hold.pyx"
include "decide/orphan.pyx"
include "decide/budget.pyx"
include "decide/tape.pyx"
include "decide/decision.pyx"
include "decide/experiment.pyx"
include "decide/contact.pyx"
include "decide/consent.pyx"
include "decide/score.pyx"
include "decide/arbitrate.pyx"
include "decide/explore.pyx"
include "decide/reserve.pyx"
include "decide/spend.pyx"
include "decide/answer.pyx"
include "decide/profile.pyx"
include "decide/decide.pyx"
include "decide/cache.pyx"
include "mutation/accept.pyx"
include "mutation/apply.pyx"
include "mutation/parked.pyx"
include "mutation/entries.pyx"
include "mutation/writes.pyx"
include "telemetry/histogram.pyx"
include "telemetry/ring.pyx"
include "telemetry/meter.pyx"
include "serving/waiting.pyx"
include "serving/history.pyx"
include "serving/records.pyx"
include "serving/latch.pyx"
include "serving/state.pyx"
include "serving/seat.pyx"
include "serving/write.pyx"
include "serving/reserving.pyx"
include "serving/cross.pyx"
include "serving/hot.pyx"
include "serving/replay.pyx"
include "serving/results.pyx"
include "decide/budget_info.pyx"
include "serving/door_types.pyx"
include "serving/door.pyx"
include "telemetry/told.pyx"
include "telemetry/read.pyx"
include "telemetry/call.pyx"
include "wire/canonical.pyx"


cdef enum:
    # The fields of a request that are maps, a bit for each.
    UPSERT_MAPS = 8
    LINK_MAPS = 0


# In place of an answer's rest: a read that was only waiting.
WAITED = object()


cdef int checked_queue(int queue) except -1:
    if not 0 <= queue < QUEUES:
        raise errors.InvalidRequestError("queue", str(queue), "0 or 1")
    return queue


cdef Position position_of(given) except *:
    cdef Position position
    position.epoch, position.sequence, position.nonce = given
    return position


# Deallocation gives the reader's place back to the store, so the collector must not clear
# `store` before it.
@cython.no_gc_clear
@cython.final
cdef class Engine:
    """The decision engine: profiles, playbooks and decisions in memory.

    Requests and answers are the bytes of nextbest.v1 messages.  `now_us` is the node's clock
    in microseconds since 1970.  Every method raises the errors of `nextbest.core.errors` for
    what a caller can cause.  One thread calls it: calls share one scratch, and a wait for a
    shard's latch gives the GIL away.  Native threads come in by the door, each with a seat of
    its own.

    profiles_max: identities the store takes before it refuses new ones.
    dedupe_max: events whose repeats are recognised.
    generations_max: published playbooks that can be activated again.
    decisions_max: answers kept for repeated decision ids.
    tombstones_max: erased identities beyond which who is unknown here cannot be erased.
    holds_max: propositions of one budget that wait for their impressions.
    """

    cdef readonly Store store
    cdef EngineState state
    cdef EngineSeat seat
    cdef Door native_door
    cdef Playbook active
    cdef Generations published
    cdef Told told
    # Playbooks that a native thread may still read, each with the epoch it was replaced in.
    cdef list replaced
    # What the last query asked: its next slice has the same plan.
    cdef Playbook asked
    cdef Writes writes
    cdef Erasures erasures
    cdef Parked parked
    cdef uint64_t tombstones_max
    # What is left to write of answers that wait for the log, by token.
    cdef dict tails
    # The mutations of one append to the log.
    cdef Writer taken

    def __cinit__(
        self, *, profiles_max=1_000_000, dedupe_max=10_000_000, generations_max=32,
        decisions_max=65_536, tombstones_max=10_000_000, holds_max=1_048_576,
    ):
        self.store = Store(profiles_max=profiles_max, dedupe_max=dedupe_max)
        engine_init(&self.state, self.store.state, decisions_max)
        self.state.budgets.holds_max = holds_max
        door_hang(&self.state, &self.native_door)
        if not seat_init(
            &self.seat, &self.state, int.from_bytes(os.urandom(8), "little")
        ) or not seat_meter(&self.seat, False):
            raise MemoryError("engine")
        self.published = Generations(generations_max)
        self.told = Told()
        self.replaced = []
        self.writes = Writes()
        self.erasures = Erasures()
        self.parked = Parked()
        self.tombstones_max = tombstones_max
        self.tails = {}

    def __dealloc__(self):
        seat_free(&self.seat)
        engine_free(&self.state)
        writer_free(&self.taken)

    def door(self):
        """A PyCapsule of the `Door` of core/door.h.  It keeps the engine alive."""
        return door_capsule(&self.native_door, self)

    @property
    def telemetry(self) -> Telemetry:
        """What the serving threads count."""
        return telemetry_of(&self.state, self.told, self)

    @property
    def generation(self) -> int:
        """The active generation; 0 before the first publish."""
        return self.active.state.generation if self.active is not None else 0

    @property
    def plan(self) -> Plan | None:
        """The active playbook's plan; None before the first publish."""
        return self.active.plan if self.active is not None else None

    @property
    def playbook_hash(self) -> bytes:
        """The active playbook's content hash, 16 bytes; empty before the first publish."""
        return self.active.plan.hash if self.active is not None else b""

    @property
    def position(self) -> tuple[int, int, int]:
        """How far the log is applied: epoch, sequence, nonce."""
        cdef Position position = history_position(&self.state.history)
        return position.epoch, position.sequence, position.nonce

    def header(self, int64_t now_us) -> bytes:
        """The fields 1 to 4 of every answer, which tell how this node stands."""
        cdef const PlaybookState* playbook = atomic_pointer_read(&self.state.active)
        cdef Header header = engine_header(&self.state, playbook, now_us)
        cdef Writer* writer = &self.seat.serving.writer
        writer_reset(writer)
        write_header(writer, &header)
        write_degraded(writer, header_left_out(&header))
        return self.result(FAULT_NONE)

    def publish(
        self, plan, *, description="", published_at_us=0, number=0, active=True
    ) -> int:
        """Make a plan a generation, by default the active one, and return its number.

        `number`, when not 0, is one that no other generation has.
        The store's layout is widened for new attributes and counters; nothing is dropped.
        Mutations that waited for the playbook are applied, however many events the store
        remembers by then: other nodes have them.
        The oldest generation is forgotten when there are more than `generations_max`.
        """
        self.published.require_new(number)
        playbook = Playbook(plan, *self.store.extend(plan.attributes, plan.counters))
        self.place_budgets(playbook)
        playbook.description = description
        playbook.published_at_us = published_at_us
        self.published.add(playbook, number)
        if active or self.active is None:
            self.make_active(playbook)
        self.published.forget(self.active)
        self.apply_parked(plan.hash)
        return playbook.state.generation

    cdef int place_budgets(self, Playbook playbook) except -1:
        """Have a playbook's budgets go on with what is used of those of the same keys."""
        cdef BudgetSpec* spec
        cdef uint32_t i
        for i in range(playbook.state.budgets_count):
            spec = &playbook.state.budgets[i]
            spec.state = budgets_place(&self.state.budgets, spec.key)
            if spec.state == NULL:
                self.keep_budgets(playbook)
                spec.state = budgets_reuse(&self.state.budgets, spec.key)
            if spec.state == NULL:
                self.require_budgets(playbook.plan)
                raise MemoryError("budgets")
        return 0

    def require_budgets(self, plan) -> None:
        """Raise InvalidRequestError where a plan has more budgets than there is room for."""
        cdef Playbook playbook
        cdef uint32_t i
        keys = {one.key for one in plan.budgets}
        for playbook in self.kept_playbooks():
            for i in range(playbook.state.budgets_count):
                keys.add(playbook.state.budgets[i].key[:16])
        if len(keys) > BUDGETS_MAX:
            raise errors.InvalidRequestError(
                "budgets", f"{len(keys):,} of the playbooks that are kept", f"{BUDGETS_MAX:,}"
            )

    cdef list kept_playbooks(self):
        """Those that can be active, and those that some thread may still read."""
        read = [replaced for _epoch, replaced in self.replaced]
        return [*self.published.by_number.values(), *read]

    cdef int keep_budgets(self, Playbook last) except -1:
        """Mark those of the playbooks that are kept, and of the last, which is being placed."""
        cdef Playbook playbook
        cdef BudgetState* budget
        cdef uint32_t i
        for i in range(BUDGETS_MAX):
            self.state.budgets.items[i].kept = False
        for playbook in (*self.kept_playbooks(), last):
            for i in range(playbook.state.budgets_count):
                budget = <BudgetState*>playbook.state.budgets[i].state
                if budget != NULL:
                    budget.kept = True
        return 0

    def budgets_managed(self) -> None:
        """Let budgets be used only as far as they are granted, from now on; before any call."""
        budgets_manage(&self.state.budgets)

    def grant_budget(self, bytes key, int64_t period, int64_t amount, bint more) -> bool:
        """Let this node use so much more of a budget in a period, or less where it is negative.

        `more`: whether any of it may still be granted.  False where the period has gone.
        """
        return len(key) == 16 and budget_grant(
            &self.state.budgets, <uint8_t*><char*>key, period, amount, more
        )

    def take_back_budget(self, bytes key, int64_t period) -> int:
        """Let nothing more be used of what was granted in a period; gives what was left of it."""
        if len(key) != 16:
            return 0
        return budget_take_back(&self.state.budgets, <uint8_t*><char*>key, period)

    def budget_has(self, bytes key, int64_t period, int64_t now_us) -> BudgetHas:
        """What there is of a budget, whether a playbook has it or not, once holds have ended."""
        cdef BudgetState* budget = self.budget_state(key)
        cdef BudgetWindow* window
        cdef BudgetWindow found
        cdef bint all_ended = budget == NULL
        memset(&found, 0, sizeof(BudgetWindow))
        while not all_ended:
            latch_take(&budget.latch)
            all_ended = budget_expire(budget, budget.hold_us, now_us)
            window = budget_window(budget, period)
            if window != NULL:
                found = window[0]
            latch_drop(&budget.latch)
        left = max(found.granted - found.used - found.held, <int64_t>0)
        return BudgetHas(found.used, found.held, left)

    cdef BudgetState* budget_state(self, bytes key):
        """The budget of a key; NULL where there is none."""
        if len(key) != 16:
            return NULL
        return budget_of(&self.state.budgets, <uint8_t*><char*>key)

    def budget_holds(
        self, bytes key, int64_t period, int64_t now_us, uint32_t most
    ) -> tuple[bytes, int]:
        """What decisions hold of a budget, each as an `Orphan`, so many of them at most.

        Gives with it in how many microseconds at most the last of them ends.
        """
        cdef BudgetState* budget = self.budget_state(key)
        cdef int64_t last_us = now_us
        cdef uint32_t count
        if budget == NULL or most == 0 or budget.holds.waiting.count == 0:
            return b"", 0
        told = bytearray(min(most, budget.holds.waiting.count) * sizeof(Orphan))
        cdef uint8_t[::1] into = told
        latch_take(&budget.latch)
        count = holds_tell(
            &budget.holds, period, <Orphan*>&into[0], <uint32_t>(len(told) // sizeof(Orphan)),
            &last_us,
        )
        latch_drop(&budget.latch)
        # A clock that was set back since does not make it longer.
        ends_us = budget.hold_us - max(now_us - last_us, <int64_t>0)
        return bytes(told[:count * sizeof(Orphan)]), max(ends_us, <int64_t>0)

    def adopt_orphans(self, bytes key, bytes orphans) -> bool:
        """Look out for impressions of what another process held, each an `Orphan`.

        False where there is no room for all of them: it is not known then which come.
        """
        cdef BudgetState* budget
        cdef const Orphan* items = <Orphan*><char*>orphans
        cdef uint32_t first, count = <uint32_t>(len(orphans) // sizeof(Orphan))
        cdef bint done = True
        if len(key) != 16:
            return False
        budget = budgets_place(&self.state.budgets, <uint8_t*><char*>key)
        if budget == NULL:
            return False
        for first in range(0, count, ORPHAN_STEPS):
            latch_take(&budget.latch)
            done &= orphans_add(
                &budget.orphans, items + first, min(count - first, <uint32_t>ORPHAN_STEPS),
                self.state.budgets.holds_max,
            )
            atomic_write(&budget.holding, 1)
            latch_drop(&budget.latch)
        return done

    def waiting_orphans(self, bytes key, bytes orphans) -> bytes:
        """Those of them that no impression has confirmed."""
        cdef BudgetState* budget = self.budget_state(key)
        cdef const Orphan* items = <Orphan*><char*>orphans
        cdef uint32_t first, found = 0, count = <uint32_t>(len(orphans) // sizeof(Orphan))
        if budget == NULL or count == 0:
            return b""
        waiting = bytearray(count * sizeof(Orphan))
        cdef uint8_t[::1] into = waiting
        for first in range(0, count, ORPHAN_STEPS):
            latch_take(&budget.latch)
            found += orphans_waiting(
                &budget.orphans, items + first, min(count - first, <uint32_t>ORPHAN_STEPS),
                <Orphan*>&into[0] + found,
            )
            latch_drop(&budget.latch)
        return bytes(waiting[:found * sizeof(Orphan)])

    def end_orphans(self, bytes key, bytes orphans) -> None:
        """Look out for them no more."""
        cdef BudgetState* budget = self.budget_state(key)
        cdef const Orphan* items = <Orphan*><char*>orphans
        cdef uint32_t first, count = <uint32_t>(len(orphans) // sizeof(Orphan))
        if budget == NULL:
            return
        for first in range(0, count, ORPHAN_STEPS):
            latch_take(&budget.latch)
            orphans_end(
                &budget.orphans, items + first, min(count - first, <uint32_t>ORPHAN_STEPS)
            )
            latch_drop(&budget.latch)

    def return_orphans(self, bytes key, int64_t period, bytes orphans) -> None:
        """They have come back, before they end: an impression since they waited is late here."""
        cdef BudgetState* budget = self.budget_state(key)
        cdef const Orphan* items = <Orphan*><char*>orphans
        cdef uint32_t first, count = <uint32_t>(len(orphans) // sizeof(Orphan))
        if budget == NULL:
            return
        for first in range(0, count, ORPHAN_STEPS):
            latch_take(&budget.latch)
            orphans_late(
                &self.state.budgets, budget, period, items + first,
                min(count - first, <uint32_t>ORPHAN_STEPS),
            )
            latch_drop(&budget.latch)

    def budgets(self, int64_t now_us, int64_t ahead_us=0) -> list[BudgetInfo]:
        """The active playbook's budgets as they are on this node, in its order.

        `ahead_us`: in the period that lies so far ahead of now.
        """
        cdef uint32_t i
        if self.active is None:
            return []
        return [
            budget_info(&self.state.budgets, &self.active.state, i, now_us, ahead_us)
            for i in range(self.active.state.budgets_count)
        ]

    def renumber(self, numbers) -> None:
        """Give generations other numbers: the new one by the old one, all of them."""
        self.published.renumber(numbers)

    cdef int apply_parked(self, bytes hash_bytes) except -1:
        """Apply what waited for a playbook; what cannot be applied yet goes on waiting."""
        cdef bytes mutation = self.parked.peek(hash_bytes)
        while mutation is not None:
            self.apply_one(text_from(mutation), True, True)
            self.parked.drop(hash_bytes, mutation)
            mutation = self.parked.peek(hash_bytes)
        return 0

    def parked_mutations(self) -> list[bytes]:
        """The mutations that wait for a playbook, for a snapshot."""
        return self.parked.all()

    def park(self, bytes mutation) -> None:
        """Keep a mutation of a snapshot that waits for its playbook, or apply it."""
        cdef MutationMessage message
        if not read_mutation(text_from(mutation), &message):
            raise errors.InvalidRequestError("mutation", "malformed bytes", "a Mutation")
        hash_bytes = message.playbook.data[:message.playbook.length]
        if hash_bytes in self.published.by_hash:
            self.apply_one(text_from(mutation), True, True)
        else:
            self.parked.put(hash_bytes, text_from(mutation))

    def unpark(self, bytes mutation) -> bool:
        """Forget a mutation that waits for its playbook; False when it does not wait."""
        cdef MutationMessage message
        return read_mutation(text_from(mutation), &message) and self.parked.forget(
            message.playbook.data[:message.playbook.length], mutation
        )

    def erasure_hashes(self) -> list[int]:
        """What a snapshot holds of the erasures whose repeats are recognised."""
        return self.erasures.hashes()

    def settle_erasures(self, hashes) -> None:
        """Recognise repeats of the erasures that a snapshot holds."""
        for hash in hashes:
            self.erasures.settle(hash)

    cdef int make_active(self, Playbook playbook) except -1:
        """Swap the playbook; the one before stays as long as a thread may read it."""
        before = self.active
        self.tell(playbook)
        budgets_last(&playbook.state)
        self.active = playbook
        atomic_pointer_write(&self.state.active, &playbook.state)
        if before is not None:
            self.replaced.append((atomic_read(&self.state.epoch), before))
        atomic_add(&self.state.epoch, 1)
        engine_applied(&self.state)
        self.release_replaced()
        return 0

    cdef int tell(self, Playbook playbook) except -1:
        """Have its decisions counted by name, before any thread reads it."""
        cdef list read
        self.release_replaced()
        read = [replaced for _epoch, replaced in self.replaced]
        if self.active is not None:
            read.append(self.active)
        # One that a thread may still read has its places.
        if not any([playbook is one for one in read]):
            self.told.tell(&self.state, playbook, read)
        return 0

    cdef int release_replaced(self) except -1:
        """Let go of the playbooks that no thread reads any more."""
        while self.replaced and not engine_reads_before(&self.state, self.replaced[0][0]):
            self.replaced.pop(0)
        return 0

    def activate(self, generation) -> int:
        """Make an earlier generation active again and return the one before."""
        before = self.generation
        playbook = self.published.find(generation)
        if before != generation:
            self.make_active(playbook)
        return before

    def generations(self) -> list[GenerationInfo]:
        """The generations that can be activated, the oldest first."""
        return self.published.infos(self.active)

    def begin_call(
        self, str method, bytes traceparent=b"", bytes tracestate=b"", bytes baggage=b""
    ) -> Call:
        """Begin to time a call of one of METERED_NAMES, with its W3C Trace Context and
        Baggage.

        Given to `decide`, `decide_batch` or `track`, it has the engine's steps timed too.
        """
        return call_begin(
            &self.seat, self, METERED_NAMES.index(method), traceparent, tracestate, baggage
        )

    def decide(
        self, bytes request, int64_t now_us, int64_t deadline_us=0, Call call=None
    ) -> bytes:
        """Answer a DecideRequest with a DecideResponse.

        `deadline_us`, when not 0, is the moment on the same clock by which to answer.
        """
        return self.serve(seat_decide, request, now_us, deadline_us, call)

    def decide_batch(
        self, bytes request, int64_t now_us, int64_t deadline_us=0, Call call=None,
        bint whole=False,
    ) -> bytes:
        """Answer a DecideBatchRequest with a DecideBatchResponse, under one generation.

        An entry that names a position to come has an error for a result; with `whole` there is
        no answer then, but PositionNotReachedError.
        """
        cdef SeatCall method = seat_decide_batch_whole if whole else seat_decide_batch
        return self.serve(method, request, now_us, deadline_us, call)

    def record(self, double share, size_t capacity, bint explored=False) -> None:
        """Keep records of decisions from now on, for `take_records` to take.

        share: of the decisions, by their ids, from 0 to 1; degraded and failed ones are kept too.
        explored: and so are those that have shown what was drawn in place of a better action.
        capacity: bytes that may wait; what finds no room is dropped, and counted.  A second call
        changes the share alone.  Raises MemoryError.
        """
        cdef Records* records = &self.state.records
        if records.capacity == 0:
            records.ns_per_tick = 1e9 / ticks_per_s()
            if not records_open(records, capacity):
                raise MemoryError("records")
        records.below = records_share(share)
        atomic_write(&records.explored, explored)
        atomic_write(&records.on, 1)

    def attribute(self, int64_t window_us) -> None:
        """Say how long after its decision an outcome is expected; older ones count as expired."""
        self.state.attribution_us = window_us

    def take_records(self) -> bytes:
        """The records that wait: nextbest.v1.DecisionRecords, each behind its length."""
        return records_take(&self.state.records, NULL)

    def lose_records(self, uint64_t size) -> None:
        """Count bytes of records that were taken and could not be kept."""
        atomic_add(&self.state.records.lost_bytes, size)

    def records(self) -> RecordCounts:
        """Records since the start."""
        cdef Records* records = &self.state.records
        return RecordCounts(
            atomic_read(&records.kept), atomic_read(&records.dropped),
            atomic_read(&records.lost_bytes), records.length,
        )

    def shadow(self, double share, size_t capacity) -> None:
        """Record decisions for a shadow from now on, for `take_shadow` to take.

        share: of the decisions with an answer, by their ids, from 0 to 1.  capacity: bytes that
        may wait; a second call changes the share alone.  Raises MemoryError.
        """
        cdef Records* records = &self.state.shadow
        if records.capacity == 0 and not records_open(records, capacity):
            raise MemoryError("shadow")
        if not atomic_read(&records.on):
            # What came when the one before had ended.
            self.take_shadow()
        atomic_write(&records.asked, records_share(share))
        atomic_write(&records.below, records_share(share))
        atomic_write(&records.on, 1)

    def limit_shadow(self, double share) -> None:
        """Record at most such a share for the shadow; what it asked for besides is counted."""
        cdef uint64_t asked = atomic_read(&self.state.shadow.asked)
        atomic_write(&self.state.shadow.below, min(records_share(share), asked))

    def end_shadow(self) -> None:
        """Record nothing more for a shadow."""
        atomic_write(&self.state.shadow.on, 0)

    def take_shadow(self) -> tuple[bytes, int]:
        """As `take_records`, of those for a shadow, and how many they are."""
        cdef uint64_t count = 0
        content = records_take(&self.state.shadow, &count)
        return content, count

    def shadow_counts(self) -> ShadowCounts:
        """Decisions for shadows since the start."""
        cdef Records* records = &self.state.shadow
        return ShadowCounts(
            atomic_read(&records.kept),
            atomic_read(&records.dropped) + tally_shadow_skipped(&self.state),
            records.length,
        )

    def replay(
        self, bytes record, bytes attributes=b"", bytes counters=b"", bytes budgets=b"",
        bint explain=False,
    ) -> tuple[bytes, tuple[tuple[str, int], ...]]:
        """Decide a DecisionRecord again under the active playbook, from what it says was read.

        attributes, counters, budgets: for another playbook than the one that decided, the index
        here of each of its own, or -1, as int32.
        Returns the DecideResponse, and what it read that the record has nothing of, each once and
        at most 64: "attribute", "counter" or "budget", and its index here.  There is none under
        the playbook that it was decided by.  Raises what deciding does, and InvalidRequestError for
        bytes that are no record.
        """
        cdef Lacking lacking
        cdef Moved moved
        cdef int kind
        moved.attributes.items = <const int32_t*><char*>attributes
        moved.attributes.count = <uint32_t>(len(attributes) // sizeof(int32_t))
        moved.counters.items = <const int32_t*><char*>counters
        moved.counters.count = <uint32_t>(len(counters) // sizeof(int32_t))
        moved.budgets.items = <const int32_t*><char*>budgets
        moved.budgets.count = <uint32_t>(len(budgets) // sizeof(int32_t))
        lacking.count = 0
        self.begin()
        kind = seat_replay(
            &self.seat, &self.active.state, text_from(record), &moved, explain, &lacking
        )
        return self.result(kind), reads_of(&lacking)

    cdef bytes serve(
        self, SeatCall method, bytes request, int64_t now_us, int64_t deadline_us, Call call
    ):
        cdef int kind
        call_enter(&self.seat, call)
        kind = seat_serve(
            &self.seat, method, text_from(request), now_us, deadline_us, 0, NULL
        )
        call_leave(&self.seat, call)
        return self.result(kind)

    def track(
        self, bytes request, int64_t now_us, uint64_t token=0, Call call=None
    ) -> bytes | None:
        """Record an event: a TrackRequest answered with a TrackResponse.

        As for every write, None when the answer waits for the log: `completed` gives it with the
        `token`.  Without a token a write that would have to wait is refused.
        """
        cdef bint pending = False
        cdef int kind
        call_enter(&self.seat, call)
        kind = seat_serve_track(
            &self.seat, text_from(request), now_us, 0, token, &pending if token else NULL
        )
        call_leave(&self.seat, call)
        answer = self.result(kind)
        return None if pending else answer

    cdef bytes result(self, int kind):
        """What the seat has written, or the error that it met."""
        if kind != FAULT_NONE:
            fault_raise(&self.seat.serving.fault)
        return (<char*>self.seat.serving.writer.data)[:self.seat.serving.writer.length]

    def upsert(self, bytes request, int64_t now_us, uint64_t token=0) -> bytes | None:
        """Set attributes: an UpsertProfileRequest answered with an UpsertProfileResponse."""
        return self.set_attributes(request, now_us, token, False)

    def set_consent(self, bytes request, int64_t now_us, uint64_t token=0) -> bytes | None:
        """As `upsert`, for an UpsertProfileRequest that may name hidden attributes."""
        return self.set_attributes(request, now_us, token, True)

    cdef bytes set_attributes(
        self, bytes request, int64_t now_us, uint64_t token, bint hidden
    ):
        cdef UpsertMessage message
        cdef IdentityRef identity
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Fault* fault = &self.seat.serving.fault
        cdef Stamping stamping
        cdef Applied applied
        cdef Awaited awaited
        cdef int64_t occurred_us = 0
        cdef bint watched = False
        self.begin()
        if read_upsert(&reader, &message, &self.seat.serving.machine.arena, fault) or check_upsert(
            &self.active.state, &message, hidden, now_us, &occurred_us, &identity, fault
        ) or seat_check_write(&self.seat, identity, &message.ack):
            fault_raise(fault)
        awaited = self.awaited(message.ack, token)
        seat_stamp(&self.seat, &self.active.state, &stamping, now_us, identity)
        self.stamp_write(&stamping, message.write_id, request, UPSERT_MAPS, occurred_us)
        if self.active.state.watch != NULL:
            watched = cross_begin(&self.seat, seat_crossing(&self.seat), identity, True)
        try:
            self.accept(&stamping, BODY_ATTRIBUTES, request, &applied, &awaited)
        except BaseException:
            if watched:
                cross_drop(self.seat.crossed)
            raise
        seat_cross_stage(&self.seat, &self.active.state, identity, now_us)
        if watched:
            self.cross(self.seat.crossed, message.write_id, occurred_us, awaited.ack, now_us)
        writer_reset(&self.seat.serving.writer)
        write_uint(&self.seat.serving.writer, 5, applied.created)
        return self.answer_write(&awaited, now_us)

    def link(self, bytes request, int64_t now_us, uint64_t token=0) -> bytes | None:
        """Link two identities or part them: a LinkIdentityRequest, a LinkIdentityResponse."""
        cdef LinkMessage message
        cdef IdentityRef first, second
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Fault* fault = &self.seat.serving.fault
        cdef Stamping stamping
        cdef Applied applied
        cdef Awaited awaited
        cdef int64_t occurred_us = 0
        self.begin()
        if read_link(&reader, &message, fault) or check_link(
            &message, now_us, &occurred_us, &first, &second, fault
        ) or seat_check_write(&self.seat, first, &message.ack) or (
            seat_check_write(&self.seat, second, &message.ack)
        ):
            fault_raise(fault)
        awaited = self.awaited(message.ack, token)
        if not message.unlink:
            self.require_component(first, second)
        seat_stamp(&self.seat, &self.active.state, &stamping, now_us, first)
        stamping.second_incarnation = store_incarnation(self.store.state, second)
        self.stamp_write(&stamping, message.write_id, request, LINK_MAPS, occurred_us)
        if self.active.state.watch != NULL:
            self.accept_watched_link(
                &stamping, request, &applied, &awaited, &message, first, second, occurred_us, now_us
            )
        else:
            self.accept(&stamping, BODY_LINK, request, &applied, &awaited)
            seat_cross_stage(&self.seat, &self.active.state, first, now_us)
        writer_reset(&self.seat.serving.writer)
        for kind, id_bytes in self.store.identities(first.kind, ref_bytes(first)):
            write_identity(&self.seat.serving.writer, 5, ref_of(kind, id_bytes))
        return self.answer_write(&awaited, now_us)

    cdef int accept_watched_link(
        self, Stamping* stamping, bytes request, Applied* applied, const Awaited* awaited,
        const LinkMessage* message, IdentityRef first, IdentityRef second, int64_t occurred_us,
        int64_t now_us,
    ) except -1:
        """Accept a link, and tell what it changes for the person of either identity."""
        cdef Crossing* one = seat_crossing(&self.seat)
        cdef Crossing* other = crossing_make(self.store.state)
        # One latch for the two: who has both, in any order, could wait for ever.
        cdef bint watched = cross_begin(&self.seat, one, first, True)
        cdef bint both = cross_begin(&self.seat, other, second, False)
        try:
            self.accept(stamping, BODY_LINK, request, applied, awaited)
            seat_cross_stage(&self.seat, &self.active.state, first, now_us)
            if both:
                self.cross(other, message.write_id, occurred_us, awaited.ack, now_us)
            both = False
            if watched:
                self.cross(one, message.write_id, occurred_us, awaited.ack, now_us)
            watched = False
        finally:
            if watched:
                cross_drop(one)
            crossing_free(other)
        return 0

    cdef int cross(
        self, Crossing* crossing, Text write_id, int64_t occurred_us, int64_t ack, int64_t now_us
    ) except -1:
        """Tell what a write that is no event has changed."""
        cdef Cause cause = write_cause(&self.state, write_id, occurred_us, ack, now_us)
        cross_end(&self.seat, crossing, &self.active.state, &cause, NULL, now_us)
        return 0

    def erase(self, bytes request, int64_t now_us, uint64_t token=0) -> bytes | None:
        """Forget a person: an EraseProfileRequest answered with an EraseProfileResponse.

        Every identity of the person ends with the incarnation it has now; a repeat ends the same
        ones again, and not who has registered since.  AlreadyUsedError for an id that was used
        for somebody else, TombstonesFullError for who is unknown here when there are too many.
        """
        cdef EraseMessage message
        cdef IdentityRef identity
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Fault* fault = &self.seat.serving.fault
        cdef Awaited awaited
        self.begin()
        if read_erase(&reader, &message, fault) or check_erase(
            &message, &identity, fault
        ):
            fault_raise(fault)
        if message.ack == 0:
            message.ack = self.state.default_ack
        if seat_check_ack(&self.seat, message.ack):
            fault_raise(fault)
        awaited = self.awaited(message.ack, token)
        erasure = self.erasures.find(message.write_id)
        if erasure is None and self.erasures.is_settled(message.write_id, identity):
            # The log has it, on as many hosts as it ever will be.
            awaited.ack = ACK_APPLIED
            writer_reset(&self.seat.serving.writer)
            write_identity(&self.seat.serving.writer, 5, identity)
            return self.answer_write(&awaited, now_us)
        if erasure is None:
            members = self.store.identities(identity.kind, ref_bytes(identity))
            if not members and self.state.history.logged:
                # Another node may have acknowledged something on a tail that the log has lost,
                # and appends it again: only a tombstone ends that.
                self.require_tombstone(identity)
                members = [(identity.kind, ref_bytes(identity))]
            if members:
                erasure = self.erasure_of(members, False, message.write_id)
        if erasure is None:
            # Nothing to forget, and so nothing to wait for.
            awaited.ack = ACK_APPLIED
        elif not erasure_names(erasure, identity):
            raise errors.AlreadyUsedError(
                "write_id", f"an id of {message.write_id.length} bytes"
            )
        else:
            self.submit_erasure(erasure, now_us, &awaited)
        writer_reset(&self.seat.serving.writer)
        write_erased(&self.seat.serving.writer, erasure or b"")
        return self.answer_write(&awaited, now_us)

    cdef int require_tombstone(self, IdentityRef identity) except -1:
        """Raise when nobody may be erased any more who is not known here."""
        cdef uint64_t seen = atomic_read(&self.store.state.tombstones)
        if seen >= self.tombstones_max and store_incarnation(self.store.state, identity) == 0:
            raise errors.TombstonesFullError(
                f"identity: not known here, and {seen} erased identities are remembered for good, "
                f"at most {self.tombstones_max} (engine.tombstones_max)"
            )
        return 0

    def expire_identities(self, kind, identities, int64_t now_us) -> None:
        """End identities of a kind that retention does not keep, as `erase` does."""
        cdef Awaited awaited = awaited_by(ACK_APPLIED, 0)
        members = [(kind, bytes_of(id)) for id in identities]
        self.submit_erasure(self.erasure_of(members, True, text_of("")), now_us, &awaited)

    cdef bytes erasure_of(self, members, bint expired, Text write_id):
        """An Erasure of identities, with the incarnations that they have now."""
        cdef Writer writer
        cdef IdentityRef identity
        cdef size_t start
        memset(&writer, 0, sizeof(Writer))
        try:
            for kind, id_bytes in members:
                identity = ref_of(kind, id_bytes)
                start = message_open(&writer, 1)
                write_identity(&writer, 1, identity)
                write_uint(&writer, 2, store_incarnation(self.store.state, identity))
                message_close(&writer, start)
            write_uint(&writer, 2, expired)
            write_text(&writer, 3, write_id)
            if writer.failed:
                raise MemoryError("erasure")
            return (<char*>writer.data)[:writer.length]
        finally:
            writer_free(&writer)

    cdef int submit_erasure(
        self, bytes erasure, int64_t now_us, const Awaited* awaited
    ) except -1:
        cdef Stamping stamping
        cdef Applied applied
        memset(&stamping, 0, sizeof(Stamping))
        stamping.stamp = engine_stamp(&self.state, now_us)
        self.accept(&stamping, BODY_ERASURE, erasure, &applied, awaited)
        self.erasures.remember(erasure_id(text_from(erasure)), erasure)
        return 0

    def submit(
        self, int body, bytes request, int64_t now_us, int64_t ack, uint64_t token=0
    ) -> bytes:
        """Stamp and queue a Publication (9) or Activation (10); gives the Mutation.

        Its effect is the catalogue's.  `completed` tells when the log has it.
        """
        cdef Stamping stamping
        cdef Applied applied
        cdef Awaited awaited = awaited_by(ack, token)
        if body != BODY_PUBLICATION and body != BODY_ACTIVATION:
            raise errors.InvalidRequestError("body", str(body), "9 or 10")
        if seat_check_ack(&self.seat, ack):
            fault_raise(&self.seat.serving.fault)
        memset(&stamping, 0, sizeof(Stamping))
        stamping.stamp = engine_stamp(&self.state, now_us)
        self.accept(&stamping, body, request, &applied, &awaited)
        if ack > ACK_APPLIED:
            self.tails[token] = b""
        return (<char*>self.seat.mutation.data)[:self.seat.mutation.length]

    cdef Awaited awaited(self, int64_t ack, uint64_t token) except *:
        if ack > ACK_APPLIED and token == 0:
            raise errors.InvalidRequestError(
                "ack", "LOGGED" if ack == ACK_LOGGED else "REPLICATED",
                "APPLIED: this call cannot wait",
            )
        return awaited_by(ack, token)

    cdef int begin(self) except -1:
        """Empty what the call before has left; for calls that hold the GIL to their end."""
        if self.active is None:
            raise errors.NoPlaybookError("no playbook is active: publish one first")
        arena_reset(&self.seat.serving.machine.arena)
        writer_reset(&self.seat.serving.writer)
        # A read that is over must not keep what this replaces from being freed.
        person_done(&self.seat.serving.person)
        return 0

    cdef int require_component(self, IdentityRef first, IdentityRef second) except -1:
        members = set(self.store.identities(first.kind, ref_bytes(first)))
        members.update(self.store.identities(second.kind, ref_bytes(second)))
        if len(members) > COMPONENT_MAX:
            raise errors.InvalidRequestError(
                "second", f"a person of {len(members)} identities", f"at most {COMPONENT_MAX}"
            )
        return 0

    cdef int stamp_write(
        self, Stamping* stamping, Text write_id, bytes request, uint32_t maps, int64_t occurred_us
    ) except -1:
        """Stamp a write with the time it names, or as its id was stamped before."""
        cdef uint64_t digest = request_digest(text_from(request), maps)
        if occurred_us >= 0:
            stamping.stamp = <uint64_t>(occurred_us // 1000) << STAMP_MS_SHIFT
        stamping.stamp = self.writes.stamp(write_id, digest, stamping.stamp)
        return 0

    cdef int accept(
        self, Stamping* stamping, uint32_t body, bytes request, Applied* applied,
        const Awaited* awaited,
    ) except -1:
        """Frame a checked request as a mutation, apply it and queue it for the log."""
        cdef const PlaybookState* playbook = atomic_pointer_read(&self.state.active)
        if seat_accept(
            &self.seat, playbook, stamping, body, text_from(request), NULL, applied, awaited
        ):
            fault_raise(&self.seat.serving.fault)
        return 0

    cdef bytes answer_write(self, const Awaited* awaited, int64_t now_us):
        """The answer whose fields from 5 on are written; None when it waits for the log."""
        cdef Header header
        cdef bytes tail = self.result(FAULT_NONE)
        if awaited.ack > ACK_APPLIED:
            self.tails[awaited.token] = tail
            return None
        header = engine_header(&self.state, &self.active.state, now_us)
        return self.answer_with(&header, tail, ACK_APPLIED)

    cdef bytes answer_with(self, const Header* header, bytes tail, int64_t ack):
        cdef Writer* writer = &self.seat.serving.writer
        writer_reset(writer)
        write_header(writer, header)
        put_raw(writer, <char*>tail, len(tail))
        write_uint(writer, 6, <uint64_t>ack)
        return self.result(FAULT_NONE)

    def apply(self, bytes mutation) -> None:
        """Apply one Mutation, in any order and any number of times.

        One that names a playbook this node does not have is parked until it is published.
        """
        cdef MutationMessage message
        cdef Reader reader = reader_of(<char*>mutation, len(mutation))
        if not shape_holds(&reader, SHAPE_MUTATION) or not read_mutation(
            text_from(mutation), &message
        ) or message.body == BODY_NONE:
            raise errors.InvalidRequestError("mutation", "malformed bytes", "a Mutation")
        # A read that is over must not keep what this replaces from being freed.
        person_done(&self.seat.serving.person)
        self.apply_one(text_from(mutation), False, False)

    def apply_batch(self, bytes batch, int64_t now_us) -> BatchResult:
        """Apply a MutationBatch of the log.

        Raises UnknownKindError, with nothing applied, when a mutation is of a kind that this
        version does not know; InvalidRequestError for bytes that are no batch.  NoMemoryError and
        StoreFullError, of what waits for playbooks, leave some applied: apply the batch again.
        """
        cdef Reader reader = reader_of(<char*>batch, len(batch))
        cdef uint32_t field = 0, wire = 0, applied = 0, unreadable = 0
        cdef uint64_t parked = self.parked.count
        cdef MutationMessage message
        cdef Text mutation
        self.require_known(batch)
        person_done(&self.seat.serving.person)
        announced = []
        while read_tag(&reader, &field, &wire):
            if field != 1 or wire != WIRE_BYTES:
                read_skip(&reader, field, wire)
                continue
            mutation = read_bytes(&reader)
            if not read_mutation(mutation, &message):
                unreadable += 1
                continue
            engine_observe(&self.state, message.stamp, now_us)
            if message.body >= BODY_PUBLICATION:
                announced.append(mutation.data[:mutation.length])
            else:
                self.apply_one(mutation, False, True)
            applied += 1
        return BatchResult(applied, self.parked.count - parked, unreadable, announced)

    def apply_entries(
        self, const uint64_t[::1] epochs, const uint64_t[::1] sequences, list data,
        Py_ssize_t first, own, int64_t now_us,
    ) -> list[int]:
        """Apply entries of the log from the one at `first` on, as far as they are plain.

        They are given in columns; `data` is their framed bytes.  An entry is plain when it is the
        next one of its epoch, whole, and a batch of others' mutations of profiles; `own` has the
        nonces of ours.  Gives the nonces of those applied, and the position is then the last
        one's.  Ends before an entry that is anything else, and after some thousand mutations.
        """
        cdef Position here = history_position(&self.state.history)
        cdef uint64_t nonce
        cdef uint32_t mutations = 0
        cdef Py_ssize_t at
        cdef Text entry, batch
        cdef bint alone = not own
        self.require_log()
        person_done(&self.seat.serving.person)
        nonces = []
        for at in range(first, min(len(data), epochs.shape[0], sequences.shape[0])):
            if mutations >= ENTRIES_MUTATIONS_MAX or epochs[at] != here.epoch or (
                sequences[at] != here.sequence + 1
            ):
                break
            entry = text_from(data[at])
            nonce = entry_nonce(entry)
            # Most are ours on a node that takes writes: before what takes time.
            if nonce == 0 or not (alone or nonce not in own):
                break
            if not read_entry_batch(entry, &batch) or not batch_is_plain(batch):
                break
            try:
                mutations += self.apply_plain(batch, now_us)
            except (errors.StoreFullError, errors.NoMemoryError):
                # Some of it is applied, which does no harm: whoever applies it again is told.
                break
            here.sequence += 1
            here.nonce = nonce
            history_advance(&self.state.history, here)
            nonces.append(nonce)
        if nonces:
            history_wake(&self.state.history, now_us)
        return nonces

    cdef int apply_plain(self, Text batch, int64_t now_us) except -1:
        """Apply what `batch_is_plain`; gives how many mutations there were."""
        cdef Reader reader = reader_of(batch.data, batch.length)
        cdef uint32_t field = 0, wire = 0
        cdef int mutations = 0
        cdef MutationMessage message
        cdef Text mutation
        while read_tag(&reader, &field, &wire):
            mutation = read_bytes(&reader)
            read_mutation(mutation, &message)
            engine_observe(&self.state, message.stamp, now_us)
            self.apply_one(mutation, False, True)
            mutations += 1
        return mutations

    cdef int require_known(self, bytes batch) except -1:
        """Raise unless every mutation of the batch is of a kind that this version knows."""
        cdef Reader reader = reader_of(<char*>batch, len(batch))
        cdef uint32_t field = 0, wire = 0
        cdef MutationMessage message
        while read_tag(&reader, &field, &wire):
            if field != 1 or wire != WIRE_BYTES:
                read_skip(&reader, field, wire)
            elif read_mutation(read_bytes(&reader), &message) and message.body == BODY_NONE:
                raise errors.UnknownKindError(
                    "the log holds a mutation of a kind that this version does not know: "
                    "upgrade this node"
                )
        if reader.failed:
            raise errors.InvalidRequestError("batch", "malformed bytes", "a MutationBatch")
        return 0

    def confirm_orphans(self, bytes batch) -> None:
        """Look for impressions of orphans in a MutationBatch that is applied here already."""
        cdef Reader reader = reader_of(<char*>batch, len(batch))
        cdef uint32_t field = 0, wire = 0
        cdef MutationMessage message
        # All that this node writes comes by here, and most of it is something else.
        if b"impression" not in batch:
            return
        while read_tag(&reader, &field, &wire):
            if field != 1 or wire != WIRE_BYTES:
                read_skip(&reader, field, wire)
            elif read_mutation(read_bytes(&reader), &message) and message.body == BODY_EVENT:
                confirm_again(message.request, &self.seat.serving)

    cdef int apply_one(self, Text mutation, bint was_parked, bint from_log) except -1:
        """Apply a mutation that can be read, or keep it until its playbook comes."""
        cdef MutationMessage message
        cdef Applied applied
        cdef Playbook playbook
        cdef const PlaybookState* state = NULL
        cdef bytes joined
        read_mutation(mutation, &message)
        message.was_parked = was_parked
        message.from_log = from_log
        if message.split:
            joined = mutation_joined(mutation.data[:mutation.length], &message)
            return self.apply_one(text_from(joined), was_parked, from_log)
        if message.body == BODY_EVENT or message.body == BODY_ATTRIBUTES:
            playbook = self.playbook_of(message.playbook)
            if playbook is None:
                return self.park_in_time(&message, mutation)
            state = &playbook.state
        memset(&applied, 0, sizeof(Applied))
        if seat_apply(&self.seat, state, &message, NULL, &applied):
            fault_raise(&self.seat.serving.fault)
        if message.body == BODY_ERASURE:
            self.erasures.remember(
                erasure_id(message.request), message.request.data[:message.request.length]
            )
        return 0

    cdef Playbook playbook_of(self, Text hash):
        """The playbook of that hash; None for one this node does not have."""
        if self.active is not None and hash.length == 16 and (
            memcmp(hash.data, self.active.state.hash, 16) == 0
        ):
            return self.active
        return self.published.by_hash.get(hash.data[:hash.length])

    cdef int park_in_time(self, const MutationMessage* message, Text mutation) except -1:
        """Keep what waits for its playbook; a late event would be ignored by who has it."""
        cdef int64_t horizon_ms = store_horizon_ms(self.store.state)
        arena_reset(&self.seat.serving.machine.arena)
        if message.body == BODY_EVENT and horizon_ms and event_is_late(
            message.request, horizon_ms, &self.seat.serving
        ):
            atomic_add(&self.state.without_effect, 1)
            return 0
        return self.parked.put(message.playbook.data[:message.playbook.length], mutation)

    def attach_log(self, int writes_max, *, int64_t default_ack=2) -> None:
        """Queue every write for a log, at most `writes_max` in each of two queues.

        Queue 0 takes the levels APPLIED and LOGGED, queue 1 REPLICATED.  `default_ack` is the
        level of a write that names none.  No write waits before this; positions are the log's
        from now on, and this node is before its first entry.
        """
        if engine_logs(&self.state):
            raise errors.InvalidRequestError("log", "attached already", "once")
        if not 1 <= writes_max <= WRITES_WAITING_MAX:
            raise errors.InvalidRequestError(
                "writes_max", str(writes_max), f"1 to {WRITES_WAITING_MAX}"
            )
        if not ACK_APPLIED <= default_ack <= ACK_REPLICATED:
            raise errors.InvalidRequestError("default_ack", str(default_ack), "1 to 3")
        if not completions_open(&self.seat.completions) or not history_open(&self.state.history):
            raise MemoryError("log")
        self.state.default_ack = default_ack
        if not waiting_open(&self.state.waiting[QUEUE_REPLICATED], writes_max) or (
            not waiting_open(&self.state.waiting[QUEUE_LOGGED], writes_max)
        ):
            raise MemoryError("log")

    def log_fd(self, int queue) -> int:
        """A descriptor of the engine's, readable when something waits and the log has nothing."""
        return self.state.waiting[checked_queue(queue)].wake_fd

    def log_waiting(self, int queue) -> int:
        """How many writes of the queue the log does not have yet, those just applied included."""
        cdef WaitingWrites* waiting = &self.state.waiting[checked_queue(queue)]
        cdef uint32_t waits
        latch_take(&waiting.latch)
        waits = waiting.count + waiting.reserved
        latch_drop(&waiting.latch)
        return waits

    def log_refused(self) -> dict[str, int]:
        """Writes refused for want of the log, by the reason that their callers were told."""
        cdef const uint64_t* refused = &self.state.gate.refused[0]
        cdef uint64_t busy = 0
        for queue in range(QUEUES):
            busy += self.state.waiting[<int>queue].refused
        return {
            "ACK_REFUSED": counter_read(&refused[<int>GATE_OPEN]),
            "LOG_AWAY": counter_read(&refused[<int>GATE_AWAY]),
            "WRITES_REFUSED": counter_read(&refused[<int>GATE_CLOSED]),
            "LOG_BUSY": busy,
        }

    def log_take(
        self, int queue=0, uint32_t count_max=1000, size_t bytes_max=262144, bint gathered=False
    ) -> LogBatch:
        """Take the oldest mutations that wait, for one append to the log.

        gathered: those too that serving threads still gather, to let them go together.
        Raises MemoryError, and then all of them go on waiting.
        """
        cdef WaitingWrites* waiting = &self.state.waiting[checked_queue(queue)]
        cdef Writer* writer = &self.taken
        cdef uint32_t taken
        # Kept: to let it grow anew costs more than an entry's bytes.
        writer_reset(writer)
        try:
            with nogil:
                taken = waiting_take(waiting, count_max, bytes_max, gathered, writer)
            if writer.failed:
                raise MemoryError("log")
            return LogBatch((<char*>writer.data)[:writer.length], taken)
        finally:
            if writer.failed or writer.capacity > ANSWER_KEPT_MAX:
                writer_free(writer)

    def log_done(self, int queue, uint32_t count, position, int64_t ack) -> int:
        """Tell the calls of the first `count` mutations taken that the log has them.

        `position` is their entry's, `ack` the level that was reached.  Gives how many there were.
        """
        cdef Completion told
        memset(&told, 0, sizeof(Completion))
        told.ack = ack
        told.position = position_of(position)
        return seat_log_told(&self.state, checked_queue(queue), count, &told)

    def log_failed(self, int queue, uint32_t count) -> int:
        """Tell the calls of the first `count` mutations taken that the outcome is not known.

        Each gets LogFailedError.  They stay applied: their batch is to be appended again.
        """
        cdef Completion told
        memset(&told, 0, sizeof(Completion))
        told.kind = FAULT_LOG_FAILED
        return seat_log_told(&self.state, checked_queue(queue), count, &told)

    def log_unwait(self, int queue) -> int:
        """Tell the calls of what was not taken yet that the outcome is not known.

        The mutations stay queued.  Gives how many calls there were.
        """
        cdef Completion told
        memset(&told, 0, sizeof(Completion))
        told.kind = FAULT_LOG_FAILED
        return waiting_unwait(&self.state.waiting[checked_queue(queue)], &told)

    def log_gate(self, int gate, str why="") -> None:
        """What the log takes: 0 every level, 1 APPLIED alone, 2 no write at all; and why."""
        if not GATE_OPEN <= gate <= GATE_CLOSED:
            raise errors.InvalidRequestError("gate", str(gate), "0 to 2")
        text = encoded(why, GATE_WHY_MAX - 1)
        latch_take(&self.state.gate.latch)
        snprintf(self.state.gate.why, GATE_WHY_MAX, "%s", <const char*>text)
        latch_drop(&self.state.gate.latch)
        atomic_write(&self.state.gate.gate, gate)

    def replicated_refused(self, str why) -> None:
        """Refuse REPLICATED, for a reason, or with an empty one take it."""
        text = encoded(why, GATE_WHY_MAX - 1)
        latch_take(&self.state.gate.latch)
        snprintf(self.state.gate.unreplicated_why, GATE_WHY_MAX, "%s", <const char*>text)
        latch_drop(&self.state.gate.latch)
        atomic_write(&self.state.gate.unreplicated, bool(why))

    def advance(self, position, int64_t now_us) -> None:
        """Note that the log is applied here up to an entry: (epoch, sequence, nonce)."""
        self.require_log()
        history_advance(&self.state.history, position_of(position))
        history_wake(&self.state.history, now_us)

    def rewind(self, position) -> None:
        """Go back to the last entry that the surviving branch of the log has too."""
        self.require_log()
        history_rewind(&self.state.history, position_of(position))

    def epoch_opened(self, number, nonce, previous) -> None:
        """Add an epoch to the table; those of that number and above give way."""
        cdef EpochMark mark
        self.require_log()
        mark.number = number
        mark.nonce = nonce
        mark.previous = position_of(previous)
        if not history_epoch(&self.state.history, &mark):
            raise errors.InvalidRequestError(
                "epoch", f"{EPOCHS_MAX} epochs before it", f"at most {EPOCHS_MAX}"
            )
        # Who waits for what it leaves out waits in vain; nobody's time is up by this.
        history_wake(&self.state.history, 0)

    def epochs(self) -> list[tuple[int, int, tuple[int, int, int]]]:
        """The table of epochs, the oldest first: number, nonce, the entry before its first."""
        cdef const EpochMark* mark
        cdef uint32_t i
        found = []
        for i in range(self.state.history.epochs_count):
            mark = &self.state.history.epochs[i]
            previous = mark.previous.epoch, mark.previous.sequence, mark.previous.nonce
            found.append((mark.number, mark.nonce, previous))
        return found

    def reached(self, position) -> bool:
        """Whether a position's writes are here; PositionLostError when it is on a lost branch."""
        cdef Position wanted = position_of(position)
        cdef int reach = history_reach(&self.state.history, &wanted)
        if reach == REACH_LOST:
            raise errors.PositionLostError(
                f"min_position: epoch {wanted.epoch}, sequence {wanted.sequence}, allowed: a "
                "position of the surviving history: retry the write with the same id"
            )
        return reach == REACH_YES

    def caught_up(self, int64_t now_us) -> None:
        """Note that the log's end was here at that time; what a read waited for too long ends."""
        atomic_write(&self.state.history.caught_up_us, <uint64_t>now_us)
        history_wake(&self.state.history, now_us)

    def log_away(self, bint away, int64_t now_us) -> None:
        """Let answers say that what other nodes have accepted may be missing."""
        atomic_write(&self.state.history.away, away)
        history_wake(&self.state.history, now_us)

    @property
    def consents_until_us(self) -> int | None:
        """Until when consents may hold here, on the steady clock; None where that has no end."""
        until_us = atomic_read(&self.state.consents_until_us)
        return None if until_us == CONSENTS_ALWAYS else until_us

    def consents_until(self, uint64_t steady_us) -> None:
        """Let consents hold in decisions before a moment of CLOCK_MONOTONIC, in microseconds.

        Before it is first called they always may.
        """
        atomic_write(&self.state.consents_until_us, steady_us)

    @property
    def last_stamp(self) -> int:
        """The highest stamp given or seen."""
        return atomic_read(&self.state.last_stamp)

    def observe(self, uint64_t stamp, int64_t now_us) -> None:
        """Let the next stamp be above another node's."""
        engine_observe(&self.state, stamp, now_us)

    cdef int require_log(self) except -1:
        if not self.state.history.logged:
            raise errors.InvalidRequestError("log", "none", "attach_log first")
        return 0

    def await_position(self, uint64_t token, int64_t now_us, int64_t deadline_us=0) -> None:
        """After PositionNotReachedError: let `completed` give the token when to ask again.

        That is when the position was reached or lost, at the deadline, or after a second
        without one.  Raises the same error when as many wait as may.
        """
        cdef WaitingRead read
        self.require_log()
        if seat_wait_begin(&self.seat, &read, now_us, deadline_us, token):
            fault_raise(&self.seat.serving.fault)
        self.tails[token] = WAITED
        history_wait(&self.state.history, &read)

    @property
    def completed_fd(self) -> int:
        """Readable when `completed` has something to give; -1 until a log is attached."""
        return self.seat.completions.wake_fd

    def completed(self, int64_t now_us):
        """The next answer that waited: its token and the answer or error; None for none.

        The answer is empty for a token of `await_position`.
        """
        cdef Completion completion
        cdef Header header
        if not completions_get(&self.seat.completions, &completion):
            return None
        tail = self.tails.pop(completion.token, None)
        if tail is WAITED:
            return completion.token, b""
        if completion.kind != FAULT_NONE:
            seat_log_fault(&self.seat)
            try:
                fault_raise(&self.seat.serving.fault)
            except errors.NextbestError as error:
                return completion.token, error
        completion_header(&self.seat, &completion, now_us, &header)
        if tail is not None:
            return completion.token, self.answer_with(&header, tail, completion.ack)
        seat_answer_write(&self.seat, &header, completion.flag, completion.ack)
        return completion.token, self.result(FAULT_NONE)

    def profile(self, bytes request, int64_t now_us) -> bytes:
        """What is known of a person: a GetProfileRequest, a GetProfileResponse."""
        cdef ProfileMessage message
        cdef IdentityRef identity
        cdef Decision decision
        cdef bint known
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Writer* writer = &self.seat.serving.writer
        cdef Fault* fault = &self.seat.serving.fault
        cdef int64_t clock_us = now_us
        cdef bytes header
        cdef size_t start
        self.begin()
        if read_profile(&reader, &message, fault) or check_identity(
            &message.identity, "identity", &identity, fault
        ):
            fault_raise(fault)
        if message.now.present and check_time(&message.now, "now", &now_us, fault):
            fault_raise(fault)
        if message.min_position.present and engine_reaches(
            &self.state, &message.min_position, &self.seat.wanted, fault
        ):
            fault_raise(fault)
        header = self.header(clock_us)
        known = self.read_person(identity, &self.active.state, now_us, &decision)
        writer_reset(writer)
        put_raw(writer, <char*>header, len(header))
        write_uint(writer, 5, known)
        start = message_open(writer, 6)
        self.write_profile(&decision, identity)
        message_close(writer, start)
        return self.result(FAULT_NONE)

    cdef bint read_person(
        self, IdentityRef identity, const PlaybookState* playbook, int64_t now_us,
        Decision* decision,
    ) except? True:
        """Read the person an identity belongs to; False for one that nobody knows."""
        cdef Serving* serving = &self.seat.serving
        cdef StoreStatus status = store_read(self.store.state, identity, &serving.person)
        cdef bint known = status == STORE_OK
        if status == STORE_NO_MEMORY or not decision_begin(
            decision, playbook, &serving.machine, &serving.person, known, identity, now_us, 0
        ):
            raise MemoryError("person")
        return known

    cdef int write_profile(self, Decision* decision, IdentityRef identity) except -1:
        """The fields of a Profile."""
        cdef Writer* writer = &self.seat.serving.writer
        cdef uint32_t i
        members = self.store.identities(identity.kind, ref_bytes(identity))
        for kind, id_bytes in members or [(identity.kind, ref_bytes(identity))]:
            write_identity(writer, 1, ref_of(kind, id_bytes))
        write_profile_attributes(decision, writer)
        write_profile_counters(decision, writer)
        write_profile_consents(decision, writer)
        for i in range(decision.playbook.scorecards_count):
            write_score(decision, writer, 4, i, True)
        for i in range(decision.playbook.grades_count):
            write_grade(decision, writer, 5, i)
        write_stage(decision, writer, 6)
        write_segments(decision, writer, 7)
        if person_last_event_us(decision.person) >= 0:
            write_time(writer, 8, person_last_event_us(decision.person))
        return 0

    def query(self, plan, int64_t now_us, bint profiles, cursor, scan_max) -> QuerySlice:
        """Look at up to `scan_max` identities from `cursor` (0 at first).

        `plan` is the active plan with the query's condition as its last expression and the
        inputs that the condition reads.  A person is met at the smallest of its identities.
        """
        cdef Playbook playbook = self.playbook_asked(plan)
        cdef IdentityRef identity
        cdef Decision decision
        cdef Value value
        found = []
        failures = 0
        scanned, following = self.store.slice(cursor, scan_max)
        for kind, id_bytes in scanned:
            identity = ref_of(kind, id_bytes)
            self.begin()
            if self.store.identities(kind, id_bytes)[:1] != [(kind, id_bytes)]:
                continue
            self.read_person(identity, &playbook.state, now_us, &decision)
            value = decision_evaluate(
                &decision, &playbook.state.expressions[playbook.state.expressions_count - 1].program
            )
            if value.tag == TAG_ERROR:
                failures += 1
            elif value.tag == TAG_BOOL and value.as_.i:
                if profiles:
                    self.write_profile(&decision, identity)
                else:
                    for member in self.store.identities(kind, id_bytes):
                        write_identity(&self.seat.serving.writer, 1, ref_of(member[0], member[1]))
                found.append(self.result(FAULT_NONE))
        return QuerySlice(found, len(scanned), failures, following)

    cdef Playbook playbook_asked(self, plan):
        """Build a query's playbook once, not for each slice; columns never move."""
        if self.asked is None or self.asked.plan is not plan:
            columns = self.store.extend(plan.attributes, plan.counters)
            self.asked = Playbook(plan, *columns, writes=False)
        return self.asked

    def expire(self, kind, before_us) -> int:
        """Remove identities of a kind without events since; gives how many."""
        person_done(&self.seat.serving.person)
        return self.store.expire(kind, before_us)

    def horizon(self, before_ms) -> None:
        """Forget event ids older than that; the edge then refuses such events."""
        cdef unordered_set[uint64_t] held
        for mutation in self.parked.all():
            arena_reset(&self.seat.serving.machine.arena)
            held.insert(event_named(text_from(mutation), &self.seat.serving))
        self.store.forget(before_ms, &held)

    def relay(self, rows_max) -> int:
        """Re-lay up to so many rows to the newest layout; gives how many still wait."""
        self.release_replaced()
        return self.store.relay(rows_max)

    def digest(self) -> tuple[int, int]:
        """Two order-free sums over the state: equal on nodes with equal state."""
        return self.store.digest()

    @property
    def answers_evicted_early(self) -> int:
        """Answers for repeated decision ids that went before their time."""
        return self.state.answers.evicted_early

    def memory(self) -> dict:
        """Bytes in use, by what for, and counts."""
        memory = dict(self.store.memory())
        memory["answers_bytes"] = self.state.answers.bytes
        memory["answers_evicted_early"] = self.state.answers.evicted_early
        memory["parked"] = self.parked.count
        memory["parked_bytes"] = self.parked.bytes
        memory["mutations_without_effect"] = atomic_read(&self.state.without_effect)
        return memory

    def import_columns(self, kind, ids, columns, stamp_ms):
        """Set attributes of many identities from columns, a value or None for each id.

        Returns what `Store.import_columns` does; rows that do not fit are refused whole.
        """
        self.begin()
        columns_by_number = {}
        for name, values in columns.items():
            name_bytes = name.encode()
            index = find_attribute(&self.active.state, text_from(name_bytes))
            if index < 0:
                raise errors.UnknownNameError("columns", repr(name), "an attribute")
            columns_by_number[self.active.state.attributes[index].column] = values
        return self.store.import_columns(kind, ids, columns_by_number, stamp_ms << 16)
