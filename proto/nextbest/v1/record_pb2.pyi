from google.rpc import status_pb2 as _status_pb2
from nextbest.v1 import common_pb2 as _common_pb2
from nextbest.v1 import decision_pb2 as _decision_pb2
from nextbest.v1 import event_pb2 as _event_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecisionRecord(_message.Message):
    __slots__ = ("decided_at_us", "playbook", "request", "response", "inputs", "leave", "error", "steps_ns", "version", "unset_attributes", "empty_counters", "outcome", "unsampled", "checksum")
    DECIDED_AT_US_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STEPS_NS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNSET_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    EMPTY_COUNTERS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    UNSAMPLED_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    decided_at_us: int
    playbook: bytes
    request: _decision_pb2.DecideRequest
    response: _decision_pb2.DecideResponse
    inputs: _containers.RepeatedCompositeFieldContainer[Input]
    leave: int
    error: _status_pb2.Status
    steps_ns: _containers.RepeatedScalarFieldContainer[int]
    version: int
    unset_attributes: _containers.RepeatedScalarFieldContainer[int]
    empty_counters: _containers.RepeatedScalarFieldContainer[int]
    outcome: _event_pb2.TrackRequest
    unsampled: bool
    checksum: int
    def __init__(self, decided_at_us: _Optional[int] = ..., playbook: _Optional[bytes] = ..., request: _Optional[_Union[_decision_pb2.DecideRequest, _Mapping]] = ..., response: _Optional[_Union[_decision_pb2.DecideResponse, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[Input, _Mapping]]] = ..., leave: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., steps_ns: _Optional[_Iterable[int]] = ..., version: _Optional[int] = ..., unset_attributes: _Optional[_Iterable[int]] = ..., empty_counters: _Optional[_Iterable[int]] = ..., outcome: _Optional[_Union[_event_pb2.TrackRequest, _Mapping]] = ..., unsampled: _Optional[bool] = ..., checksum: _Optional[int] = ...) -> None: ...

class Input(_message.Message):
    __slots__ = ("attribute", "counter", "value", "ages", "moments", "budget", "left")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    AGES_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    attribute: int
    counter: int
    value: _common_pb2.Value
    ages: _containers.RepeatedScalarFieldContainer[int]
    moments: _containers.RepeatedScalarFieldContainer[int]
    budget: int
    left: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, attribute: _Optional[int] = ..., counter: _Optional[int] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ..., ages: _Optional[_Iterable[int]] = ..., moments: _Optional[_Iterable[int]] = ..., budget: _Optional[int] = ..., left: _Optional[_Iterable[int]] = ...) -> None: ...
