from nextbest.v1 import common_pb2 as _common_pb2
from nextbest.v1 import event_pb2 as _event_pb2
from nextbest.v1 import playbook_pb2 as _playbook_pb2
from nextbest.v1 import profile_pb2 as _profile_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mutation(_message.Message):
    __slots__ = ("stamp", "playbook", "incarnation", "second_incarnation", "event", "attributes", "link", "erasure", "publication", "activation")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SECOND_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    ERASURE_FIELD_NUMBER: _ClassVar[int]
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    stamp: int
    playbook: bytes
    incarnation: int
    second_incarnation: int
    event: _event_pb2.TrackRequest
    attributes: _profile_pb2.UpsertProfileRequest
    link: _profile_pb2.LinkIdentityRequest
    erasure: Erasure
    publication: Publication
    activation: Activation
    def __init__(self, stamp: _Optional[int] = ..., playbook: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., second_incarnation: _Optional[int] = ..., event: _Optional[_Union[_event_pb2.TrackRequest, _Mapping]] = ..., attributes: _Optional[_Union[_profile_pb2.UpsertProfileRequest, _Mapping]] = ..., link: _Optional[_Union[_profile_pb2.LinkIdentityRequest, _Mapping]] = ..., erasure: _Optional[_Union[Erasure, _Mapping]] = ..., publication: _Optional[_Union[Publication, _Mapping]] = ..., activation: _Optional[_Union[Activation, _Mapping]] = ...) -> None: ...

class MutationBatch(_message.Message):
    __slots__ = ("mutations",)
    MUTATIONS_FIELD_NUMBER: _ClassVar[int]
    mutations: _containers.RepeatedCompositeFieldContainer[Mutation]
    def __init__(self, mutations: _Optional[_Iterable[_Union[Mutation, _Mapping]]] = ...) -> None: ...

class Erasure(_message.Message):
    __slots__ = ("identities", "expired", "write_id")
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    identities: _containers.RepeatedCompositeFieldContainer[ErasedIdentity]
    expired: bool
    write_id: str
    def __init__(self, identities: _Optional[_Iterable[_Union[ErasedIdentity, _Mapping]]] = ..., expired: _Optional[bool] = ..., write_id: _Optional[str] = ...) -> None: ...

class ErasedIdentity(_message.Message):
    __slots__ = ("identity", "incarnation")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    identity: _common_pb2.Identity
    incarnation: int
    def __init__(self, identity: _Optional[_Union[_common_pb2.Identity, _Mapping]] = ..., incarnation: _Optional[int] = ...) -> None: ...

class Publication(_message.Message):
    __slots__ = ("hash", "number", "published_at_us", "request")
    HASH_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_US_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    hash: bytes
    number: int
    published_at_us: int
    request: _playbook_pb2.PublishPlaybookRequest
    def __init__(self, hash: _Optional[bytes] = ..., number: _Optional[int] = ..., published_at_us: _Optional[int] = ..., request: _Optional[_Union[_playbook_pb2.PublishPlaybookRequest, _Mapping]] = ...) -> None: ...

class Activation(_message.Message):
    __slots__ = ("hash",)
    HASH_FIELD_NUMBER: _ClassVar[int]
    hash: bytes
    def __init__(self, hash: _Optional[bytes] = ...) -> None: ...
