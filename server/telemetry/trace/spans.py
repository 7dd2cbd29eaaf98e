"""Spans: a kept call as OpenTelemetry's, one for the call and one for each of its steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from nextbest.server.telemetry.methods import CODES, SERVER_FAULTS, full_name
from nextbest.server.telemetry.trace import answer as answers
from nextbest.server.telemetry.trace import baggage, timeline
from nextbest.server.telemetry.trace.answer import Attributes
from nextbest.server.telemetry.trace.context import CallContext, child, context_of

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

SCOPE = InstrumentationScope("nextbest")


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
        end_ns = call.began_ns + timeline.took_ns(call)
        answer = answers.answer_of(call)
        about = answers.about(call, answer)
        entries = answers.entries(answer) if answer else iter(())
        sent = baggage.wanted(call.baggage, self._keys)
        about |= {f"baggage.{key}": value for key, value in sent.items()}
        return ReadableSpan(
            full_name(call.method),
            context.own,
            context.caller,
            self._resource,
            about,
            _events(entries, end_ns),
            _links(context),
            SpanKind.SERVER,
            status=_status(call),
            start_time=call.began_ns,
            end_time=end_ns,
            instrumentation_scope=SCOPE,
        )

    def _steps(self, call: KeptCall, context: CallContext) -> Iterator[ReadableSpan]:
        for step in timeline.steps(call):
            begin_ns = call.began_ns + step.after_ns
            yield ReadableSpan(
                step.name,
                child(context.own, step.number + 1),
                context.own,
                self._resource,
                {"nextbest.step.summed": True} if step.summed else {},
                start_time=begin_ns,
                end_time=begin_ns + step.took_ns,
                instrumentation_scope=SCOPE,
            )


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
