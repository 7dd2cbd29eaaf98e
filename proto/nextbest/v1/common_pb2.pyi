import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IdentityKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IDENTITY_KIND_UNSPECIFIED: _ClassVar[IdentityKind]
    IDENTITY_KIND_KNOWN: _ClassVar[IdentityKind]
    IDENTITY_KIND_ANONYMOUS: _ClassVar[IdentityKind]
    IDENTITY_KIND_ALIAS: _ClassVar[IdentityKind]

class Degradation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADATION_UNSPECIFIED: _ClassVar[Degradation]
    DEGRADATION_SCORES_SKIPPED: _ClassVar[Degradation]
    DEGRADATION_FALLBACK_ONLY: _ClassVar[Degradation]
    DEGRADATION_BOUND_REACHED: _ClassVar[Degradation]
    DEGRADATION_LOG_AWAY: _ClassVar[Degradation]
    DEGRADATION_BUDGET_WAIT: _ClassVar[Degradation]
    DEGRADATION_CONSENT_STALE: _ClassVar[Degradation]

class AwaitMembers(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AWAIT_MEMBERS_UNSPECIFIED: _ClassVar[AwaitMembers]
    AWAIT_MEMBERS_EVERY: _ClassVar[AwaitMembers]
    AWAIT_MEMBERS_NONE: _ClassVar[AwaitMembers]

class AckLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_LEVEL_UNSPECIFIED: _ClassVar[AckLevel]
    ACK_LEVEL_APPLIED: _ClassVar[AckLevel]
    ACK_LEVEL_LOGGED: _ClassVar[AckLevel]
    ACK_LEVEL_REPLICATED: _ClassVar[AckLevel]
IDENTITY_KIND_UNSPECIFIED: IdentityKind
IDENTITY_KIND_KNOWN: IdentityKind
IDENTITY_KIND_ANONYMOUS: IdentityKind
IDENTITY_KIND_ALIAS: IdentityKind
DEGRADATION_UNSPECIFIED: Degradation
DEGRADATION_SCORES_SKIPPED: Degradation
DEGRADATION_FALLBACK_ONLY: Degradation
DEGRADATION_BOUND_REACHED: Degradation
DEGRADATION_LOG_AWAY: Degradation
DEGRADATION_BUDGET_WAIT: Degradation
DEGRADATION_CONSENT_STALE: Degradation
AWAIT_MEMBERS_UNSPECIFIED: AwaitMembers
AWAIT_MEMBERS_EVERY: AwaitMembers
AWAIT_MEMBERS_NONE: AwaitMembers
ACK_LEVEL_UNSPECIFIED: AckLevel
ACK_LEVEL_APPLIED: AckLevel
ACK_LEVEL_LOGGED: AckLevel
ACK_LEVEL_REPLICATED: AckLevel

class Identity(_message.Message):
    __slots__ = ("kind", "id")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    kind: IdentityKind
    id: str
    def __init__(self, kind: _Optional[_Union[IdentityKind, str]] = ..., id: _Optional[str] = ...) -> None: ...

class StringList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class DoubleList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("bool_value", "int_value", "double_value", "string_value", "timestamp_value", "string_list", "vector", "null_value")
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_LIST_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    NULL_VALUE_FIELD_NUMBER: _ClassVar[int]
    bool_value: bool
    int_value: int
    double_value: float
    string_value: str
    timestamp_value: _timestamp_pb2.Timestamp
    string_list: StringList
    vector: DoubleList
    null_value: _struct_pb2.NullValue
    def __init__(self, bool_value: _Optional[bool] = ..., int_value: _Optional[int] = ..., double_value: _Optional[float] = ..., string_value: _Optional[str] = ..., timestamp_value: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., string_list: _Optional[_Union[StringList, _Mapping]] = ..., vector: _Optional[_Union[DoubleList, _Mapping]] = ..., null_value: _Optional[_Union[_struct_pb2.NullValue, str]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("epoch", "sequence", "nonce", "partition")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    sequence: int
    nonce: int
    partition: int
    def __init__(self, epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., nonce: _Optional[int] = ..., partition: _Optional[int] = ...) -> None: ...
