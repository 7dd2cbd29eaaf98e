"""Rows of the export: a record and what came of it as plain data, by the columns of `schema`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from nextbest.core.engine import STEP_NAMES
from nextbest.core.errors import NextbestError
from nextbest.server.record.errors import RecordError
from nextbest.server.record.features import Feature, Names, feature
from nextbest.server.record.frames import Frame
from nextbest.server.record.outcomes import Events, Outcome, credited, lacking
from nextbest.server.record.playbooks import Playbooks
from nextbest.v1 import common_pb2, decision_pb2

Row = dict[str, Any]
Hide = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Told:
    """What a row tells.

    hide: puts a pseudonym in an id's place; None: ids, and attributes tagged `pii`, as recorded.
    candidates: each one's fate, from deciding again.  values: by events, the property that is the
    outcome's value, such as {"purchase": "amount"}.
    """

    hide: Hide | None = None
    candidates: bool = True
    values: tuple[tuple[str, str], ...] = ()


class Rows:
    """Makes rows; `undecided` counts decisions of which the candidates are not known, by why."""

    def __init__(self, playbooks: Playbooks, told: Told) -> None:
        self._playbooks = playbooks
        self._told = told
        self._values = dict(told.values)
        self._names: dict[bytes, Names | None] = {}
        self.undecided: dict[str, int] = {}

    def empty(self, events: Events) -> list[str]:
        """Which values no outcome has, and what there is."""
        found = [lacking(events, event, name) for event, name in self._values.items()]
        return [f"--value: {one.seen}, allowed: {one.allowed}" for one in found if one]

    def row(self, frame: Frame, outcomes: Sequence[Outcome]) -> Row:
        """A decision's row."""
        record = frame.record
        request, answer = record.request, record.response
        failed = record.HasField("error")
        names = self._names_of(record.playbook)
        return {
            "decision_id": request.decision_id,
            "decided_at": record.decided_at_us,
            "decided_for": request.now.ToMicroseconds(),
            "identity_kind": _name(common_pb2.IdentityKind, request.identity.kind or 1),
            "identity": self._id(request.identity.id),
            "profile_known": answer.profile_known,
            "preview": request.preview,
            "playbook_hash": record.playbook.hex(),
            "generation": answer.generation,
            "seed": request.seed,
            "degraded": [_name(common_pb2.Degradation, one) for one in answer.degraded],
            "error_code": record.error.code if failed else None,
            "error": record.error.message if failed else None,
            "context": _features({k: feature(v) for k, v in request.context.items()}),
            "inputs": _features(_without_context(names.features(record))) if names else None,
            "placements": self._placements(frame),
            "experiments": [_experiment(one) for one in answer.experiments],
            "scores": [{"score": one.name, "points": one.points} for one in answer.scores],
            "grades": [{"grade": one.name, "value": one.value} for one in answer.grades],
            "stage": answer.stage,
            "segments": list(answer.segments),
            "steps_ns": list(zip(STEP_NAMES, record.steps_ns, strict=False)),
            "outcomes": [self._outcome(answer, one) for one in outcomes],
            "sampled": not record.unsampled,
        }

    def _names_of(self, playbook: bytes) -> Names | None:
        """What the inputs are called; None where the playbook is not at hand."""
        if playbook not in self._names:
            try:
                plan = self._playbooks.plan(playbook)
                self._names[playbook] = Names(plan, private=self._told.hide is None)
            except RecordError:
                self._names[playbook] = None
        return self._names[playbook]

    def _id(self, id: str) -> str:
        return self._told.hide(id) if self._told.hide else id

    def _placements(self, frame: Frame) -> list[Row]:
        explained = self._explained(frame) if self._told.candidates else None
        return [
            {
                "placement": one.placement,
                "propositions": [_proposition(each) for each in one.propositions],
                "candidates": None if explained is None else explained.get(one.placement, []),
            }
            for one in frame.record.response.placements
        ]

    def _explained(self, frame: Frame) -> dict[str, list[Row]] | None:
        """Each placement's candidates, from deciding again; None where that is another decision."""
        record = frame.record
        if record.HasField("error"):
            return None
        try:
            engine = self._playbooks.engine(record.playbook)
            answer, _ = engine.replay(frame.data, explain=True)
        except NextbestError as error:
            self._not_known(str(error))
            return None
        again = decision_pb2.DecideResponse.FromString(answer)
        if again.placements != record.response.placements:
            self._not_known("another answer than the one that is recorded")
            return None
        return {
            one.placement: [_candidate(each) for each in one.candidates]
            for one in again.explanations
        }

    def _not_known(self, why: str) -> None:
        self.undecided[why] = self.undecided.get(why, 0) + 1

    def _outcome(self, answer: decision_pb2.DecideResponse, one: Outcome) -> Row:
        event = one.event
        found = credited(answer, one)
        # Of one of several nobody knows which.
        of = found[0] if len(found) == 1 else None
        return {
            "event": event.event,
            "event_id": self._id(event.event_id),
            "slot": event.slot,
            "placement": of.placement if of else None,
            "action": of.proposition.action if of else None,
            "occurred_at": one.occurred_us,
            "recorded_at": one.recorded_us,
            "value": one.number(self._values.get(event.event, "")),
            "properties": _features({k: feature(v) for k, v in event.properties.items()}),
        }


@cache
def _name(enum: EnumTypeWrapper, number: int) -> str:
    """An enum's value as it is written elsewhere: IDENTITY_KIND_KNOWN is "known"."""
    names = enum.DESCRIPTOR.values_by_number
    if number not in names:
        return str(number)
    # All values of an enum begin with its name.
    return str(names[number].name).removeprefix(_prefix(enum)).lower()


def _prefix(enum: EnumTypeWrapper) -> str:
    return str(enum.DESCRIPTOR.values_by_number[0].name).removesuffix("UNSPECIFIED")


def _features(found: dict[str, Feature]) -> list[tuple[str, Row]]:
    return [(name, one._asdict()) for name, one in sorted(found.items())]


def _without_context(found: dict[str, Feature]) -> dict[str, Feature]:
    return {name: one for name, one in found.items() if not name.startswith("context.")}


def _experiment(one: decision_pb2.Assignment) -> Row:
    return {
        "experiment": one.experiment,
        "variant": one.variant,
        "exposed": one.exposed,
        "reason": _name(decision_pb2.AssignmentReason, one.reason),
        "bucket": one.bucket if one.HasField("bucket") else None,
    }


def _proposition(one: decision_pb2.Proposition) -> Row:
    known = one.HasField("propensity_outcome")
    return {
        "slot": one.slot,
        "action": one.action,
        "treatment": one.treatment,
        "group": one.group,
        "priority": one.priority,
        "propensity_outcome": one.propensity_outcome if known else None,
        "propensity_logging": one.propensity_logging,
        "fallback": one.fallback,
        "explored": one.explored,
        "reasons": list(one.reasons),
    }


def _candidate(one: decision_pb2.CandidateExplanation) -> Row:
    return {
        "action": one.action,
        "fate": _name(decision_pb2.Fate, one.fate),
        "condition": one.condition,
        "missing": one.missing or one.error,
        "priority": one.priority,
        "factors": sorted(one.factors.items()),
        "propensity_logging": one.propensity_logging,
    }
