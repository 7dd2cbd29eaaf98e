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
from libc.string cimport memcmp, memcpy, memmove, memset, strlen
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
include "wire/writer.pyx"
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


class QuerySlice(NamedTuple):
    """A slice of a query: `profiles` are Profile messages; `cursor` is -1 at the end."""

    profiles: list[bytes]
    scanned: int
    errors: int
    cursor: int


cdef enum:
    # The fields of a request that are maps, a bit for each.
    DECIDE_MAPS = 96
    UPSERT_MAPS = 8
    LINK_MAPS = 0


# Deallocation gives the reader's place back to the store, so the collector must not clear
# `store` before it.
@cython.no_gc_clear
@cython.final
cdef class Engine:
    """The decision engine: profiles, playbooks and decisions in memory.

    Requests and answers are the bytes of nextbest.v1 messages.  `now_us` is the node's clock
    in microseconds since 1970.  Every method raises the errors of `nextbest.core.errors` for
    what a caller can cause.  One thread calls it: calls share one scratch, and a wait for a
    shard's latch gives the GIL away.

    profiles_max: identities the store takes before it refuses new ones.
    dedupe_max: events whose repeats are recognised.
    generations_max: published playbooks that can be activated again.
    decisions_max: answers kept for repeated decision ids.
    """

    cdef readonly Store store
    cdef Serving serving
    cdef Playbook active
    cdef Generations published
    # What the last query asked: its next slice has the same plan.
    cdef Playbook asked
    cdef AnswerCache answers
    cdef Header header
    cdef Writer mutation
    cdef Writes writes
    cdef Parked parked
    cdef Identifiers identifiers
    cdef uint64_t last_stamp
    cdef uint64_t without_effect

    def __cinit__(
        self, *, profiles_max=1_000_000, dedupe_max=10_000_000, generations_max=32,
        decisions_max=65_536,
    ):
        self.store = Store(profiles_max=profiles_max, dedupe_max=dedupe_max)
        serving_init(&self.serving, self.store.state)
        self.published = Generations(generations_max)
        self.answers = AnswerCache(decisions_max)
        self.writes = Writes()
        self.parked = Parked()
        self.header.position.epoch = 1
        self.header.position.nonce = int.from_bytes(os.urandom(8), "little")
        self.identifiers.seed = int.from_bytes(os.urandom(8), "little")

    def __dealloc__(self):
        serving_free(&self.serving)
        writer_free(&self.mutation)

    @property
    def generation(self) -> int:
        """The active generation; 0 before the first publish."""
        return self.header.generation

    @property
    def playbook_hash(self) -> bytes:
        """The active playbook's content hash, 16 bytes; empty before the first publish."""
        return self.active.plan.hash if self.active is not None else b""

    @property
    def position(self) -> tuple[int, int, int]:
        """How far the log is applied: epoch, sequence, nonce."""
        position = self.header.position
        return position.epoch, position.sequence, position.nonce

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
        # Under the GIL; decisions hold it too, so that each sees one playbook.
        self.active = playbook
        self.header.generation = playbook.state.generation
        self.header.position.sequence += 1
        return 0

    def activate(self, generation) -> int:
        """Make an earlier generation active again and return the one before."""
        before = self.header.generation
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
        cdef CachedAnswer answer
        cdef DecideCall call
        cdef uint64_t request_hash = 0
        cdef int cached
        self.require_playbook()
        self.require_time(now_us, deadline_us)
        self.begin()
        if self.read_call(request, &call):
            fault_raise(&self.serving.fault)
        if call.message.decision_id.length:
            # Before it is checked: the playbook that knows its names may have gone since.
            request_hash = request_digest(text_from(request), DECIDE_MAPS)
            cached = self.answers.find(call.message.decision_id, request_hash, now_us, &answer)
            if cached == CACHE_HIT:
                return (<char*>answer.data)[answer.id_length:answer.id_length + answer.length]
            if cached == CACHE_OTHER_REQUEST:
                raise errors.AlreadyUsedError(
                    "decision_id", repr(text_str(call.message.decision_id))
                )
        if self.check_call(&call, now_us) or self.decide_checked(&call, now_us):
            fault_raise(&self.serving.fault)
        if request_hash:
            self.answers.put(
                call.message.decision_id, request_hash, now_us, self.serving.writer.data,
                <uint32_t>self.serving.writer.length,
            )
        return self.written()

    cdef inline bytes written(self):
        return (<char*>self.serving.writer.data)[:self.serving.writer.length]

    cdef int require_playbook(self) except -1:
        if self.active is None:
            raise errors.NoPlaybookError("no playbook is active: publish one first")
        return 0

    cdef int require_time(self, int64_t now_us, int64_t deadline_us) except -1:
        if deadline_us and now_us >= deadline_us:
            raise errors.DeadlineError("the deadline passed before the decision began")
        return 0

    cdef void begin(self) noexcept nogil:
        """Empty what the call before has left."""
        arena_reset(&self.serving.machine.arena)
        self.serving.writer.length = 0
        self.serving.writer.failed = False

    cdef int read_call(self, bytes request, DecideCall* call) except -1:
        """Read a DecideRequest; the fault's kind when it is malformed."""
        cdef Reader reader = reader_of(<char*>request, len(request))
        return read_decide(
            &reader, &call.message, &self.serving.machine.arena, &self.serving.fault
        )

    cdef int check_call(self, DecideCall* call, int64_t now_us) noexcept nogil:
        """Check what was read; the fault's kind when it is refused."""
        cdef int kind = check_decide(
            &self.active.state, call, &self.serving.machine.arena, now_us, &self.serving.fault
        )
        if kind == FAULT_NONE and call.message.min_position.present:
            kind = self.check_position(&call.message.min_position)
        return kind

    cdef int check_position(self, PositionField* position) noexcept nogil:
        """A position of this node's log is reached once it was given."""
        cdef char seen[64]
        if position.epoch == self.header.position.epoch:
            if position.nonce == self.header.position.nonce:
                if position.sequence <= self.header.position.sequence:
                    return FAULT_NONE
        snprintf(
            seen, sizeof(seen), "epoch %llu, sequence %llu",
            <unsigned long long>position.epoch, <unsigned long long>position.sequence,
        )
        return fault_set(
            &self.serving.fault, FAULT_POSITION_LOST, "min_position", seen,
            "a position of this node's history: retry the write with the same id",
        )

    cdef int decide_checked(self, DecideCall* call, int64_t now_us) except -1:
        """Decide a checked call into the writer, with an id and a seed when it has none."""
        if call.message.seed == 0:
            call.message.seed = next_seed(&self.identifiers)
        if call.message.decision_id.length == 0 and not make_uuid7(
            &self.identifiers, &self.serving.machine.arena, now_us, &call.message.decision_id
        ):
            raise MemoryError("decision id")
        return decide_call(
            &self.serving, &self.active.state, self.store.state, call, &self.header
        )

    def decide_batch(self, bytes request, int64_t now_us, int64_t deadline_us, status) -> bytes:
        """Answer a DecideBatchRequest with a DecideBatchResponse, under one generation.

        `status` gives the bytes of the google.rpc.Status for an error: the core knows no codes.
        """
        cdef Writer batch
        cdef size_t entry
        cdef Text text
        self.require_playbook()
        self.require_time(now_us, deadline_us)
        memset(&batch, 0, sizeof(Writer))
        try:
            write_header(&batch, &self.header)
            for each in batch_requests(request):
                field = 1
                try:
                    answer = self.decide(each, now_us)
                except errors.NextbestError as error:
                    answer = status(error)
                    field = 2
                text = text_from(answer)
                entry = message_open(&batch, 5)
                write_text_always(&batch, field, text)
                message_close(&batch, entry)
            if batch.failed:
                raise errors.InvalidRequestError("requests", "an answer over 64 MiB", "fewer")
            return (<char*>batch.data)[:batch.length]
        finally:
            writer_free(&batch)

    def track(self, bytes request, int64_t now_us) -> bytes:
        """Record an event: a TrackRequest answered with a TrackResponse."""
        cdef TrackMessage message
        cdef IdentityRef identity
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Arena* arena = &self.serving.machine.arena
        cdef Stamping stamping
        cdef Applied applied
        self.require_playbook()
        self.begin()
        if read_track(&reader, &message, arena, &self.serving.fault) or check_track(
            &self.active.state, &message, arena, now_us, self.store.state.horizon_ms, &identity,
            &self.serving.fault,
        ):
            fault_raise(&self.serving.fault)
        self.require_applied(message.ack)
        self.require_room(identity)
        self.stamp(&stamping, now_us, identity)
        self.accept(&stamping, BODY_EVENT, request, &applied)
        self.cross_stage(identity, now_us)
        return self.answer_write(5, applied.duplicate)

    def upsert(self, bytes request, int64_t now_us) -> bytes:
        """Set attributes: an UpsertProfileRequest answered with an UpsertProfileResponse."""
        cdef UpsertMessage message
        cdef IdentityRef identity
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Arena* arena = &self.serving.machine.arena
        cdef Stamping stamping
        cdef Applied applied
        cdef uint64_t digest
        cdef int64_t occurred_us = 0
        self.require_playbook()
        self.begin()
        if read_upsert(&reader, &message, arena, &self.serving.fault) or check_upsert(
            &self.active.state, &message, now_us, &occurred_us, &identity, &self.serving.fault
        ):
            fault_raise(&self.serving.fault)
        self.require_applied(message.ack)
        self.require_room(identity)
        self.stamp(&stamping, now_us, identity)
        digest = request_digest(text_from(request), UPSERT_MAPS)
        self.stamp_write(&stamping, message.write_id, digest, occurred_us)
        self.accept(&stamping, BODY_ATTRIBUTES, request, &applied)
        self.cross_stage(identity, now_us)
        return self.answer_write(5, applied.created)

    def link(self, bytes request, int64_t now_us) -> bytes:
        """Link two identities or part them: a LinkIdentityRequest, a LinkIdentityResponse."""
        cdef LinkMessage message
        cdef IdentityRef first, second
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Stamping stamping
        cdef Applied applied
        cdef uint64_t digest
        cdef int64_t occurred_us = 0
        self.require_playbook()
        self.begin()
        if read_link(&reader, &message, &self.serving.fault) or check_link(
            &message, now_us, &occurred_us, &first, &second, &self.serving.fault
        ):
            fault_raise(&self.serving.fault)
        self.require_applied(message.ack)
        self.require_room(first)
        self.require_room(second)
        if not message.unlink:
            self.require_component(first, second)
        self.stamp(&stamping, now_us, first)
        stamping.second_incarnation = store_incarnation(self.store.state, second)
        digest = request_digest(text_from(request), LINK_MAPS)
        self.stamp_write(&stamping, message.write_id, digest, occurred_us)
        self.accept(&stamping, BODY_LINK, request, &applied)
        self.cross_stage(first, now_us)
        return self.answer_link(first)

    cdef int require_applied(self, int64_t ack) except -1:
        if ack > 1:
            raise errors.InvalidRequestError(
                "ack", "LOGGED" if ack == 2 else "REPLICATED",
                "APPLIED: this server keeps no log",
            )
        return 0

    cdef int require_room(self, IdentityRef identity) except -1:
        if not store_has_room(self.store.state, identity):
            raise errors.StoreFullError(
                f"identity: the store holds its most of {self.store.profiles_max} identities"
            )
        return 0

    cdef int require_component(self, IdentityRef first, IdentityRef second) except -1:
        members = set(self.store.identities(first.kind, ref_bytes(first)))
        members.update(self.store.identities(second.kind, ref_bytes(second)))
        if len(members) > COMPONENT_MAX:
            raise errors.InvalidRequestError(
                "second", f"a person of {len(members)} identities", f"at most {COMPONENT_MAX}"
            )
        return 0

    cdef int stamp(self, Stamping* stamping, int64_t now_us, IdentityRef identity) except -1:
        """The hybrid logical clock's next value and what else the node adds."""
        cdef uint64_t clock = <uint64_t>(now_us // 1000) << 16
        memset(stamping, 0, sizeof(Stamping))
        self.last_stamp = max(self.last_stamp + 1, clock)
        stamping.stamp = self.last_stamp
        stamping.playbook.data = <const char*>self.active.state.hash
        stamping.playbook.length = 16
        stamping.incarnation = store_incarnation(self.store.state, identity)
        return 0

    cdef int stamp_write(
        self, Stamping* stamping, Text write_id, uint64_t digest, int64_t occurred_us
    ) except -1:
        """Stamp a write with the time it names, or as its id was stamped before."""
        if occurred_us >= 0:
            stamping.stamp = <uint64_t>(occurred_us // 1000) << 16
        stamping.stamp = self.writes.stamp(write_id, digest, stamping.stamp)
        return 0

    cdef int accept(
        self, Stamping* stamping, uint32_t body, bytes request, Applied* applied
    ) except -1:
        """Frame a checked request as a mutation and apply it."""
        cdef Text text
        text.data = <char*>request
        text.length = <uint32_t>len(request)
        self.mutation.length = 0
        write_mutation(&self.mutation, stamping, body, text)
        if self.mutation.failed:
            raise MemoryError("mutation")
        text.data = <char*>self.mutation.data
        text.length = <uint32_t>self.mutation.length
        return self.apply_text(text, applied)

    def apply(self, bytes mutation) -> None:
        """Apply one Mutation, in any order and any number of times.

        One that names a playbook this node does not have is parked until it is published.
        """
        cdef Applied applied
        cdef Text text
        text.data = <char*>mutation
        text.length = <uint32_t>len(mutation)
        self.apply_text(text, &applied)

    cdef int apply_text(self, Text data, Applied* applied) except -1:
        cdef MutationMessage message
        cdef StoreStatus status = STORE_OK
        cdef Playbook playbook
        memset(applied, 0, sizeof(Applied))
        if not read_mutation(data, &message):
            raise errors.InvalidRequestError("mutation", "malformed bytes", "a Mutation")
        arena_reset(&self.serving.machine.arena)
        # A read that is over must not keep what this replaces from being freed.
        person_done(&self.serving.person)
        if message.body == BODY_EVENT or message.body == BODY_ATTRIBUTES:
            hash_bytes = message.playbook.data[:message.playbook.length]
            playbook = self.published.by_hash.get(hash_bytes)
            if playbook is None:
                return self.parked.put(hash_bytes, data)
            if message.body == BODY_EVENT:
                status = apply_event(
                    &playbook.state, &message, self.store.state, &self.serving, applied
                )
            else:
                status = apply_attributes(
                    &playbook.state, &message, self.store.state, &self.serving, applied
                )
        else:
            status = self.apply_housekeeping(&message)
        self.require_applied_status(status)
        self.header.position.sequence += 1
        return 0

    cdef int require_applied_status(self, StoreStatus status) except -1:
        if status == STORE_NO_MEMORY:
            raise MemoryError("apply")
        if status == STORE_FULL_DEDUPE or status == STORE_FULL_SETS:
            raise errors.StoreFullError(
                "event_id: the store remembers its most of events; wait for the horizon to move"
            )
        if status != STORE_OK and status != STORE_DUPLICATE and status != STORE_UNKNOWN:
            # Late, of a dead incarnation or of another type: without effect, by design.
            self.without_effect += 1
        return 0

    cdef StoreStatus apply_housekeeping(self, MutationMessage* message) except *:
        cdef int64_t first, second
        if message.body == BODY_LINK:
            return apply_link(message, self.store.state, &self.serving)
        read_pair(message.request, &first, &second)
        if message.body == BODY_EXPIRY:
            if 1 <= first <= 3:
                self.store.expire(first, second)
        else:
            self.store.horizon(first)
        return STORE_OK

    cdef int cross_stage(self, IdentityRef identity, int64_t now_us) except -1:
        """Store the lifecycle stage when the write has moved it."""
        cdef const PlaybookState* playbook = &self.active.state
        cdef Decision decision
        cdef Stamping stamping
        cdef Applied applied
        if playbook.transitions_count == 0:
            return 0
        arena_reset(&self.serving.machine.arena)
        self.read_person(identity)
        if not decision_begin(
            &decision, playbook, &self.serving.machine, &self.serving.person, True, now_us, 0
        ):
            # The write stands, and every read moves the stored stage along by itself.
            return 0
        if stored_stage(&decision) == stage_index(&decision):
            return 0
        request = self.stage_request(identity, playbook.stages[decision.stage])
        self.stamp(&stamping, now_us, identity)
        return self.accept(&stamping, BODY_ATTRIBUTES, request, &applied)

    cdef bytes stage_request(self, IdentityRef identity, Text stage):
        """An UpsertProfileRequest of the hidden stage attribute."""
        cdef Writer* writer = &self.serving.writer
        cdef Value value = value_string(stage.data, stage.length)
        cdef size_t entry
        writer.length = 0
        write_identity(writer, 2, identity)
        entry = message_open(writer, 3)
        write_text(writer, 1, self.active.state.attributes[self.active.state.stage_attribute].name)
        write_value(writer, 2, &value)
        message_close(writer, entry)
        return self.written()

    cdef bytes answer_write(self, uint32_t field, bint flag):
        self.serving.writer.length = 0
        write_header(&self.serving.writer, &self.header)
        write_uint(&self.serving.writer, field, flag)
        # The one level a node without a log can reach: APPLIED.
        write_uint(&self.serving.writer, 6, 1)
        return self.written()

    cdef bytes answer_link(self, IdentityRef identity):
        cdef IdentityRef member
        self.serving.writer.length = 0
        write_header(&self.serving.writer, &self.header)
        for kind, id_bytes in self.store.identities(identity.kind, ref_bytes(identity)):
            member = ref_of(kind, id_bytes)
            write_identity(&self.serving.writer, 5, member)
        write_uint(&self.serving.writer, 6, 1)
        return self.written()

    def profile(self, bytes request, int64_t now_us) -> bytes:
        """What is known of a person: a GetProfileRequest, a GetProfileResponse."""
        cdef ProfileMessage message
        cdef IdentityRef identity
        cdef Decision decision
        cdef bint known
        cdef Reader reader = reader_of(<char*>request, len(request))
        cdef Writer* writer = &self.serving.writer
        cdef size_t start
        self.require_playbook()
        self.begin()
        if read_profile(&reader, &message, &self.serving.fault) or check_identity(
            &message.identity, "identity", &identity, &self.serving.fault
        ):
            fault_raise(&self.serving.fault)
        if message.now.present and check_time(&message.now, "now", &now_us, &self.serving.fault):
            fault_raise(&self.serving.fault)
        if message.min_position.present and self.check_position(&message.min_position):
            fault_raise(&self.serving.fault)
        known = self.read_person(identity)
        if not decision_begin(
            &decision, &self.active.state, &self.serving.machine, &self.serving.person, known,
            now_us, 0,
        ):
            raise MemoryError("profile")
        write_header(writer, &self.header)
        write_uint(writer, 5, known)
        start = message_open(writer, 6)
        self.write_profile(&decision, identity)
        message_close(writer, start)
        return self.written()

    cdef bint read_person(self, IdentityRef identity) except? True:
        """Read the person an identity belongs to; False for one that nobody knows."""
        cdef StoreStatus status = store_read(self.store.state, identity, &self.serving.person)
        if status == STORE_NO_MEMORY:
            raise MemoryError("person")
        return status == STORE_OK

    cdef int write_profile(self, Decision* decision, IdentityRef identity) except -1:
        """The fields of a Profile."""
        cdef Writer* writer = &self.serving.writer
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
            self.read_person(identity)
            if not decision_begin(
                &decision, &playbook.state, &self.serving.machine, &self.serving.person, True,
                now_us, 0,
            ):
                raise MemoryError("query")
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
                        write_identity(&self.serving.writer, 1, ref_of(member[0], member[1]))
                found.append(self.written())
        return QuerySlice(found, len(scanned), failures, following)

    cdef Playbook playbook_asked(self, plan):
        """Build a query's playbook once, not for each slice; columns never move."""
        if self.asked is None or self.asked.plan is not plan:
            self.asked = Playbook(plan, *self.store.extend(plan.attributes, plan.counters))
        return self.asked

    def expire(self, kind, before_us) -> int:
        """Remove identities of a kind without events since; gives how many."""
        person_done(&self.serving.person)
        return self.store.expire(kind, before_us)

    def horizon(self, before_ms) -> None:
        """Forget event ids older than that; the edge then refuses such events."""
        self.store.horizon(before_ms)

    def relay(self, rows_max) -> int:
        """Re-lay up to so many rows to the newest layout; gives how many still wait."""
        return self.store.relay(rows_max)

    def digest(self) -> tuple[int, int]:
        """Two order-free sums over the state: equal on nodes with equal state."""
        return self.store.digest()

    def memory(self) -> dict:
        """Bytes in use, by what for, and counts."""
        memory = dict(self.store.memory())
        memory["answers_bytes"] = self.answers.cache.bytes
        memory["answers_evicted_early"] = self.answers.cache.evicted_early
        memory["parked"] = self.parked.count
        memory["mutations_without_effect"] = self.without_effect
        return memory

    def import_columns(self, kind, ids, columns, stamp_ms):
        """Set attributes of many identities from columns, a value or None for each id.

        Returns what `Store.import_columns` does; rows that do not fit are refused whole.
        """
        self.require_playbook()
        person_done(&self.serving.person)
        columns_by_number = {}
        for name, values in columns.items():
            name_bytes = name.encode()
            index = find_attribute(&self.active.state, text_from(name_bytes))
            if index < 0:
                raise errors.UnknownNameError("columns", repr(name), "an attribute")
            columns_by_number[self.active.state.attributes[index].column] = values
        return self.store.import_columns(kind, ids, columns_by_number, stamp_ms << 16)
