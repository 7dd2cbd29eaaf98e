"""The hot calls, the same for both lanes: bytes read, one call of the engine, bytes written.

Each gives a fault's kind, or FAULT_NONE with its answer at the end of the seat's writer.
"""

cdef enum:
    # The fields of a DecideRequest that are maps, a bit for each.
    DECIDE_MAPS = 96
    # How much younger than the horizon an id must be to be taken.
    HORIZON_MARGIN_MS = 3600000


cdef int seat_decide(
    EngineSeat* seat, const PlaybookState* playbook, Text request, int64_t now_us
) noexcept nogil:
    """Answer a DecideRequest with a DecideResponse, appended to the writer."""
    cdef DecideCall call
    cdef Serving* serving = &seat.serving
    cdef size_t start = serving.writer.length
    cdef uint64_t request_hash = 0
    cdef Reader reader = reader_of(request.data, request.length)
    cdef int kind, cached
    arena_reset(&serving.machine.arena)
    kind = read_decide(&reader, &call.message, &serving.machine.arena, &serving.fault)
    if kind != FAULT_NONE:
        return kind
    if call.message.decision_id.length:
        # Before it is checked: the playbook that knows its names may have gone since.
        request_hash = request_digest(request, DECIDE_MAPS)
        cached = seat_decided(seat, &call, request_hash, now_us)
        if cached == CACHE_HIT and TELEMETRY and serving.tally != NULL:
            counter_add(&serving.tally.repeated, 1)
        if cached != CACHE_MISS:
            return cached_result(cached, call.message.decision_id, &serving.fault)
    kind = seat_decide_new(seat, playbook, &call, request, now_us)
    if kind != FAULT_NONE or request_hash == 0:
        return kind
    cached = cache_put(
        &seat.state.answers, call.message.decision_id, request_hash, now_us, &serving.writer,
        start, &serving.grounds,
    )
    return cached_result(cached, call.message.decision_id, &serving.fault)


cdef int seat_decided(
    EngineSeat* seat, DecideCall* call, uint64_t request_hash, int64_t now_us
) noexcept nogil:
    """Append the answer that the decision has had, while what it rests on stands.

    Else it is to be made again, and draws as it did.
    """
    cdef Writer* writer = &seat.serving.writer
    cdef size_t start = writer.length
    cdef Grounds grounds
    cdef int cached = cache_find(
        &seat.state.answers, call.message.decision_id, request_hash, now_us, writer, &grounds
    )
    if cached == CACHE_HIT and not seat_stands(seat, call, &grounds, now_us):
        writer.length = start
        call.message.seed = grounds.seed
        return CACHE_MISS
    return cached


cdef bint seat_stands(
    EngineSeat* seat, DecideCall* call, const Grounds* grounds, int64_t now_us
) noexcept nogil:
    """Whether an answer may be given again: the person is as it was, and consents hold yet."""
    cdef Serving* serving = &seat.serving
    cdef uint64_t until_us = engine_consents_until(seat.state, grounds.consents)
    cdef IdentityRef identity
    if check_identity(&call.message.identity, "identity", &identity, &serving.fault) or (
        store_read(seat.state.store, identity, &serving.person) == STORE_NO_MEMORY
    ):
        return False
    return now_us < grounds.until_us and serving.person.grounds == grounds.person and (
        not consents_ended(until_us)
    )


cdef inline int cached_result(int cached, Text decision_id, Fault* fault) noexcept nogil:
    if cached == CACHE_OTHER_REQUEST:
        return fault_id(fault, FAULT_USED, "decision_id", decision_id, "")
    return FAULT_NONE


cdef int seat_decide_new(
    EngineSeat* seat, const PlaybookState* playbook, DecideCall* call, Text request,
    int64_t now_us,
) noexcept nogil:
    """Check and decide what was read, with an id and a seed when it has none."""
    cdef Serving* serving = &seat.serving
    cdef Header header
    cdef int kind = check_decide(
        playbook, call, &serving.machine.arena, now_us, &serving.fault
    )
    if kind == FAULT_NONE and call.message.min_position.present:
        kind = engine_reaches(
            seat.state, &call.message.min_position, &seat.wanted, &serving.fault
        )
    step_end(serving.trace, STEP_PARSE)
    if kind != FAULT_NONE:
        if atomic_read(&seat.state.records.on) and kind != FAULT_NOT_REACHED:
            tape_begin(&seat.tape)
            seat_record(
                seat, playbook, call, request, serving.trace.spent, serving.writer.length, kind,
                now_us,
            )
        return kind
    if call.message.seed == 0:
        call.message.seed = next_seed(&seat.identifiers)
    serving.grounds.seed = call.message.seed
    if call.message.decision_id.length == 0 and not make_uuid7(
        &seat.identifiers, &serving.machine.arena, now_us, &call.message.decision_id
    ):
        return fault_arena(&serving.fault)
    header = engine_header(seat.state, playbook, now_us)
    serving.consents_until_us = engine_consents_until(seat.state, playbook.asks_consents)
    kind = seat_decide_recorded(seat, playbook, call, request, &header, now_us)
    if kind == FAULT_NONE and serving.exposures.count and not call.message.preview:
        seat_expose(seat, playbook, call, now_us)
    return kind


cdef inline int seat_decide_recorded(
    EngineSeat* seat, const PlaybookState* playbook, DecideCall* call, Text request,
    const Header* header, int64_t now_us,
) noexcept nogil:
    """Decide, and record it where records are kept, or for a shadow."""
    cdef Serving* serving = &seat.serving
    cdef size_t start = serving.writer.length
    cdef uint64_t before[STEPS]
    # Of the calls of a batch before this one.
    cdef bint degraded = serving.degraded
    cdef int kind
    seat.shadowed = atomic_read(&seat.state.shadow.on) and shadow_wants(
        &seat.state.shadow, call.message.decision_id, serving.tally
    )
    if not seat.shadowed and not atomic_read(&seat.state.records.on):
        return seat_decide_told(seat, playbook, call, header, now_us)
    if records_sample(&seat.state.records, call.message.decision_id):
        records_ahead(&seat.state.records)
    memcpy(before, serving.trace.spent, sizeof(before))
    tape_begin(&seat.tape)
    serving.tape = &seat.tape
    serving.degraded = False
    kind = seat_decide_told(seat, playbook, call, header, now_us)
    serving.tape = NULL
    seat_record(seat, playbook, call, request, before, start, kind, now_us)
    seat.shadowed = False
    serving.degraded |= degraded
    return kind


cdef void seat_record(
    EngineSeat* seat, const PlaybookState* playbook, const DecideCall* call, Text request,
    const uint64_t* before, size_t start, int kind, int64_t now_us,
) noexcept nogil:
    """Record a decision whose answer stands in the writer from `start`, or its fault."""
    cdef Serving* serving = &seat.serving
    cdef Records* records = &seat.state.records
    cdef RecordHead head
    cdef RecordParts parts
    cdef bint failed
    # A shadow has nothing to compare a fault with.
    cdef bint shadowed = seat.shadowed and kind == FAULT_NONE
    cdef bint sampled = records_sample(records, call.message.decision_id)
    cdef bint kept = atomic_read(&records.on) and (
        sampled or kind != FAULT_NONE or serving.degraded or (
            serving.explored and atomic_read(&records.explored)
        )
    )
    if not kept and not shadowed:
        return
    if kind != FAULT_NONE:
        serving.writer.length = start
        write_status(&serving.writer, &serving.fault)
    record_head(serving, playbook, call, before, kind, now_us, &head)
    parts.request = request
    parts.decision_id = call.message.decision_id
    parts.reads = written(&seat.tape.reads, 0)
    parts.result = written(&serving.writer, start)
    head.unsampled = not sampled
    failed = seat.tape.reads.failed or serving.writer.failed
    if kept:
        records_put(records, &head, &parts, failed)
    if shadowed:
        head.timed = head.unsampled = False
        records_put(&seat.state.shadow, &head, &parts, failed)
    if kind != FAULT_NONE:
        serving.writer.length = start


cdef inline void record_head(
    const Serving* serving, const PlaybookState* playbook, const DecideCall* call,
    const uint64_t* before, int kind, int64_t now_us, RecordHead* head,
) noexcept nogil:
    """What a record says of its decision; `before` is what was timed of others by then."""
    cdef int step
    head.kind = RECORD_OF_ANSWER if kind == FAULT_NONE else RECORD_OF_ERROR
    head.leave = serving.leave
    head.dated = call.message.now.present
    head.at_us = now_us
    head.now_us = call.now_us
    head.seed = call.message.seed
    memcpy(head.playbook, playbook.hash, sizeof(head.playbook))
    head.timed = serving.trace != &serving.untold
    for step in range(RECORD_STEPS):
        # A batch's trace has all of its decisions.
        head.ticks[step] = serving.trace.spent[step] - before[step]


cdef inline Text written(const Writer* writer, size_t start) noexcept nogil:
    return text_at(writer.data + start, <uint32_t>(writer.length - start))


cdef int batch_check(Text request, Fault* fault) noexcept nogil:
    """Refuse a DecideBatchRequest that is malformed or too long, before its first decision."""
    cdef Reader reader = reader_of(request.data, request.length)
    # A malformed request makes the batch malformed: it is one message.
    if not shape_holds(&reader, SHAPE_DECIDE_BATCH):
        return fault_malformed(fault)
    cdef uint32_t field = 0, wire = 0, count = 0
    while read_tag(&reader, &field, &wire):
        if field != 1 or wire != WIRE_BYTES:
            read_skip(&reader, field, wire)
            continue
        read_bytes(&reader)
        count += 1
        if count > BATCH_MAX:
            return fault_size(fault, "requests", count, "requests", BATCH_MAX)
    return fault_malformed(fault) if reader.failed else FAULT_NONE


cdef bint batch_entry(
    EngineSeat* seat, const PlaybookState* playbook, Text request, int64_t now_us
) noexcept nogil:
    """Append one result: a response, or the google.rpc.Status that says why there is none.

    False when the whole batch has to wait for the position that the entry names.
    """
    cdef Writer* writer = &seat.serving.writer
    cdef size_t entry = message_open(writer, 5)
    cdef size_t before = writer.length
    cdef size_t result = message_open(writer, 1)
    cdef int kind = seat_decide(seat, playbook, request, now_us)
    if kind == FAULT_NOT_REACHED and seat.waits:
        return False
    if kind != FAULT_NONE:
        if TELEMETRY and seat.serving.tally != NULL:
            counter_add(&seat.serving.tally.failed[STATUS_RULES[kind].code], 1)
        writer.length = before
        result = message_open(writer, 2)
        write_status(writer, &seat.serving.fault)
    message_close(writer, result)
    message_close(writer, entry)
    return True


cdef int seat_decide_batch(
    EngineSeat* seat, const PlaybookState* playbook, Text request, int64_t now_us
) noexcept nogil:
    """Answer a DecideBatchRequest with a DecideBatchResponse, under one generation."""
    cdef Writer* writer = &seat.serving.writer
    cdef Header header = engine_header(seat.state, playbook, now_us)
    cdef Reader reader = reader_of(request.data, request.length)
    cdef uint32_t field = 0, wire = 0
    cdef int kind = batch_check(request, &seat.serving.fault)
    if kind != FAULT_NONE:
        return kind
    write_header(writer, &header)
    write_degraded(writer, header_left_out(&header))
    seat.serving.left_out = 0
    while read_tag(&reader, &field, &wire):
        if field == 1 and wire == WIRE_BYTES:
            if not batch_entry(seat, playbook, read_bytes(&reader), now_us):
                return FAULT_NOT_REACHED
        else:
            read_skip(&reader, field, wire)
    # Known at the end only; a repeated field may come in pieces.
    write_degraded(writer, seat.serving.left_out)
    if writer.failed:
        return fault_set(
            &seat.serving.fault, FAULT_INVALID, "requests", "an answer over 64 MiB", "fewer"
        )
    return FAULT_NONE


cdef int seat_decide_batch_whole(
    EngineSeat* seat, const PlaybookState* playbook, Text request, int64_t now_us
) noexcept nogil:
    """As `seat_decide_batch`, and FAULT_NOT_REACHED when an entry names a position to come."""
    cdef int kind
    seat.waits = True
    kind = seat_decide_batch(seat, playbook, request, now_us)
    # It is the caller who waits.
    seat.waits = False
    return kind


cdef int seat_track(
    EngineSeat* seat, const PlaybookState* playbook, Text request, int64_t now_us, uint64_t token,
    bint* pending,
) noexcept nogil:
    """Record an event: a TrackRequest answered with a TrackResponse, now or after the log.

    `pending` is NULL for a caller that cannot wait.
    """
    cdef TrackEvent track
    cdef Stamping stamping
    cdef Applied applied
    cdef Awaited awaited
    cdef bint watched
    cdef int kind = track_check(seat, playbook, request, now_us, pending, &track)
    if kind != FAULT_NONE:
        return kind
    seat_stamp(seat, playbook, &stamping, now_us, track.identity)
    event_ahead(seat.state.store, track.identity, track.key, stamping.incarnation)
    awaited = awaited_by(track.message.ack, token)
    watched = track_is_watched(playbook, track.event) and cross_begin(
        seat, seat_crossing(seat), track.identity, True
    )
    kind = seat_accept(seat, playbook, &stamping, BODY_EVENT, request, &track, &applied, &awaited)
    if kind != FAULT_NONE:
        if watched:
            cross_drop(seat.crossed)
        return kind
    track_follow(seat, playbook, request, &track, applied.duplicate, watched, now_us)
    if track.message.ack > ACK_APPLIED:
        pending[0] = True
        return FAULT_NONE
    track_answer(
        seat, playbook, <uint8_t>(applied.duplicate | track.decision_age << 1), now_us
    )
    return FAULT_NONE


cdef inline int track_check(
    EngineSeat* seat, const PlaybookState* playbook, Text request, int64_t now_us,
    const bint* pending, TrackEvent* track,
) noexcept nogil:
    """Read a TrackRequest, and refuse what cannot be recorded."""
    cdef Serving* serving = &seat.serving
    cdef TrackMessage* message = &track.message
    cdef Arena* arena = &serving.machine.arena
    cdef Reader reader = reader_of(request.data, request.length)
    if read_track(&reader, message, arena, &serving.fault) or check_track(
        playbook, track, arena, now_us, horizon_edge_ms(seat.state), &serving.fault
    ):
        return serving.fault.kind
    row_ahead(seat.state.store, track.identity)
    event_key(message, track.occurred_us, track.key)
    if seat_check_write(seat, track.identity, &message.ack) or check_pending(
        message.ack, pending, &serving.fault
    ):
        return serving.fault.kind
    step_end(serving.trace, STEP_PARSE)
    track.decision_age = age_of_decision(
        message.decision_id, now_us, seat.state.attribution_us
    )
    return FAULT_NONE


cdef inline void track_follow(
    EngineSeat* seat, const PlaybookState* playbook, Text request, const TrackEvent* track,
    bint duplicate, bint watched, int64_t now_us,
) noexcept nogil:
    """What an event that was accepted brings with it here."""
    cdef Text decision_id = track.message.decision_id
    seat_count_outcome(seat, playbook, track, duplicate)
    if decision_id.length and not duplicate:
        seat_record_outcome(seat, decision_id, request, now_us)
    seat_cross_stage(seat, playbook, track.identity, now_us)
    if watched:
        cross_track(seat, playbook, track, now_us)
    step_end(seat.serving.trace, STEP_APPLY)


cdef inline void track_answer(
    EngineSeat* seat, const PlaybookState* playbook, uint8_t flag, int64_t now_us
) noexcept nogil:
    """Append the TrackResponse of an event that waits for no log; `flag` as in a WaitingWrite."""
    cdef Header header = engine_header(seat.state, playbook, now_us)
    seat_answer_write(seat, &header, flag, ACK_APPLIED)
    seat.serving.degraded = header.log_away
    step_end(seat.serving.trace, STEP_ENCODE)


cdef inline void seat_count_outcome(
    EngineSeat* seat, const PlaybookState* playbook, const TrackEvent* track, bint duplicate
) noexcept nogil:
    """Count an outcome by the age of its decision, and one that came again apart."""
    cdef Tally* tally = seat.serving.tally
    if not TELEMETRY or tally == NULL or track.decision_age == DECISION_AGE_NONE:
        return
    counter_add(
        &tally.outcomes_repeated if duplicate else &tally.outcomes[track.decision_age], 1
    )
    if not duplicate and playbook.reservations != NULL and (
        track.event == playbook.reservations.shown
    ):
        counter_add(&tally.reservations_confirmed, 1)


cdef void seat_record_outcome(
    EngineSeat* seat, Text decision_id, Text request, int64_t now_us
) noexcept nogil:
    """Record what came of a decision, where that was recorded."""
    cdef Records* records = &seat.state.records
    cdef RecordHead head
    cdef RecordParts parts
    if not atomic_read(&records.on) or not records_sample(records, decision_id):
        return
    memset(&head, 0, sizeof(RecordHead))
    memset(&parts, 0, sizeof(RecordParts))
    head.kind = RECORD_OF_OUTCOME
    head.at_us = now_us
    parts.request = request
    records_put(records, &head, &parts, False)


cdef inline int check_pending(int64_t ack, const bint* pending, Fault* fault) noexcept nogil:
    if ack == ACK_APPLIED or pending != NULL:
        return FAULT_NONE
    return fault_set(
        fault, FAULT_INVALID, "ack", "LOGGED" if ack == ACK_LOGGED else "REPLICATED",
        "APPLIED: this call cannot wait",
    )


cdef inline int64_t horizon_edge_ms(const EngineState* state) noexcept nogil:
    """The oldest id that the edge takes: some time passes until the log has the event."""
    cdef int64_t horizon_ms = store_horizon_ms(state.store)
    return horizon_ms + HORIZON_MARGIN_MS if horizon_ms and engine_logs(state) else horizon_ms


cdef inline int seat_serve(
    EngineSeat* seat, SeatCall call, Text request, int64_t now_us, int64_t deadline_us,
    uint64_t token, bint* pending,
) noexcept nogil:
    """One whole call, under one playbook: what both ways into the engine run.

    With `pending` not NULL it may wait for the position that it names.
    """
    cdef const PlaybookState* playbook = seat_enter(seat)
    cdef int kind = seat_ready(seat, playbook, now_us, deadline_us)
    seat.waits = pending != NULL
    if kind == FAULT_NONE:
        kind = call(seat, playbook, request, now_us)
    seat_leave(seat)
    if kind == FAULT_NOT_REACHED and seat.waits:
        kind = seat_wait(seat, call, request, now_us, deadline_us, token)
        pending[0] = kind == FAULT_NONE
    return kind


cdef int seat_wait(
    EngineSeat* seat, SeatCall call, Text request, int64_t now_us, int64_t deadline_us,
    uint64_t token,
) noexcept nogil:
    """Keep a call until its position is applied here; the fault stays when too many wait."""
    cdef WaitingRead read
    cdef uint8_t* data = <uint8_t*>malloc(request.length + 1)
    if data == NULL or seat_wait_begin(seat, &read, now_us, deadline_us, token):
        free(data)
        return FAULT_NOT_REACHED
    memcpy(data, request.data, request.length)
    read.completion.request = data
    read.completion.length = request.length
    read.completion.call = call
    history_wait(&seat.state.history, &read)
    return FAULT_NONE


cdef int seat_wait_begin(
    EngineSeat* seat, WaitingRead* read, int64_t now_us, int64_t deadline_us, uint64_t token
) noexcept nogil:
    """Take a place for a wait, and one for its end; FAULT_NOT_REACHED when there is none."""
    if not completions_reserve(&seat.completions, seat.state.waiting[QUEUE_LOGGED].capacity) or (
        seat.completions.outstanding == seat.completions.capacity
    ) or not history_reserve(&seat.state.history):
        return FAULT_NOT_REACHED
    seat.completions.outstanding += 1
    memset(read, 0, sizeof(WaitingRead))
    read.wanted = seat.wanted
    read.seat = seat
    read.completion.token = token
    read.completion.deadline_us = deadline_us
    if seat.waiting_until_us:
        read.completion.until_us = seat.waiting_until_us
    else:
        read.completion.until_us = deadline_us if deadline_us else now_us + READ_WAIT_US_MAX
    return FAULT_NONE


cdef inline int seat_serve_track(
    EngineSeat* seat, Text request, int64_t now_us, int64_t deadline_us, uint64_t token,
    bint* pending,
) noexcept nogil:
    """As `seat_serve`, for the call that may wait for the log."""
    cdef const PlaybookState* playbook = seat_enter(seat)
    cdef int kind = seat_ready(seat, playbook, now_us, deadline_us)
    if kind == FAULT_NONE:
        kind = seat_track(seat, playbook, request, now_us, token, pending)
    seat_leave(seat)
    return kind
