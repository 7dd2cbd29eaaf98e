"""Contexts: which trace a kept call is part of, by the headers of its caller."""

from __future__ import annotations

import sys
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.trace import SpanContext, TraceFlags, TraceState, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

SPAN_ID_MAX = 2**64 - 1
# Odd, so that a span's children all differ: the golden ratio's first 64 bits.
STEP_APART = 0x9E3779B97F4A7C15
SAMPLED = TraceFlags(TraceFlags.SAMPLED)

_PROPAGATOR = TraceContextTextMapPropagator()


class CallContext(NamedTuple):
    """Where a call's span stands: its own ids, and the caller's span; None for a new trace."""

    own: SpanContext
    caller: SpanContext | None


def context_of(call: KeptCall) -> CallContext:
    """The same for the same call, so that spans, events and exemplars name one span."""
    caller = _caller(call)
    trace_id = caller.trace_id if caller else _new_trace_id(call.random)
    state = caller.trace_state if caller else TraceState()
    own = SpanContext(trace_id or 1, _span_id(call.random), False, SAMPLED, state)
    return CallContext(own, caller)


def child(parent: SpanContext, number: int) -> SpanContext:
    """The context of a span's child; `number` from 1."""
    span_id = (parent.span_id + number * STEP_APART) & SPAN_ID_MAX or STEP_APART
    return SpanContext(parent.trace_id, span_id, False, SAMPLED, parent.trace_state)


def _caller(call: KeptCall) -> SpanContext | None:
    if not call.traceparent:
        return None
    headers = {"traceparent": _text(call.traceparent), "tracestate": _text(call.tracestate)}
    span = get_current_span(_PROPAGATOR.extract(headers)).get_span_context()
    return span if span.is_valid else None


def _text(header: bytes) -> str:
    return header.decode("ascii", "replace")


def _new_trace_id(random: bytes) -> int:
    # The last eight bytes are what chance drew: the standard's samplers look at a trace id's.
    return _number(random[:8]) << 64 | _number(random[8:])


def _number(random: bytes) -> int:
    return int.from_bytes(random, sys.byteorder)


def _span_id(random: bytes) -> int:
    return int.from_bytes(blake2b(random, digest_size=8).digest()) or 1
