import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from nextbest.v1 import common_pb2 as _common_pb2
from nextbest.v1 import decision_pb2 as _decision_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConsentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONSENT_STATUS_UNSPECIFIED: _ClassVar[ConsentStatus]
    CONSENT_STATUS_GRANTED: _ClassVar[ConsentStatus]
    CONSENT_STATUS_DENIED: _ClassVar[ConsentStatus]
    CONSENT_STATUS_REVOKED: _ClassVar[ConsentStatus]

class LawfulBasis(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAWFUL_BASIS_UNSPECIFIED: _ClassVar[LawfulBasis]
    LAWFUL_BASIS_CONSENT: _ClassVar[LawfulBasis]
    LAWFUL_BASIS_CONTRACT: _ClassVar[LawfulBasis]
    LAWFUL_BASIS_LEGAL_OBLIGATION: _ClassVar[LawfulBasis]
    LAWFUL_BASIS_VITAL_INTERESTS: _ClassVar[LawfulBasis]
    LAWFUL_BASIS_PUBLIC_TASK: _ClassVar[LawfulBasis]
    LAWFUL_BASIS_LEGITIMATE_INTEREST: _ClassVar[LawfulBasis]
CONSENT_STATUS_UNSPECIFIED: ConsentStatus
CONSENT_STATUS_GRANTED: ConsentStatus
CONSENT_STATUS_DENIED: ConsentStatus
CONSENT_STATUS_REVOKED: ConsentStatus
LAWFUL_BASIS_UNSPECIFIED: LawfulBasis
LAWFUL_BASIS_CONSENT: LawfulBasis
LAWFUL_BASIS_CONTRACT: LawfulBasis
LAWFUL_BASIS_LEGAL_OBLIGATION: LawfulBasis
LAWFUL_BASIS_VITAL_INTERESTS: LawfulBasis
LAWFUL_BASIS_PUBLIC_TASK: LawfulBasis
LAWFUL_BASIS_LEGITIMATE_INTEREST: LawfulBasis

class GetProfileRequest(_message.Message):
    __slots__ = ("identity", "now", "min_position")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    identity: _common_pb2.Identity
    now: _timestamp_pb2.Timestamp
    min_position: _common_pb2.Position
    def __init__(self, identity: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., min_position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ...) -> None: ...

class GetProfileResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "profile_known", "profile")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PROFILE_KNOWN_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    profile_known: bool
    profile: Profile
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., profile_known: _Optional[bool] = ..., profile: _Optional[_Union[Profile, _Mapping]] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("identities", "attributes", "counters", "scores", "grades", "stage", "segments", "last_event_at", "consents", "channel_consents")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: CounterValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[CounterValue, _Mapping]] = ...) -> None: ...
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    GRADES_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_AT_FIELD_NUMBER: _ClassVar[int]
    CONSENTS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_CONSENTS_FIELD_NUMBER: _ClassVar[int]
    identities: _containers.RepeatedCompositeFieldContainer[_common_pb2.Identity]
    attributes: _containers.MessageMap[str, _common_pb2.Value]
    counters: _containers.MessageMap[str, CounterValue]
    scores: _containers.RepeatedCompositeFieldContainer[_decision_pb2.Score]
    grades: _containers.RepeatedCompositeFieldContainer[_decision_pb2.Grade]
    stage: str
    segments: _containers.RepeatedScalarFieldContainer[str]
    last_event_at: _timestamp_pb2.Timestamp
    consents: _containers.RepeatedCompositeFieldContainer[Consent]
    channel_consents: _containers.RepeatedCompositeFieldContainer[ChannelConsent]
    def __init__(self, identities: _Optional[_Iterable[_Union[_common_pb2.Identity, _Mapping]]] = ..., attributes: _Optional[_Mapping[str, _common_pb2.Value]] = ..., counters: _Optional[_Mapping[str, CounterValue]] = ..., scores: _Optional[_Iterable[_Union[_decision_pb2.Score, _Mapping]]] = ..., grades: _Optional[_Iterable[_Union[_decision_pb2.Grade, _Mapping]]] = ..., stage: _Optional[str] = ..., segments: _Optional[_Iterable[str]] = ..., last_event_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., consents: _Optional[_Iterable[_Union[Consent, _Mapping]]] = ..., channel_consents: _Optional[_Iterable[_Union[ChannelConsent, _Mapping]]] = ...) -> None: ...

class Consent(_message.Message):
    __slots__ = ("purpose", "status", "holds", "lawful_basis", "occurred_at", "expires_at", "source")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    LAWFUL_BASIS_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    purpose: str
    status: ConsentStatus
    holds: bool
    lawful_basis: LawfulBasis
    occurred_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    source: str
    def __init__(self, purpose: _Optional[str] = ..., status: _Optional[_Union[ConsentStatus, str]] = ..., holds: _Optional[bool] = ..., lawful_basis: _Optional[_Union[LawfulBasis, str]] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ...) -> None: ...

class ChannelConsent(_message.Message):
    __slots__ = ("channel", "reason", "status", "occurred_at", "source")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    channel: str
    reason: str
    status: ConsentStatus
    occurred_at: _timestamp_pb2.Timestamp
    source: str
    def __init__(self, channel: _Optional[str] = ..., reason: _Optional[str] = ..., status: _Optional[_Union[ConsentStatus, str]] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ...) -> None: ...

class CounterValue(_message.Message):
    __slots__ = ("value", "values", "approximate", "window_start")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    APPROXIMATE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    value: _common_pb2.Value
    values: _containers.RepeatedCompositeFieldContainer[_common_pb2.Value]
    approximate: bool
    window_start: _timestamp_pb2.Timestamp
    def __init__(self, value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., values: _Optional[_Iterable[_Union[_common_pb2.Value, _Mapping]]] = ..., approximate: _Optional[bool] = ..., window_start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UpsertProfileRequest(_message.Message):
    __slots__ = ("write_id", "identity", "attributes", "occurred_at", "ack")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    write_id: str
    identity: _common_pb2.Identity
    attributes: _containers.MessageMap[str, _common_pb2.Value]
    occurred_at: _timestamp_pb2.Timestamp
    ack: _common_pb2.AckLevel
    def __init__(self, write_id: _Optional[str] = ..., identity: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., attributes: _Optional[_Mapping[str, _common_pb2.Value]] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ...) -> None: ...

class UpsertProfileResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "created", "ack")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    created: bool
    ack: _common_pb2.AckLevel
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., created: _Optional[bool] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ...) -> None: ...

class SetConsentRequest(_message.Message):
    __slots__ = ("write_id", "identity", "purpose", "channel", "reason", "status", "lawful_basis", "occurred_at", "expires_at", "source", "ack", "await_members")
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LAWFUL_BASIS_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    AWAIT_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    write_id: str
    identity: _common_pb2.Identity
    purpose: str
    channel: str
    reason: str
    status: ConsentStatus
    lawful_basis: LawfulBasis
    occurred_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    source: str
    ack: _common_pb2.AckLevel
    await_members: _common_pb2.AwaitMembers
    def __init__(self, write_id: _Optional[str] = ..., identity: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., purpose: _Optional[str] = ..., channel: _Optional[str] = ..., reason: _Optional[str] = ..., status: _Optional[_Union[ConsentStatus, str]] = ..., lawful_basis: _Optional[_Union[LawfulBasis, str]] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ..., await_members: _Optional[_Union[_common_pb2.AwaitMembers, str]] = ...) -> None: ...

class SetConsentResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "created", "ack")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    created: bool
    ack: _common_pb2.AckLevel
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., created: _Optional[bool] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ...) -> None: ...

class LinkIdentityRequest(_message.Message):
    __slots__ = ("write_id", "first", "second", "unlink", "occurred_at", "ack")
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    UNLINK_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    write_id: str
    first: _common_pb2.Identity
    second: _common_pb2.Identity
    unlink: bool
    occurred_at: _timestamp_pb2.Timestamp
    ack: _common_pb2.AckLevel
    def __init__(self, write_id: _Optional[str] = ..., first: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., second: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., unlink: _Optional[bool] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ...) -> None: ...

class LinkIdentityResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "identities", "ack")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    identities: _containers.RepeatedCompositeFieldContainer[_common_pb2.Identity]
    ack: _common_pb2.AckLevel
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., identities: _Optional[_Iterable[_Union[_common_pb2.Identity, _Mapping]]] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ...) -> None: ...

class EraseProfileRequest(_message.Message):
    __slots__ = ("write_id", "identity", "ack", "await_members")
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    AWAIT_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    write_id: str
    identity: _common_pb2.Identity
    ack: _common_pb2.AckLevel
    await_members: _common_pb2.AwaitMembers
    def __init__(self, write_id: _Optional[str] = ..., identity: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ..., await_members: _Optional[_Union[_common_pb2.AwaitMembers, str]] = ...) -> None: ...

class EraseProfileResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "identities", "ack")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    identities: _containers.RepeatedCompositeFieldContainer[_common_pb2.Identity]
    ack: _common_pb2.AckLevel
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., identities: _Optional[_Iterable[_Union[_common_pb2.Identity, _Mapping]]] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ...) -> None: ...

class ImportProfilesRequest(_message.Message):
    __slots__ = ("profiles",)
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    profiles: _containers.RepeatedCompositeFieldContainer[UpsertProfileRequest]
    def __init__(self, profiles: _Optional[_Iterable[_Union[UpsertProfileRequest, _Mapping]]] = ...) -> None: ...

class ImportProfilesResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "accepted", "refused", "faults")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    accepted: int
    refused: int
    faults: _containers.RepeatedCompositeFieldContainer[ImportFault]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., accepted: _Optional[int] = ..., refused: _Optional[int] = ..., faults: _Optional[_Iterable[_Union[ImportFault, _Mapping]]] = ...) -> None: ...

class ImportFault(_message.Message):
    __slots__ = ("index", "write_id", "error")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    index: int
    write_id: str
    error: _status_pb2.Status
    def __init__(self, index: _Optional[int] = ..., write_id: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class QueryProfilesRequest(_message.Message):
    __slots__ = ("condition", "limit", "now", "profiles")
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    condition: str
    limit: int
    now: _timestamp_pb2.Timestamp
    profiles: bool
    def __init__(self, condition: _Optional[str] = ..., limit: _Optional[int] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., profiles: _Optional[bool] = ...) -> None: ...

class QueryProfilesResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "profiles", "scanned", "errors")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    SCANNED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    profiles: _containers.RepeatedCompositeFieldContainer[Profile]
    scanned: int
    errors: int
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., profiles: _Optional[_Iterable[_Union[Profile, _Mapping]]] = ..., scanned: _Optional[int] = ..., errors: _Optional[int] = ...) -> None: ...
