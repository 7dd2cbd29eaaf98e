from nextbest.v1 import event_pb2 as _event_pb2
from nextbest.v1 import profile_pb2 as _profile_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mutation(_message.Message):
    __slots__ = ("stamp", "playbook", "incarnation", "second_incarnation", "event", "attributes", "link", "expiry", "horizon")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SECOND_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    stamp: int
    playbook: bytes
    incarnation: int
    second_incarnation: int
    event: _event_pb2.TrackRequest
    attributes: _profile_pb2.UpsertProfileRequest
    link: _profile_pb2.LinkIdentityRequest
    expiry: Expiry
    horizon: Horizon
    def __init__(self, stamp: _Optional[int] = ..., playbook: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., second_incarnation: _Optional[int] = ..., event: _Optional[_Union[_event_pb2.TrackRequest, _Mapping]] = ..., attributes: _Optional[_Union[_profile_pb2.UpsertProfileRequest, _Mapping]] = ..., link: _Optional[_Union[_profile_pb2.LinkIdentityRequest, _Mapping]] = ..., expiry: _Optional[_Union[Expiry, _Mapping]] = ..., horizon: _Optional[_Union[Horizon, _Mapping]] = ...) -> None: ...

class MutationBatch(_message.Message):
    __slots__ = ("mutations",)
    MUTATIONS_FIELD_NUMBER: _ClassVar[int]
    mutations: _containers.RepeatedCompositeFieldContainer[Mutation]
    def __init__(self, mutations: _Optional[_Iterable[_Union[Mutation, _Mapping]]] = ...) -> None: ...

class Expiry(_message.Message):
    __slots__ = ("kind", "before_us")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BEFORE_US_FIELD_NUMBER: _ClassVar[int]
    kind: int
    before_us: int
    def __init__(self, kind: _Optional[int] = ..., before_us: _Optional[int] = ...) -> None: ...

class Horizon(_message.Message):
    __slots__ = ("before_ms",)
    BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    before_ms: int
    def __init__(self, before_ms: _Optional[int] = ...) -> None: ...
