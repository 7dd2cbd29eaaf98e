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

class DecisionAge(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_AGE_UNSPECIFIED: _ClassVar[DecisionAge]
    DECISION_AGE_RECENT: _ClassVar[DecisionAge]
    DECISION_AGE_EXPIRED: _ClassVar[DecisionAge]
    DECISION_AGE_UNKNOWN: _ClassVar[DecisionAge]
DECISION_AGE_UNSPECIFIED: DecisionAge
DECISION_AGE_RECENT: DecisionAge
DECISION_AGE_EXPIRED: DecisionAge
DECISION_AGE_UNKNOWN: DecisionAge

class TrackRequest(_message.Message):
    __slots__ = ("event_id", "identity", "event", "occurred_at", "properties", "ack", "decision_id", "slot")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    identity: _common_pb2.Identity
    event: str
    occurred_at: _timestamp_pb2.Timestamp
    properties: _containers.MessageMap[str, _common_pb2.Value]
    ack: _common_pb2.AckLevel
    decision_id: str
    slot: int
    def __init__(self, event_id: _Optional[str] = ..., identity: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., event: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., properties: _Optional[_Mapping[str, _common_pb2.Value]] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ..., decision_id: _Optional[str] = ..., slot: _Optional[int] = ...) -> None: ...

class TrackResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "duplicate", "ack", "decision_age")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    DECISION_AGE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    duplicate: bool
    ack: _common_pb2.AckLevel
    decision_age: DecisionAge
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., duplicate: _Optional[bool] = ..., ack: _Optional[_Union[_common_pb2.AckLevel, str]] = ..., decision_age: _Optional[_Union[DecisionAge, str]] = ...) -> None: ...

class TrackStreamRequest(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: TrackRequest
    def __init__(self, event: _Optional[_Union[TrackRequest, _Mapping]] = ...) -> None: ...

class TrackStreamResponse(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: TrackResponse
    error: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[TrackResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
