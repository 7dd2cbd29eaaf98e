"""Runs a playbook's own tests on a fresh engine, through the messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp as ProtoTimestamp

from nextbest.core.engine import Engine
from nextbest.core.errors import NextbestError
from nextbest.core.playbook.plan import Plan, ValueType
from nextbest.server.playbook import grants
from nextbest.server.playbook.cases import NOBODYS, Case, Values
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, profile_pb2

_SEED = 1
_FATE_PREFIX = "FATE_"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a test; `differences` say what was got and what was expected."""

    name: str
    file: str
    line: int
    passed: bool
    differences: tuple[str, ...]


def run_cases(plan: Plan, cases: Sequence[Case]) -> list[CaseResult]:
    """Run every case as a person of their own, each at its own moment."""
    if not cases:
        return []
    events = sum(event.times for case in cases for event in case.events)
    engine = Engine(profiles_max=len(cases) + 16, dedupe_max=events + len(cases) + 1_024)
    engine.publish(plan)
    return [_run(engine, plan, number, case) for number, case in enumerate(cases)]


def _run(engine: Engine, plan: Plan, number: int, case: Case) -> CaseResult:
    identity = common_pb2.Identity(
        kind=common_pb2.IDENTITY_KIND_KNOWN, id=case.id or f"{number}:{case.name}"[:60]
    )
    try:
        _arrange(engine, identity, number, case)
        _consent(engine, plan, identity, number, case)
        differences = tuple(_differences(engine, plan, identity, number, case))
    except NextbestError as error:
        differences = (str(error),)
    return CaseResult(case.name, case.file, case.line, not differences, differences)


def _arrange(engine: Engine, identity: common_pb2.Identity, number: int, case: Case) -> None:
    if case.attributes:
        upsert = profile_pb2.UpsertProfileRequest(
            write_id=f"case-{number}",
            identity=identity,
            attributes=_messages(case.attributes),
            occurred_at=_moment(case.now_us),
        )
        engine.upsert(upsert.SerializeToString(), case.now_us)
    for index, event in enumerate(case.events):
        track = event_pb2.TrackRequest(
            identity=identity,
            event=event.event,
            occurred_at=_moment(event.at_us),
            properties=_messages(event.properties),
        )
        for time in range(event.times):
            track.event_id = f"case-{number}-{index}-{time}"
            engine.track(track.SerializeToString(), case.now_us)


def _consent(
    engine: Engine, plan: Plan, identity: common_pb2.Identity, number: int, case: Case
) -> None:
    """Record what the person has said, a second before the case's moment."""
    bases = {one.name: one.bases[0] for one in plan.purposes}
    requests = [_said(name, bases[name], status, case.now_us) for name, status in case.consents]
    requests += [
        profile_pb2.SetConsentRequest(
            channel=channel, reason=reason, status=profile_pb2.CONSENT_STATUS_DENIED
        )
        for channel, reason in case.do_not_contact
    ]
    for index, request in enumerate(requests):
        request.write_id = f"case-{number}-consent-{index}"
        request.identity.CopyFrom(identity)
        request.occurred_at.CopyFrom(_moment(case.now_us - 1_000_000))
        upsert = grants.upsert_of(request, plan, case.now_us)
        engine.set_consent(upsert.SerializeToString(), case.now_us)


def _said(purpose: str, basis: int, status: str, now_us: int) -> profile_pb2.SetConsentRequest:
    """Of a purpose; what is expired was granted until now."""
    expired = status == "expired"
    word = "granted" if expired else status
    return profile_pb2.SetConsentRequest(
        purpose=purpose,
        status=f"CONSENT_STATUS_{word.upper()}",
        lawful_basis=basis,  # type: ignore[arg-type]
        expires_at=_moment(now_us) if expired else None,
    )


def _moment(microseconds: int) -> ProtoTimestamp:
    seconds, rest = divmod(microseconds, 1_000_000)
    return ProtoTimestamp(seconds=seconds, nanos=rest * 1_000)


def _messages(given: Values) -> dict[str, common_pb2.Value]:
    return {name: _message(type_, value) for name, type_, value in given}


def _message(type_: ValueType, value: object) -> common_pb2.Value:
    message = common_pb2.Value()
    if type_ is ValueType.TIMESTAMP and isinstance(value, tuple):
        message.timestamp_value.seconds, message.timestamp_value.nanos = value
    elif type_ is ValueType.STRING_LIST and isinstance(value, tuple):
        message.string_list.SetInParent()
        message.string_list.values.extend(value)
    elif type_ is ValueType.VECTOR and isinstance(value, tuple):
        message.vector.values.extend(value)
    else:
        setattr(message, f"{type_.name.lower()}_value", value)
    return message


def _decide(
    engine: Engine,
    identity: common_pb2.Identity,
    case: Case,
    decision_id: str,
    placements: Sequence[str],
) -> decision_pb2.DecideResponse:
    request = decision_pb2.DecideRequest(
        decision_id=decision_id,
        identity=identity,
        placements=placements,
        scores=["*"],
        context=_messages(case.context),
        now=_moment(case.now_us),
        seed=_SEED,
        preview=True,
        explain=True,
        segments=True,
    )
    answer = engine.decide(request.SerializeToString(), case.now_us)
    return decision_pb2.DecideResponse.FromString(answer)


def _differences(
    engine: Engine, plan: Plan, identity: common_pb2.Identity, number: int, case: Case
) -> Iterator[str]:
    wanted = case.expect
    names = [name for name, _ in wanted.placements]
    response = _decide(engine, identity, case, f"case-{number}", names)
    for decision, (name, actions) in zip(response.placements, wanted.placements, strict=True):
        got = tuple(proposition.action for proposition in decision.propositions)
        if got != actions:
            yield f"placement {name}: got [{', '.join(got)}], expected [{', '.join(actions)}]"
            yield from _missing(response, name, [one for one in actions if one not in got])
    yield from _unequal("score", {one.name: one.points for one in response.scores}, wanted.scores)
    yield from _unequal("grade", {one.name: one.value for one in response.grades}, wanted.grades)
    yield from _unequal(
        "experiment",
        {one.experiment: one.variant or NOBODYS for one in response.experiments},
        wanted.experiments,
    )
    if wanted.stage is not None and response.stage != wanted.stage:
        yield f"stage: got {response.stage}, expected {wanted.stage}"
    inside = set(response.segments)
    yield from (f"segment {one}: not in it" for one in wanted.segments_in if one not in inside)
    yield from (f"segment {one}: in it" for one in wanted.segments_not_in if one in inside)
    yield from _dropped(engine, plan, identity, number, case, response)


def _unequal(
    noun: str, got: dict[str, object], wanted: Iterable[tuple[str, object]]
) -> Iterator[str]:
    for name, value in wanted:
        if got.get(name) != value:
            yield f"{noun} {name}: got {got.get(name)}, expected {value}"


def _dropped(
    engine: Engine,
    plan: Plan,
    identity: common_pb2.Identity,
    number: int,
    case: Case,
    response: decision_pb2.DecideResponse,
) -> Iterator[str]:
    """Compare the fates; an action of no requested placement is looked for in the others."""
    fates = _fates(response.explanations)
    for name, wanted in case.expect.dropped:
        if name not in fates:
            placement = _placement_of(plan, name)
            if placement is None:
                yield f"action {name}: no placement has it as a candidate"
                continue
            decision_id = f"case-{number}-{placement}"
            shown = _decide(engine, identity, case, decision_id, [placement])
            fates.update(_fates(shown.explanations))
        fate, why = fates.get(name, ("no candidate", ""))
        if fate != wanted:
            yield f"action {name}: got {fate}{why}, expected {wanted}"


def _missing(
    response: decision_pb2.DecideResponse, placement: str, actions: Iterable[str]
) -> Iterator[str]:
    """Why a placement does not show actions that it was to show."""
    fates = _fates(one for one in response.explanations if one.placement == placement)
    for action in actions:
        fate, why = fates.get(action, ("no candidate", ""))
        yield f"placement {placement}: {action} is {fate}{why}"


def _fates(
    explanations: Iterable[decision_pb2.PlacementExplanation],
) -> dict[str, tuple[str, str]]:
    """Each action's fate, the first placement's, and the condition that decided it."""
    found: dict[str, tuple[str, str]] = {}
    for explanation in explanations:
        for one in explanation.candidates:
            fate = decision_pb2.Fate.Name(one.fate).removeprefix(_FATE_PREFIX).lower()
            why = f" ({one.condition})" if one.condition else ""
            found.setdefault(one.action, (fate, why))
    return found


def _placement_of(plan: Plan, action: str) -> str | None:
    index = next(i for i, one in enumerate(plan.actions) if one.name == action)
    return next((one.name for one in plan.placements if index in one.candidates), None)
