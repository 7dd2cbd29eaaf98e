import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from nextbest.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AssignmentReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSIGNMENT_REASON_UNSPECIFIED: _ClassVar[AssignmentReason]
    ASSIGNMENT_REASON_BUCKETED: _ClassVar[AssignmentReason]
    ASSIGNMENT_REASON_STICKY: _ClassVar[AssignmentReason]
    ASSIGNMENT_REASON_HELD_OUT: _ClassVar[AssignmentReason]
    ASSIGNMENT_REASON_NOT_IN_AUDIENCE: _ClassVar[AssignmentReason]
    ASSIGNMENT_REASON_NO_KEY: _ClassVar[AssignmentReason]
    ASSIGNMENT_REASON_NOT_IN_LAYER: _ClassVar[AssignmentReason]
    ASSIGNMENT_REASON_NOT_COVERED: _ClassVar[AssignmentReason]

class Fate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FATE_UNSPECIFIED: _ClassVar[Fate]
    FATE_PROPOSED: _ClassVar[Fate]
    FATE_OUTRANKED: _ClassVar[Fate]
    FATE_OUTSIDE_VALIDITY: _ClassVar[Fate]
    FATE_NOT_ELIGIBLE: _ClassVar[Fate]
    FATE_NOT_APPLICABLE: _ClassVar[Fate]
    FATE_NOT_SUITABLE: _ClassVar[Fate]
    FATE_NO_TREATMENT: _ClassVar[Fate]
    FATE_NO_PRIORITY: _ClassVar[Fate]
    FATE_DIVERSITY: _ClassVar[Fate]
    FATE_TAKEN: _ClassVar[Fate]
    FATE_CONTACT_POLICY: _ClassVar[Fate]
    FATE_NO_CONSENT: _ClassVar[Fate]
    FATE_CONSENT_STALE: _ClassVar[Fate]
ASSIGNMENT_REASON_UNSPECIFIED: AssignmentReason
ASSIGNMENT_REASON_BUCKETED: AssignmentReason
ASSIGNMENT_REASON_STICKY: AssignmentReason
ASSIGNMENT_REASON_HELD_OUT: AssignmentReason
ASSIGNMENT_REASON_NOT_IN_AUDIENCE: AssignmentReason
ASSIGNMENT_REASON_NO_KEY: AssignmentReason
ASSIGNMENT_REASON_NOT_IN_LAYER: AssignmentReason
ASSIGNMENT_REASON_NOT_COVERED: AssignmentReason
FATE_UNSPECIFIED: Fate
FATE_PROPOSED: Fate
FATE_OUTRANKED: Fate
FATE_OUTSIDE_VALIDITY: Fate
FATE_NOT_ELIGIBLE: Fate
FATE_NOT_APPLICABLE: Fate
FATE_NOT_SUITABLE: Fate
FATE_NO_TREATMENT: Fate
FATE_NO_PRIORITY: Fate
FATE_DIVERSITY: Fate
FATE_TAKEN: Fate
FATE_CONTACT_POLICY: Fate
FATE_NO_CONSENT: Fate
FATE_CONSENT_STALE: Fate

class DecideRequest(_message.Message):
    __slots__ = ("decision_id", "identity", "placements", "scores", "context", "attributes", "now", "seed", "explain", "min_position", "segments", "preview")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    identity: _common_pb2.Identity
    placements: _containers.RepeatedScalarFieldContainer[str]
    scores: _containers.RepeatedScalarFieldContainer[str]
    context: _containers.MessageMap[str, _common_pb2.Value]
    attributes: _containers.MessageMap[str, _common_pb2.Value]
    now: _timestamp_pb2.Timestamp
    seed: int
    explain: bool
    min_position: _common_pb2.Position
    segments: bool
    preview: bool
    def __init__(self, decision_id: _Optional[str] = ..., identity: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., placements: _Optional[_Iterable[str]] = ..., scores: _Optional[_Iterable[str]] = ..., context: _Optional[_Mapping[str, _common_pb2.Value]] = ..., attributes: _Optional[_Mapping[str, _common_pb2.Value]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seed: _Optional[int] = ..., explain: _Optional[bool] = ..., min_position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., segments: _Optional[bool] = ..., preview: _Optional[bool] = ...) -> None: ...

class DecideResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "decision_id", "profile_known", "placements", "scores", "grades", "stage", "segments", "now", "seed", "playbook_hash", "explanations", "experiments", "triggers")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_KNOWN_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    GRADES_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    TRIGGERS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    decision_id: str
    profile_known: bool
    placements: _containers.RepeatedCompositeFieldContainer[PlacementDecision]
    scores: _containers.RepeatedCompositeFieldContainer[Score]
    grades: _containers.RepeatedCompositeFieldContainer[Grade]
    stage: str
    segments: _containers.RepeatedScalarFieldContainer[str]
    now: _timestamp_pb2.Timestamp
    seed: int
    playbook_hash: str
    explanations: _containers.RepeatedCompositeFieldContainer[PlacementExplanation]
    experiments: _containers.RepeatedCompositeFieldContainer[Assignment]
    triggers: _containers.RepeatedCompositeFieldContainer[TriggerExplanation]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., decision_id: _Optional[str] = ..., profile_known: _Optional[bool] = ..., placements: _Optional[_Iterable[_Union[PlacementDecision, _Mapping]]] = ..., scores: _Optional[_Iterable[_Union[Score, _Mapping]]] = ..., grades: _Optional[_Iterable[_Union[Grade, _Mapping]]] = ..., stage: _Optional[str] = ..., segments: _Optional[_Iterable[str]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seed: _Optional[int] = ..., playbook_hash: _Optional[str] = ..., explanations: _Optional[_Iterable[_Union[PlacementExplanation, _Mapping]]] = ..., experiments: _Optional[_Iterable[_Union[Assignment, _Mapping]]] = ..., triggers: _Optional[_Iterable[_Union[TriggerExplanation, _Mapping]]] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("experiment", "variant", "exposed", "reason", "bucket")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    EXPOSED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    variant: str
    exposed: bool
    reason: AssignmentReason
    bucket: float
    def __init__(self, experiment: _Optional[str] = ..., variant: _Optional[str] = ..., exposed: _Optional[bool] = ..., reason: _Optional[_Union[AssignmentReason, str]] = ..., bucket: _Optional[float] = ...) -> None: ...

class PlacementDecision(_message.Message):
    __slots__ = ("placement", "propositions")
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    PROPOSITIONS_FIELD_NUMBER: _ClassVar[int]
    placement: str
    propositions: _containers.RepeatedCompositeFieldContainer[Proposition]
    def __init__(self, placement: _Optional[str] = ..., propositions: _Optional[_Iterable[_Union[Proposition, _Mapping]]] = ...) -> None: ...

class Proposition(_message.Message):
    __slots__ = ("slot", "action", "treatment", "group", "priority", "propensity_outcome", "propensity_logging", "fallback", "content", "reasons", "explored")
    class ContentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SLOT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_LOGGING_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    EXPLORED_FIELD_NUMBER: _ClassVar[int]
    slot: int
    action: str
    treatment: str
    group: str
    priority: float
    propensity_outcome: float
    propensity_logging: float
    fallback: bool
    content: _containers.ScalarMap[str, str]
    reasons: _containers.RepeatedScalarFieldContainer[str]
    explored: bool
    def __init__(self, slot: _Optional[int] = ..., action: _Optional[str] = ..., treatment: _Optional[str] = ..., group: _Optional[str] = ..., priority: _Optional[float] = ..., propensity_outcome: _Optional[float] = ..., propensity_logging: _Optional[float] = ..., fallback: _Optional[bool] = ..., content: _Optional[_Mapping[str, str]] = ..., reasons: _Optional[_Iterable[str]] = ..., explored: _Optional[bool] = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("name", "points", "reasons", "ledger")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    name: str
    points: int
    reasons: _containers.RepeatedScalarFieldContainer[str]
    ledger: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    def __init__(self, name: _Optional[str] = ..., points: _Optional[int] = ..., reasons: _Optional[_Iterable[str]] = ..., ledger: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("reason", "points", "count", "condition", "missing")
    REASON_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    reason: str
    points: int
    count: int
    condition: str
    missing: str
    def __init__(self, reason: _Optional[str] = ..., points: _Optional[int] = ..., count: _Optional[int] = ..., condition: _Optional[str] = ..., missing: _Optional[str] = ...) -> None: ...

class Grade(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class TriggerExplanation(_message.Message):
    __slots__ = ("trigger", "value", "condition", "missing", "error")
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    trigger: str
    value: str
    condition: str
    missing: str
    error: str
    def __init__(self, trigger: _Optional[str] = ..., value: _Optional[str] = ..., condition: _Optional[str] = ..., missing: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class PlacementExplanation(_message.Message):
    __slots__ = ("placement", "candidates")
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    placement: str
    candidates: _containers.RepeatedCompositeFieldContainer[CandidateExplanation]
    def __init__(self, placement: _Optional[str] = ..., candidates: _Optional[_Iterable[_Union[CandidateExplanation, _Mapping]]] = ...) -> None: ...

class CandidateExplanation(_message.Message):
    __slots__ = ("action", "fate", "condition", "missing", "error", "priority", "factors", "counted", "limit", "propensity_logging", "budget", "reserved")
    class FactorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    FACTORS_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_LOGGING_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    action: str
    fate: Fate
    condition: str
    missing: str
    error: str
    priority: float
    factors: _containers.ScalarMap[str, float]
    counted: int
    limit: int
    propensity_logging: float
    budget: BudgetExplanation
    reserved: int
    def __init__(self, action: _Optional[str] = ..., fate: _Optional[_Union[Fate, str]] = ..., condition: _Optional[str] = ..., missing: _Optional[str] = ..., error: _Optional[str] = ..., priority: _Optional[float] = ..., factors: _Optional[_Mapping[str, float]] = ..., counted: _Optional[int] = ..., limit: _Optional[int] = ..., propensity_logging: _Optional[float] = ..., budget: _Optional[_Union[BudgetExplanation, _Mapping]] = ..., reserved: _Optional[int] = ...) -> None: ...

class BudgetExplanation(_message.Message):
    __slots__ = ("used", "held", "left", "max", "waits", "paced")
    USED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    WAITS_FIELD_NUMBER: _ClassVar[int]
    PACED_FIELD_NUMBER: _ClassVar[int]
    used: float
    held: float
    left: float
    max: float
    waits: bool
    paced: bool
    def __init__(self, used: _Optional[float] = ..., held: _Optional[float] = ..., left: _Optional[float] = ..., max: _Optional[float] = ..., waits: _Optional[bool] = ..., paced: _Optional[bool] = ...) -> None: ...

class DecideBatchRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[DecideRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[DecideRequest, _Mapping]]] = ...) -> None: ...

class DecideBatchResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "results")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    results: _containers.RepeatedCompositeFieldContainer[DecideResult]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., results: _Optional[_Iterable[_Union[DecideResult, _Mapping]]] = ...) -> None: ...

class DecideResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: DecideResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[DecideResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class DecideStreamRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: DecideRequest
    def __init__(self, request: _Optional[_Union[DecideRequest, _Mapping]] = ...) -> None: ...

class DecideStreamResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: DecideResult
    def __init__(self, result: _Optional[_Union[DecideResult, _Mapping]] = ...) -> None: ...
