import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from nextbest.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_ERROR: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]

class BudgetEffect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUDGET_EFFECT_UNSPECIFIED: _ClassVar[BudgetEffect]
    BUDGET_EFFECT_BEGINS_ANEW: _ClassVar[BudgetEffect]
    BUDGET_EFFECT_BELOW_CLAIMED: _ClassVar[BudgetEffect]
    BUDGET_EFFECT_GONE: _ClassVar[BudgetEffect]
    BUDGET_EFFECT_NO_ROOM: _ClassVar[BudgetEffect]
SEVERITY_UNSPECIFIED: Severity
SEVERITY_ERROR: Severity
SEVERITY_WARNING: Severity
BUDGET_EFFECT_UNSPECIFIED: BudgetEffect
BUDGET_EFFECT_BEGINS_ANEW: BudgetEffect
BUDGET_EFFECT_BELOW_CLAIMED: BudgetEffect
BUDGET_EFFECT_GONE: BudgetEffect
BUDGET_EFFECT_NO_ROOM: BudgetEffect

class PlaybookFile(_message.Message):
    __slots__ = ("path", "content")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    path: str
    content: bytes
    def __init__(self, path: _Optional[str] = ..., content: _Optional[bytes] = ...) -> None: ...

class PlaybookFault(_message.Message):
    __slots__ = ("file", "line", "column", "what", "seen", "allowed", "severity")
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    file: str
    line: int
    column: int
    what: str
    seen: str
    allowed: str
    severity: Severity
    def __init__(self, file: _Optional[str] = ..., line: _Optional[int] = ..., column: _Optional[int] = ..., what: _Optional[str] = ..., seen: _Optional[str] = ..., allowed: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ...) -> None: ...

class ValidatePlaybookRequest(_message.Message):
    __slots__ = ("files",)
    FILES_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[PlaybookFile]
    def __init__(self, files: _Optional[_Iterable[_Union[PlaybookFile, _Mapping]]] = ...) -> None: ...

class ValidatePlaybookResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "faults", "playbook_hash", "budgets")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    faults: _containers.RepeatedCompositeFieldContainer[PlaybookFault]
    playbook_hash: str
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetChange]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., faults: _Optional[_Iterable[_Union[PlaybookFault, _Mapping]]] = ..., playbook_hash: _Optional[str] = ..., budgets: _Optional[_Iterable[_Union[BudgetChange, _Mapping]]] = ...) -> None: ...

class BudgetChange(_message.Message):
    __slots__ = ("name", "effect", "max_before", "max", "claimed", "used", "held")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    MAX_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    name: str
    effect: BudgetEffect
    max_before: float
    max: float
    claimed: float
    used: float
    held: float
    def __init__(self, name: _Optional[str] = ..., effect: _Optional[_Union[BudgetEffect, str]] = ..., max_before: _Optional[float] = ..., max: _Optional[float] = ..., claimed: _Optional[float] = ..., used: _Optional[float] = ..., held: _Optional[float] = ...) -> None: ...

class PublishPlaybookRequest(_message.Message):
    __slots__ = ("write_id", "files", "description")
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    write_id: str
    files: _containers.RepeatedCompositeFieldContainer[PlaybookFile]
    description: str
    def __init__(self, write_id: _Optional[str] = ..., files: _Optional[_Iterable[_Union[PlaybookFile, _Mapping]]] = ..., description: _Optional[str] = ...) -> None: ...

class PublishPlaybookResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "playbook_hash", "faults", "budgets")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    playbook_hash: str
    faults: _containers.RepeatedCompositeFieldContainer[PlaybookFault]
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetChange]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., playbook_hash: _Optional[str] = ..., faults: _Optional[_Iterable[_Union[PlaybookFault, _Mapping]]] = ..., budgets: _Optional[_Iterable[_Union[BudgetChange, _Mapping]]] = ...) -> None: ...

class ActivateGenerationRequest(_message.Message):
    __slots__ = ("write_id", "target")
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    write_id: str
    target: int
    def __init__(self, write_id: _Optional[str] = ..., target: _Optional[int] = ...) -> None: ...

class ActivateGenerationResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "previous", "budgets")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    previous: int
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetChange]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., previous: _Optional[int] = ..., budgets: _Optional[_Iterable[_Union[BudgetChange, _Mapping]]] = ...) -> None: ...

class ListGenerationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGenerationsResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "generations")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    generations: _containers.RepeatedCompositeFieldContainer[Generation]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., generations: _Optional[_Iterable[_Union[Generation, _Mapping]]] = ...) -> None: ...

class Generation(_message.Message):
    __slots__ = ("number", "playbook_hash", "published_at", "description", "active", "refused")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    number: int
    playbook_hash: str
    published_at: _timestamp_pb2.Timestamp
    description: str
    active: bool
    refused: str
    def __init__(self, number: _Optional[int] = ..., playbook_hash: _Optional[str] = ..., published_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., description: _Optional[str] = ..., active: _Optional[bool] = ..., refused: _Optional[str] = ...) -> None: ...

class StartShadowRequest(_message.Message):
    __slots__ = ("draft", "share")
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    draft: PublishPlaybookRequest
    share: float
    def __init__(self, draft: _Optional[_Union[PublishPlaybookRequest, _Mapping]] = ..., share: _Optional[float] = ...) -> None: ...

class StartShadowResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "playbook_hash", "faults")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    playbook_hash: str
    faults: _containers.RepeatedCompositeFieldContainer[PlaybookFault]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., playbook_hash: _Optional[str] = ..., faults: _Optional[_Iterable[_Union[PlaybookFault, _Mapping]]] = ...) -> None: ...

class GetShadowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetShadowResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "playbook_hash", "description", "started_at", "share", "share_now", "compared", "changed", "incomplete", "skipped", "failed", "refusals", "by_action", "by_group", "by_segment", "against", "cpu_us_per_decision", "cpu_s", "core_share", "fault", "restarts", "lacking")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    SHARE_NOW_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    BY_ACTION_FIELD_NUMBER: _ClassVar[int]
    BY_GROUP_FIELD_NUMBER: _ClassVar[int]
    BY_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    CPU_US_PER_DECISION_FIELD_NUMBER: _ClassVar[int]
    CPU_S_FIELD_NUMBER: _ClassVar[int]
    CORE_SHARE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    LACKING_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    playbook_hash: str
    description: str
    started_at: _timestamp_pb2.Timestamp
    share: float
    share_now: float
    compared: int
    changed: int
    incomplete: int
    skipped: int
    failed: int
    refusals: _containers.RepeatedCompositeFieldContainer[ShadowRefusal]
    by_action: _containers.RepeatedCompositeFieldContainer[ShadowAction]
    by_group: _containers.RepeatedCompositeFieldContainer[ShadowGroup]
    by_segment: _containers.RepeatedCompositeFieldContainer[ShadowSegment]
    against: _containers.RepeatedCompositeFieldContainer[ShadowAgainst]
    cpu_us_per_decision: float
    cpu_s: float
    core_share: float
    fault: str
    restarts: int
    lacking: _containers.RepeatedCompositeFieldContainer[ShadowLacking]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., playbook_hash: _Optional[str] = ..., description: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., share: _Optional[float] = ..., share_now: _Optional[float] = ..., compared: _Optional[int] = ..., changed: _Optional[int] = ..., incomplete: _Optional[int] = ..., skipped: _Optional[int] = ..., failed: _Optional[int] = ..., refusals: _Optional[_Iterable[_Union[ShadowRefusal, _Mapping]]] = ..., by_action: _Optional[_Iterable[_Union[ShadowAction, _Mapping]]] = ..., by_group: _Optional[_Iterable[_Union[ShadowGroup, _Mapping]]] = ..., by_segment: _Optional[_Iterable[_Union[ShadowSegment, _Mapping]]] = ..., against: _Optional[_Iterable[_Union[ShadowAgainst, _Mapping]]] = ..., cpu_us_per_decision: _Optional[float] = ..., cpu_s: _Optional[float] = ..., core_share: _Optional[float] = ..., fault: _Optional[str] = ..., restarts: _Optional[int] = ..., lacking: _Optional[_Iterable[_Union[ShadowLacking, _Mapping]]] = ...) -> None: ...

class ShadowLacking(_message.Message):
    __slots__ = ("name", "decisions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    decisions: int
    def __init__(self, name: _Optional[str] = ..., decisions: _Optional[int] = ...) -> None: ...

class ShadowRefusal(_message.Message):
    __slots__ = ("why", "count")
    WHY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    why: str
    count: int
    def __init__(self, why: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class ShadowAction(_message.Message):
    __slots__ = ("placement", "action", "group", "before", "after")
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    placement: str
    action: str
    group: str
    before: int
    after: int
    def __init__(self, placement: _Optional[str] = ..., action: _Optional[str] = ..., group: _Optional[str] = ..., before: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...

class ShadowGroup(_message.Message):
    __slots__ = ("group", "before", "after")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    group: str
    before: int
    after: int
    def __init__(self, group: _Optional[str] = ..., before: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...

class ShadowSegment(_message.Message):
    __slots__ = ("segment", "decisions", "changed")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    segment: str
    decisions: int
    changed: int
    def __init__(self, segment: _Optional[str] = ..., decisions: _Optional[int] = ..., changed: _Optional[int] = ...) -> None: ...

class ShadowAgainst(_message.Message):
    __slots__ = ("playbook_hash", "compared")
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    playbook_hash: str
    compared: int
    def __init__(self, playbook_hash: _Optional[str] = ..., compared: _Optional[int] = ...) -> None: ...

class StopShadowRequest(_message.Message):
    __slots__ = ("playbook_hash",)
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    playbook_hash: str
    def __init__(self, playbook_hash: _Optional[str] = ...) -> None: ...

class StopShadowResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "playbook_hash")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    playbook_hash: str
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., playbook_hash: _Optional[str] = ...) -> None: ...

class PromoteShadowRequest(_message.Message):
    __slots__ = ("playbook_hash",)
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    playbook_hash: str
    def __init__(self, playbook_hash: _Optional[str] = ...) -> None: ...

class PromoteShadowResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "playbook_hash", "previous", "budgets")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    playbook_hash: str
    previous: int
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetChange]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., playbook_hash: _Optional[str] = ..., previous: _Optional[int] = ..., budgets: _Optional[_Iterable[_Union[BudgetChange, _Mapping]]] = ...) -> None: ...
