"""Calls of the other lane: timed and kept as those of the fast lane are."""

FAULT_KINDS_OF = {kind: number for number, kind in enumerate(FAULT_ERRORS) if number}


@cython.final
@cython.freelist(64)
cdef class Call:
    """A call on its way through the engine's own thread; `Engine.begin_call` makes it."""

    cdef CallTrace trace
    cdef bytes state
    cdef bytes baggage
    cdef EngineSeat* seat
    # Keeps the seat alive.
    cdef object owner
    cdef bint over
    # What the answer may do without where a placement lets it, as a door's call has it.
    cdef public uint8_t leave

    def waited(self) -> None:
        """What went by since the last step was waiting for the log or a position."""
        # A write that waits has been applied.
        if not self.trace.spent[STEP_GATE] and not self.trace.spent[STEP_APPLY]:
            self.trace.waited_first = True
        step_end(&self.trace, STEP_WAIT)

    def end(self, int code=0, bytes answer=b"", error=None) -> None:
        """Count the call, once, with its gRPC code, its answer, or the error it met."""
        cdef const uint8_t* data = <const uint8_t*><const char*>answer
        if self.over or not TELEMETRY:
            return
        self.over = True
        if error is not None:
            self.trace.fault = FAULT_KINDS_OF.get(type(error), 0)
        step_end(&self.trace, STEP_SEND)
        meter_end(
            self.seat.meter, &self.seat.state.metering, &self.trace, code, data, len(answer)
        )


cdef Call call_begin(
    EngineSeat* seat, object owner, uint8_t method, bytes parent, bytes state, bytes baggage
):
    cdef Call call = Call.__new__(Call)
    call.seat = seat
    call.owner = owner
    call.state = state
    call.baggage = baggage
    trace_begin(&call.trace, ticks_now(), method)
    call.trace.has_parent = len(parent) == TRACEPARENT_BYTES
    if call.trace.has_parent:
        memcpy(call.trace.traceparent, <const char*>parent, TRACEPARENT_BYTES)
    call.trace.tracestate = call.state
    call.trace.tracestate_length = <uint32_t>len(call.state)
    call.trace.baggage = call.baggage
    call.trace.baggage_length = <uint32_t>len(call.baggage)
    return call


cdef inline void call_enter(EngineSeat* seat, Call call):
    """Time what the engine does next for that call; nobody's without one."""
    seat.serving.trace = &seat.serving.untold if call is None else &call.trace
    seat.serving.degraded = False
    seat.serving.leave = 0 if call is None else call.leave


cdef inline void call_leave(EngineSeat* seat, Call call):
    if call is not None:
        call.trace.degraded = seat.serving.degraded
    seat.serving.trace = &seat.serving.untold
