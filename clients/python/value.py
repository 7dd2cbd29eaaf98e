"""Plain Python values to messages of the contract, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from nextbest.v1 import common_pb2

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

Plain: TypeAlias = bool | int | float | str | datetime | Sequence[str] | Sequence[float] | None


def message(value: Plain, field: str = "value") -> common_pb2.Value:
    """The message for a value; raise TypeError or ValueError naming `field` otherwise.

    A list of texts becomes a string list, a list of numbers a vector, None unsets.
    A datetime without a zone is read as UTC.
    """
    if value is None:
        return common_pb2.Value(null_value=0)  # type: ignore[arg-type]
    if isinstance(value, bool):
        return common_pb2.Value(bool_value=value)
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise ValueError(
                f"{field}: an int of {value.bit_length()} bits, allowed: {INT_MIN} to {INT_MAX}"
            )
        return common_pb2.Value(int_value=value)
    if isinstance(value, float):
        return common_pb2.Value(double_value=value)
    if isinstance(value, str):
        return common_pb2.Value(string_value=value)
    if isinstance(value, datetime):
        return common_pb2.Value(timestamp_value=timestamp(value))
    return _list(value, field)


def messages(values: Mapping[str, Plain] | None, field: str) -> dict[str, common_pb2.Value]:
    """The messages for values by name."""
    return {name: message(value, f"{field}.{name}") for name, value in (values or {}).items()}


def plain(value: common_pb2.Value) -> Plain:
    """The Python value of a message: of a profile's attribute, or of a counter's `value`.

    It is what the calls take: a bool, int, float, str, datetime in UTC, list of str or list of
    float, and None where nothing is set.
    """
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "timestamp_value":
        return value.timestamp_value.ToDatetime(tzinfo=UTC)
    if kind == "string_list":
        return list(value.string_list.values)
    if kind == "vector":
        return list(value.vector.values)
    found: bool | int | float | str = getattr(value, kind)
    return found


def timestamp(moment: datetime) -> Timestamp:
    """The message for a moment; one without a zone is read as UTC."""
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def _list(value: object, field: str) -> common_pb2.Value:
    allowed = "a bool, int, float, str, datetime, list of str, list of numbers, or None"
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
        raise TypeError(f"{field}: {type(value).__name__}, allowed: {allowed}")
    if all(isinstance(item, str) for item in value):
        return common_pb2.Value(string_list=common_pb2.StringList(values=value))
    if all(isinstance(item, int | float) for item in value):
        return common_pb2.Value(vector=common_pb2.DoubleList(values=value))
    raise TypeError(f"{field}: a list of several types, allowed: {allowed}")
