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
SEVERITY_UNSPECIFIED: Severity
SEVERITY_ERROR: Severity
SEVERITY_WARNING: Severity

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
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "faults", "playbook_hash")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    faults: _containers.RepeatedCompositeFieldContainer[PlaybookFault]
    playbook_hash: str
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., faults: _Optional[_Iterable[_Union[PlaybookFault, _Mapping]]] = ..., playbook_hash: _Optional[str] = ...) -> None: ...

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

class ActivateGenerationRequest(_message.Message):
    __slots__ = ("write_id", "target")
    WRITE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    write_id: str
    target: int
    def __init__(self, write_id: _Optional[str] = ..., target: _Optional[int] = ...) -> None: ...

class ActivateGenerationResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "previous")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    previous: int
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., previous: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("number", "playbook_hash", "published_at", "description", "active")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    number: int
    playbook_hash: str
    published_at: _timestamp_pb2.Timestamp
    description: str
    active: bool
    def __init__(self, number: _Optional[int] = ..., playbook_hash: _Optional[str] = ..., published_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., description: _Optional[str] = ..., active: _Optional[bool] = ...) -> None: ...
