from nextbest.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetServerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "version", "addresses", "fast_lanes")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    FAST_LANES_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    version: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    fast_lanes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., version: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., fast_lanes: _Optional[_Iterable[str]] = ...) -> None: ...
