"""Spans: a kept call as OpenTelemetry's, one for the call and one for each of its steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from nextbest.core.engine import STEP_NAMES
from nextbest.server.telemetry.methods import CODES, full_name
from nextbest.server.telemetry.trace import answer as answers
from nextbest.server.telemetry.trace import baggage
from nextbest.server.telemetry.trace.answer import Attributes
from nextbest.server.telemetry.trace.context import CallContext, child, context_of

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

SCOPE = InstrumentationScope("nextbest")
# The semantic conventions for gRPC: what a server answers for.  The rest is the caller's fault.
SERVER_FAULTS = {
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
}
WAIT = STEP_NAMES.index("wait_for_log")
DECIDING = STEP_NAMES.index("gate")
# A batch goes through these for each of its entries: what is known is how long all took.
REPEATED = {"parse", "gate", "eligibility", "score", "arbitrate", "encode"}


def span_count(call: KeptCall) -> int:
    """How many spans it makes."""
    return 1 + sum(map(bool, call.steps_ns))


class SpanMaker:
    """Makes the spans of calls; `resource` says whose, `keys` which of a baggage they have."""

    def __init__(self, resource: Resource, keys: Collection[str] = ()) -> None:
        self._resource = resource
        self._keys = frozenset(keys)

    def __call__(self, call: KeptCall) -> list[ReadableSpan]:
        """The call's span, then its steps in their order."""
        context = context_of(call)
        return [self._server(call, context), *self._steps(call, context)]

    def _server(self, call: KeptCall, context: CallContext) -> ReadableSpan:
        end_ns = call.began_ns + sum(call.steps_ns)
        answer = answers.answer_of(call)
        about = _attributes(call)
        events: BoundedList[Event] = BoundedList(answers.ENTRIES_MAX)
        if answer is not None:
            about |= answers.attributes(answer)
            events = _events(answers.entries(answer), end_ns)
        sent = baggage.wanted(call.baggage, self._keys)
        about |= {f"baggage.{key}": value for key, value in sent.items()}
        return ReadableSpan(
            full_name(call.method),
            context.own,
            context.caller,
            self._resource,
            about,
            events,
            _links(context),
            SpanKind.SERVER,
            status=_status(call),
            start_time=call.began_ns,
            end_time=end_ns,
            instrumentation_scope=SCOPE,
        )

    def _steps(self, call: KeptCall, context: CallContext) -> Iterator[ReadableSpan]:
        at_ns = call.began_ns
        for step in _order(call):
            name, took_ns = STEP_NAMES[step], call.steps_ns[step]
            if not took_ns:
                continue
            summed = call.method == "DecideBatch" and name in REPEATED
            yield ReadableSpan(
                name,
                child(context.own, step + 1),
                context.own,
                self._resource,
                {"nextbest.step.summed": True} if summed else {},
                start_time=at_ns,
                end_time=at_ns + took_ns,
                instrumentation_scope=SCOPE,
            )
            at_ns += took_ns


def _order(call: KeptCall) -> list[int]:
    """The steps as they came: a read waits before it decides, or the answer waits for the log."""
    order = list(range(len(STEP_NAMES)))
    if call.waited_first:
        order.remove(WAIT)
        order.insert(DECIDING, WAIT)
    return order


def _attributes(call: KeptCall) -> Attributes:
    code = CODES[call.code]
    about: Attributes = {
        "rpc.system.name": "grpc",
        "rpc.method": full_name(call.method),
        "rpc.response.status_code": code,
        "nextbest.lane": call.lane,
        "nextbest.kept_for": list(call.reasons),
    }
    if call.code:
        about["error.type"] = code
    if call.reason:
        about["nextbest.error.reason"] = call.reason
    if call.answer_cut:
        about["nextbest.answer_cut"] = True
    return about


def _events(entries: Iterator[Attributes], at_ns: int) -> BoundedList[Event]:
    """The first entries of a batch; the others are counted as dropped."""
    found = list(entries)
    kept = [Event("decision", about, at_ns) for about in found[: answers.ENTRIES_MAX]]
    events = BoundedList.from_seq(answers.ENTRIES_MAX, kept)
    events.dropped = len(found) - len(kept)
    return events


def _links(context: CallContext) -> list[Link]:
    """To a caller that did not sample: its span, the parent, will most likely never be seen."""
    if context.caller is None or context.caller.trace_flags.sampled:
        return []
    return [Link(context.caller, {"nextbest.caller_sampled": False})]


def _status(call: KeptCall) -> Status:
    if CODES[call.code] in SERVER_FAULTS:
        return Status(StatusCode.ERROR, call.reason or None)
    return Status(StatusCode.UNSET)
