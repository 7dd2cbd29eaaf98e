"""The engine: one compiled unit of all that is on the hot path.

The subjects' files are included, so that the C++ compiler can inline across them.  This
file owns the Engine: the state, and the `def` edge at which requests and errors cross.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

cimport cython
from libc.math cimport NAN, floor, isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset, strcmp, strlen
from libcpp.algorithm cimport sort
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from . import errors

cdef int64_t TIMESTAMP_US_FAR = 253402300799000000
# A sum's addend in micro-units fits in 64 bits; a sum that does not wraps around.
cdef double SUM_LIMIT = 9e12
cdef double POINTS_MAX = 1e12

cdef enum:
    PLAYBOOK_VALUES_MAX = 16777216

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
include "wire/value_reader.pyx"
include "wire/messages.pyx"
include "wire/python.pyx"
include "playbook/native.pyx"
include "playbook/generations.pyx"
include "decide/identifier.pyx"
include "decide/decision.pyx"
include "decide/score.pyx"
include "decide/arbitrate.pyx"
include "decide/answer.pyx"
include "decide/profile.pyx"
include "decide/decide.pyx"
include "decide/cache.pyx"
include "mutation/accept.pyx"
include "mutation/apply.pyx"
include "mutation/parked.pyx"
include "mutation/writes.pyx"
include "serving/waiting.pyx"
include "serving/state.pyx"
include "serving/seat.pyx"
include "serving/write.pyx"
include "serving/hot.pyx"
include "serving/door_types.pyx"
include "serving/door.pyx"
include "wire/canonical.pyx"


class QuerySlice(NamedTuple):
    """A slice of a query: `profiles` are Profile messages; `cursor` is -1 at the end."""

    profiles: list[bytes]
    scanned: int
    errors: int
    cursor: int


cdef enum:
    # The fields of a request that are maps, a bit for each.
    UPSERT_MAPS = 8
    LINK_MAPS = 0


class LogBatch(NamedTuple):
    """Mutations for the log: `data` is a nextbest.v1.MutationBatch of so many `mutations`."""

    data: bytes
    mutations: int


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
    """

    cdef readonly Store store
    cdef EngineState state
    cdef EngineSeat seat
    cdef Door native_door
    cdef Playbook active
    cdef Generations published
    # Playbooks that a native thread may still read, each with the epoch it was replaced in.
    cdef list replaced
    # What the last query asked: its next slice has the same plan.
    cdef Playbook asked
    cdef Writes writes
    cdef Parked parked

    def __cinit__(
        self, *, profiles_max=1_000_000, dedupe_max=10_000_000, generations_max=32,
        decisions_max=65_536,
    ):
        self.store = Store(profiles_max=profiles_max, dedupe_max=dedupe_max)
        engine_init(&self.state, self.store.state, decisions_max)
        if not seat_init(
            &self.seat, &self.state, int.from_bytes(os.urandom(8), "little")
        ):
            raise MemoryError("engine")
        self.published = Generations(generations_max)
        self.replaced = []
        self.writes = Writes()
        self.parked = Parked()

    def __dealloc__(self):
        seat_free(&self.seat)
        engine_free(&self.state)

    def door(self):
        """A PyCapsule of the `Door` of core/door.h.  It keeps the engine alive."""
        capsule = door_capsule(&self.state, &self.native_door)
        return capsule_keeping(capsule, self)

    @property
    def generation(self) -> int:
        """The active generation; 0 before the first publish."""
        return self.active.state.generation if self.active is not None else 0

    @property
    def playbook_hash(self) -> bytes:
        """The active playbook's content hash, 16 bytes; empty before the first publish."""
        return self.active.plan.hash if self.active is not None else b""

    @property
    def position(self) -> tuple[int, int, int]:
        """How far the log is applied: epoch, sequence, nonce."""
        cdef Position position = self.state.position
        return position.epoch, atomic_read(&self.state.position.sequence), position.nonce

    def publish(self, plan, *, description="", published_at_us=0, number=0) -> int:
        """Make a plan the active generation and return its number.

        `number`, when not 0, is the one it had before a restart, above all others.
        The store's layout is widened for new attributes and counters; nothing is dropped.
        Mutations that waited for the playbook are applied: StoreFullError when the store
        cannot remember them all, and the rest waits for the next publish of the playbook.
        The oldest generation is forgotten when there are more than `generations_max`.
        """
        self.published.require_new(number)
        playbook = Playbook(plan, *self.store.extend(plan.attributes, plan.counters))
        playbook.description = description
        playbook.published_at_us = published_at_us
        self.published.add(playbook, number)
        self.make_active(playbook)
        self.published.forget(playbook)
        self.apply_parked(plan.hash)
        return playbook.state.generation

    cdef int apply_parked(self, bytes hash_bytes) except -1:
        """Apply what waited for a playbook; what cannot be applied yet goes on waiting."""
        cdef bytes mutation = self.parked.peek(hash_bytes)
        while mutation is not None:
            self.apply(mutation)
            self.parked.drop(hash_bytes)
            mutation = self.parked.peek(hash_bytes)
        return 0

    cdef int make_active(self, Playbook playbook) except -1:
        """Swap the playbook; the one before stays as long as a thread may read it."""
        before = self.active
        self.active = playbook
        atomic_pointer_write(&self.state.active, &playbook.state)
        if before is not None:
            self.replaced.append((atomic_read(&self.state.epoch), before))
        atomic_add(&self.state.epoch, 1)
        atomic_add(&self.state.position.sequence, 1)
        self.release_replaced()
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

    def decide(self, bytes request, int64_t now_us, int64_t deadline_us=0) -> bytes:
        """Answer a DecideRequest with a DecideResponse.

        `deadline_us`, when not 0, is the moment on the same clock by which to answer.
        """
        return self.result(
            seat_serve(&self.seat, seat_decide, text_from(request), now_us, deadline_us)
        )

    def decide_batch(self, bytes request, int64_t now_us, int64_t deadline_us=0) -> bytes:
        """Answer a DecideBatchRequest with a DecideBatchResponse, under one generation."""
        return self.result(
            seat_serve(&self.seat, seat_decide_batch, text_from(request), now_us, deadline_us)
        )

    def track(self, bytes request, int64_t now_us) -> bytes:
        """Record an event: a TrackRequest answered with a TrackResponse.

        It answers at once, so that it refuses LOGGED: `track_waiting` does not.
        """
        return self.result(
            seat_serve_track(&self.seat, text_from(request), now_us, 0, 0, NULL)
        )

    def track_waiting(self, bytes request, int64_t now_us, uint64_t token) -> bytes | None:
        """As `track`; None for one that waits for the log.

        `completed` gives its answer with the `token`, once `log_done` has told of it.
        """
        cdef bint pending = False
        answer = self.result(
            seat_serve_track(&self.seat, text_from(request), now_us, 0, token, &pending)
        )
        return None if pending else answer

    cdef bytes result(self, int kind):
        """What the seat has written, or the error that it met."""
        if kind != FAULT_NONE:
            fault_raise(&self.seat.serving.fault)
        return (<char*>self.seat.serving.writer.data)[:self.seat.serving.writer.length]

    def upsert(self, bytes request, int64_t now_us) -> bytes:
        """Set attributes: an UpsertProfileRequest answered with an UpsertProfileResponse."""
        cdef UpsertMessage message
        cdef IdentityRef identity
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Fault* fault = &self.seat.serving.fault
        cdef Stamping stamping
        cdef Applied applied
        cdef int64_t occurred_us = 0
        self.begin()
        if read_upsert(&reader, &message, &self.seat.serving.machine.arena, fault) or check_upsert(
            &self.active.state, &message, now_us, &occurred_us, &identity, fault
        ):
            fault_raise(fault)
        self.check_write(identity, message.ack)
        seat_stamp(&self.seat, &self.active.state, &stamping, now_us, identity)
        self.stamp_write(&stamping, message.write_id, request, UPSERT_MAPS, occurred_us)
        self.accept(&stamping, BODY_ATTRIBUTES, request, &applied)
        seat_cross_stage(&self.seat, &self.active.state, identity, now_us)
        self.answer_write()
        write_uint(&self.seat.serving.writer, 5, applied.created)
        write_uint(&self.seat.serving.writer, 6, ACK_APPLIED)
        return self.result(FAULT_NONE)

    def link(self, bytes request, int64_t now_us) -> bytes:
        """Link two identities or part them: a LinkIdentityRequest, a LinkIdentityResponse."""
        cdef LinkMessage message
        cdef IdentityRef first, second
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Fault* fault = &self.seat.serving.fault
        cdef Stamping stamping
        cdef Applied applied
        cdef int64_t occurred_us = 0
        self.begin()
        if read_link(&reader, &message, fault) or check_link(
            &message, now_us, &occurred_us, &first, &second, fault
        ):
            fault_raise(fault)
        self.check_write(first, message.ack)
        self.check_write(second, message.ack)
        if not message.unlink:
            self.require_component(first, second)
        seat_stamp(&self.seat, &self.active.state, &stamping, now_us, first)
        stamping.second_incarnation = store_incarnation(self.store.state, second)
        self.stamp_write(&stamping, message.write_id, request, LINK_MAPS, occurred_us)
        self.accept(&stamping, BODY_LINK, request, &applied)
        seat_cross_stage(&self.seat, &self.active.state, first, now_us)
        self.answer_write()
        for kind, id_bytes in self.store.identities(first.kind, ref_bytes(first)):
            write_identity(&self.seat.serving.writer, 5, ref_of(kind, id_bytes))
        write_uint(&self.seat.serving.writer, 6, ACK_APPLIED)
        return self.result(FAULT_NONE)

    cdef int begin(self) except -1:
        """Empty what the call before has left; for calls that hold the GIL to their end."""
        if self.active is None:
            raise errors.NoPlaybookError("no playbook is active: publish one first")
        arena_reset(&self.seat.serving.machine.arena)
        self.seat.serving.writer.length = 0
        self.seat.serving.writer.failed = False
        # A read that is over must not keep what this replaces from being freed.
        person_done(&self.seat.serving.person)
        return 0

    cdef int check_write(self, IdentityRef identity, int64_t ack) except -1:
        if seat_check_write(&self.seat, identity, ack, False):
            fault_raise(&self.seat.serving.fault)
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
        self, Stamping* stamping, uint32_t body, bytes request, Applied* applied
    ) except -1:
        """Frame a checked request as a mutation and apply it."""
        if seat_accept(
            &self.seat, &self.active.state, stamping, body, text_from(request), applied
        ):
            fault_raise(&self.seat.serving.fault)
        return 0

    cdef int answer_write(self) except -1:
        cdef Header header = engine_header(&self.state, &self.active.state)
        self.seat.serving.writer.length = 0
        write_header(&self.seat.serving.writer, &header)
        return 0

    def apply(self, bytes mutation) -> None:
        """Apply one Mutation, in any order and any number of times.

        One that names a playbook this node does not have is parked until it is published.
        """
        cdef MutationMessage message
        cdef Applied applied
        cdef Playbook playbook
        cdef const PlaybookState* state = NULL
        cdef Reader reader = reader_of(<char*>mutation, len(mutation))
        if not shape_holds(&reader, SHAPE_MUTATION) or not read_mutation(
            text_from(mutation), &message
        ) or message.body == BODY_NONE:
            raise errors.InvalidRequestError("mutation", "malformed bytes", "a Mutation")
        if message.split:
            self.apply(mutation_joined(mutation, &message))
            return
        # A read that is over must not keep what this replaces from being freed.
        person_done(&self.seat.serving.person)
        if message.body == BODY_EXPIRY or message.body == BODY_HORIZON:
            self.apply_housekeeping(&message)
            return
        if message.body != BODY_LINK:
            hash_bytes = message.playbook.data[:message.playbook.length]
            playbook = self.published.by_hash.get(hash_bytes)
            if playbook is None:
                self.parked.put(hash_bytes, text_from(mutation))
                return
            state = &playbook.state
        memset(&applied, 0, sizeof(Applied))
        if seat_apply(&self.seat, state, &message, &applied):
            fault_raise(&self.seat.serving.fault)

    cdef int apply_housekeeping(self, MutationMessage* message) except -1:
        cdef int64_t first, second
        read_pair(message.request, &first, &second)
        if message.body == BODY_EXPIRY:
            if 1 <= <uint32_t>first <= 3:
                self.store.expire(<uint32_t>first, second)
        else:
            self.store.horizon(first)
        atomic_add(&self.state.position.sequence, 1)
        return 0

    def attach_log(self, int writes_max) -> int:
        """Let up to `writes_max` writes wait for a log; gives a descriptor to wait on.

        It is readable while there is something to take, and the engine's to close.  From now
        on every write is queued; one that asks for LOGGED is applied and answered by `log_done`.
        """
        if self.state.waiting.capacity:
            raise errors.InvalidRequestError("log", "attached already", "once")
        if not 1 <= writes_max <= WRITES_WAITING_MAX:
            raise errors.InvalidRequestError(
                "writes_max", str(writes_max), f"1 to {WRITES_WAITING_MAX}"
            )
        if not completions_open(&self.seat.completions):
            raise MemoryError("log")
        if not waiting_open(&self.state.waiting, writes_max):
            raise MemoryError("log")
        return self.state.waiting.wake_fd

    def log_take(self, uint32_t count_max=1000, size_t bytes_max=262144) -> LogBatch:
        """Take the oldest mutations that wait, for one append to the log."""
        cdef Writer writer
        cdef uint32_t taken
        memset(&writer, 0, sizeof(Writer))
        try:
            with nogil:
                taken = waiting_take(&self.state.waiting, count_max, bytes_max, &writer)
            if writer.failed:
                raise MemoryError("log")
            return LogBatch((<char*>writer.data)[:writer.length], taken)
        finally:
            writer_free(&writer)

    def log_done(self, uint32_t count, bint known=True) -> int:
        """Tell of the first `count` mutations taken that the log has them; gives how many.

        They are applied and their calls answered.  With `known` false the log did not say
        whether it has them: the calls get LogFailedError, and nothing is applied.
        """
        cdef WaitingWrite write
        cdef uint32_t done = 0
        cdef int kind = FAULT_NONE if known else FAULT_LOG_FAILED
        # A seat may close once the write is popped: it does so under the GIL, which is held here.
        while done < count and waiting_pop(&self.state.waiting, &write):
            self.begin()
            seat_log_done(&self.seat, &self.active.state, &write, kind)
            free(write.data)
            done += 1
        return done

    @property
    def completed_fd(self) -> int:
        """Readable when `completed` has something to give; -1 until a log is attached."""
        return self.seat.completions.wake_fd

    def completed(self):
        """The next answer that waited: its token and the answer or error; None for none."""
        cdef DoorAnswer answer
        cdef uint64_t token = 0
        if not door_completed(<Seat*>&self.seat, &token, &answer):
            return None
        if answer.code == 0:
            return token, answer.data[:answer.length]
        try:
            fault_raise(&self.seat.serving.fault)
        except errors.NextbestError as error:
            return token, error

    def profile(self, bytes request, int64_t now_us) -> bytes:
        """What is known of a person: a GetProfileRequest, a GetProfileResponse."""
        cdef ProfileMessage message
        cdef IdentityRef identity
        cdef Decision decision
        cdef bint known
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Writer* writer = &self.seat.serving.writer
        cdef Fault* fault = &self.seat.serving.fault
        cdef size_t start
        self.begin()
        if read_profile(&reader, &message, fault) or check_identity(
            &message.identity, "identity", &identity, fault
        ):
            fault_raise(fault)
        if message.now.present and check_time(&message.now, "now", &now_us, fault):
            fault_raise(fault)
        if message.min_position.present and engine_reaches(
            &self.state, &message.min_position, fault
        ):
            fault_raise(fault)
        known = self.read_person(identity, &self.active.state, now_us, &decision)
        self.answer_write()
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
            decision, playbook, &serving.machine, &serving.person, known, now_us, 0
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
            self.asked = Playbook(plan, *self.store.extend(plan.attributes, plan.counters))
        return self.asked

    def expire(self, kind, before_us) -> int:
        """Remove identities of a kind without events since; gives how many."""
        person_done(&self.seat.serving.person)
        return self.store.expire(kind, before_us)

    def horizon(self, before_ms) -> None:
        """Forget event ids older than that; the edge then refuses such events."""
        self.store.horizon(before_ms)

    def relay(self, rows_max) -> int:
        """Re-lay up to so many rows to the newest layout; gives how many still wait."""
        self.release_replaced()
        return self.store.relay(rows_max)

    def digest(self) -> tuple[int, int]:
        """Two order-free sums over the state: equal on nodes with equal state."""
        return self.store.digest()

    def memory(self) -> dict:
        """Bytes in use, by what for, and counts."""
        memory = dict(self.store.memory())
        memory["answers_bytes"] = self.state.answers.bytes
        memory["answers_evicted_early"] = self.state.answers.evicted_early
        memory["parked"] = self.parked.count
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
