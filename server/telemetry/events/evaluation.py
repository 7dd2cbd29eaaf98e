"""Evaluations: a kept decision as `feature_flag.evaluation` events, one for each placement.

Placements are flags and actions their variants.  What a call was decided for is not kept, and its
decision's id may be the caller's own choice: an event has the id's pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from nextbest.server.telemetry.events.pseudonym import Pseudonym
from nextbest.server.telemetry.trace import timeline
from nextbest.server.telemetry.trace.answer import Attributes, answer_of
from nextbest.server.telemetry.trace.context import context_of
from nextbest.v1 import decision_pb2

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

EVENT = "feature_flag.evaluation"
PROVIDER = "nextbest"
# Of a batch, and of one decision: what comes behind is left out, and the last event says so.
DECISIONS_MAX, PLACEMENTS_MAX = 32, 32

Decision = decision_pb2.DecideResponse


class EvaluationMaker:
    """Makes the events of calls; calls that decided nothing have none."""

    def __init__(self, pseudonym: Pseudonym) -> None:
        self._pseudonym = pseudonym

    def __call__(self, call: KeptCall) -> list[LogRecord]:
        """The events of a call, as far as its answer was kept."""
        decisions = list(_decisions(call))
        context = set_span_in_context(NonRecordingSpan(context_of(call).own), Context())
        at_ns = call.began_ns + timeline.took_ns(call)
        records = [
            LogRecord(
                timestamp=at_ns,
                context=context,
                severity_number=SeverityNumber.INFO,
                event_name=EVENT,
                attributes={**self._of_decision(call, one), **_of_placement(placement)},
            )
            for one in decisions[:DECISIONS_MAX]
            for placement in one.placements[:PLACEMENTS_MAX]
        ]
        if records and _is_cut(call, decisions):
            records[-1].attributes = {**(records[-1].attributes or {}), "nextbest.answer_cut": True}
        return records

    def _of_decision(self, call: KeptCall, decision: Decision) -> Attributes:
        found: Attributes = {
            "feature_flag.provider.name": PROVIDER,
            "nextbest.kept_for": list(call.reasons),
            "nextbest.lane": call.lane,
            "nextbest.generation": decision.generation,
        }
        if decision.decision_id:
            found["feature_flag.context.id"] = self._pseudonym(decision.decision_id)
        # Behind the placements in an answer: one that was cut lacks it.
        if decision.playbook_hash:
            found["feature_flag.version"] = decision.playbook_hash
        return found


def _decisions(call: KeptCall) -> Iterator[Decision]:
    answer = answer_of(call)
    if isinstance(answer, decision_pb2.DecideResponse):
        yield answer
    elif isinstance(answer, decision_pb2.DecideBatchResponse):
        yield from (one.response for one in answer.results if one.HasField("response"))


def _of_placement(placement: decision_pb2.PlacementDecision) -> Attributes:
    found: Attributes = {
        "feature_flag.key": placement.placement,
        "feature_flag.result.reason": _reason(placement),
    }
    if placement.propositions:
        first = placement.propositions[0]
        found["feature_flag.result.variant"] = first.action
        found["nextbest.actions"] = [one.action for one in placement.propositions]
    return found


def _reason(placement: decision_pb2.PlacementDecision) -> str:
    """The conventions' word: chance, rules, or neither."""
    if not placement.propositions or placement.propositions[0].fallback:
        return "default"
    # Another action might have been chosen for the same person at the same moment.
    explored = any(one.propensity_logging < 1 for one in placement.propositions)
    return "split" if explored else "targeting_match"


def _is_cut(call: KeptCall, decisions: list[Decision]) -> bool:
    most = max((len(one.placements) for one in decisions), default=0)
    return call.answer_cut or len(decisions) > DECISIONS_MAX or most > PLACEMENTS_MAX
