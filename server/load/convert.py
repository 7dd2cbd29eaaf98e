"""Conversions: what a row's fields become as values of the contract.

A `Read` takes a row's fields and gives a Python value, or None for an unknown one; it raises
RefusedError with the column, what it held and what it may hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from nextbest.server.load.errors import RefusedError
from nextbest.server.load.rows import Fields
from nextbest.v1 import common_pb2

Read = Callable[[Fields], Any]
INT64: Final = range(-(2**63), 2**63)
HOLE: Final = re.compile(r"\{([^{}]+?)(:int)?\}")
TYPES: Final = ("string", "int", "double", "bool", "timestamp", "list", "vector")


@dataclass(frozen=True, slots=True)
class Moment:
    """How a time is written: a strptime format, "iso", "seconds" or "milliseconds"."""

    format: str = "iso"
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a column's text becomes a value."""

    type: str = "string"
    empty: frozenset[str] = frozenset({""})
    moment: Moment = Moment()
    true: frozenset[str] = frozenset({"true", "True", "1", "yes", "Yes"})
    false: frozenset[str] = frozenset({"false", "False", "0", "no", "No"})
    split: str = ","


def column(name: str, how: Conversion) -> Read:
    """Reads one column."""
    convert = _CONVERTERS[how.type]

    def read(fields: Fields) -> Any:
        raw = present(fields, name, how.empty)
        return None if raw is None else convert(name, raw, how)

    return read


def present(fields: Fields, name: str, empty: frozenset[str]) -> Any:
    """A column's content, None when it is empty; refused when the file has no such column."""
    raw = fields.get(name)
    if raw is None:
        # Rows of JSON leave out what they do not know; a CSV has every column of its header.
        return None
    if isinstance(raw, str) and raw in empty:
        return None
    return raw


def product(names: list[str], how: Conversion) -> Read:
    """Multiplies columns in decimal, so that 6 x 2.55 is 15.3; unknown when one is."""
    convert = _CONVERTERS[how.type]

    def read(fields: Fields) -> Any:
        result = Decimal(1)
        for name in names:
            raw = present(fields, name, how.empty)
            if raw is None:
                return None
            result *= _decimal(name, raw)
        return convert(" x ".join(names), str(result), how)

    return read


def template(text: str, empty: frozenset[str]) -> Read:
    """Fills {column} and {column:int} into a text; an empty column is refused."""
    parts = HOLE.split(text)
    # split gives text, column, ":int" or None, text, ...
    holes = [(parts[i], parts[i + 1] is not None, parts[i + 2]) for i in range(1, len(parts), 3)]

    def read(fields: Fields) -> str:
        filled = parts[0]
        for name, whole, after in holes:
            raw = present(fields, name, empty)
            if raw is None:
                raise RefusedError(name, fields.get(name, ""), "a value, since an id needs it")
            filled += (str(_int(name, raw, _PLAIN)) if whole else str(raw)) + after
        return filled

    return read


def constant(value: object) -> Read:
    """The same value for every row."""
    return lambda _fields: value


def moment(raw: Any, name: str, how: Moment) -> datetime:
    """A time with its zone; naive ones are in the mapping's zone."""
    if isinstance(raw, datetime):
        return raw if raw.tzinfo else raw.replace(tzinfo=how.zone)
    try:
        if how.format in {"seconds", "milliseconds"}:
            unit = 1 if how.format == "seconds" else 1_000
            # From the epoch in whole microseconds: a float would lose some.
            whole = int(Decimal(str(raw)) * 1_000_000 / unit)
            return datetime.fromtimestamp(whole // 1_000_000, UTC).replace(
                microsecond=whole % 1_000_000
            )
        text = str(raw)
        found = (
            datetime.fromisoformat(text)
            if how.format == "iso"
            else datetime.strptime(text, how.format)
        )
    except (ValueError, OverflowError, OSError, InvalidOperation) as error:
        raise RefusedError(name, raw, f"a time written as {how.format}") from error
    return found if found.tzinfo else found.replace(tzinfo=how.zone)


def to_value(value: Any) -> common_pb2.Value:
    """The contract's value of a converted one."""
    message = common_pb2.Value()
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, int):
        message.int_value = value
    elif isinstance(value, float):
        message.double_value = value
    elif isinstance(value, datetime):
        message.timestamp_value.FromDatetime(value)
    elif value and isinstance(value[0], float):
        message.vector.values.extend(value)
    else:
        message.string_list.SetInParent()
        message.string_list.values.extend(value)
    return message


def _decimal(name: str, raw: Any) -> Decimal:
    try:
        number = Decimal(str(raw).strip())
    except InvalidOperation as error:
        raise RefusedError(name, raw, "a number") from error
    if not number.is_finite():
        raise RefusedError(name, raw, "a finite number")
    return number


def _int(name: str, raw: Any, _how: Conversion) -> int:
    try:
        # The quick way for the usual spelling; "17850.0" and "1e3" take the other.
        value = int(raw) if isinstance(raw, str | int) else None
    except ValueError:
        value = None
    if value is None:
        number = _decimal(name, raw)
        if number.adjusted() > 20 or number != number.to_integral_value():
            raise RefusedError(name, raw, "a whole number")
        value = int(number)
    if value not in INT64:
        raise RefusedError(name, raw, "a whole number of 64 bits")
    return value


def _double(name: str, raw: Any, _how: Conversion) -> float:
    try:
        value = float(raw)
    except (ValueError, TypeError) as error:
        raise RefusedError(name, raw, "a number") from error
    if not math.isfinite(value):
        raise RefusedError(name, raw, "a finite number")
    return value


def _bool(name: str, raw: Any, how: Conversion) -> bool:
    if isinstance(raw, bool):
        return raw
    text = str(raw)
    if text in how.true:
        return True
    if text in how.false:
        return False
    raise RefusedError(name, raw, f"{', '.join(sorted(how.true | how.false))}")


def _string(name: str, raw: Any, _how: Conversion) -> str:
    if isinstance(raw, list | dict | bytes):
        raise RefusedError(name, raw, "text")
    return raw if isinstance(raw, str) else str(raw)


def _timestamp(name: str, raw: Any, how: Conversion) -> datetime:
    return moment(raw, name, how.moment)


def _list(_name: str, raw: Any, how: Conversion) -> list[str]:
    return [str(one) for one in raw] if isinstance(raw, list) else str(raw).split(how.split)


def _vector(name: str, raw: Any, how: Conversion) -> list[float]:
    parts = raw if isinstance(raw, list) else str(raw).split(how.split)
    return [_double(name, part, how) for part in parts]


_PLAIN: Final = Conversion()
_CONVERTERS: Final[dict[str, Callable[[str, Any, Conversion], Any]]] = {
    "string": _string,
    "int": _int,
    "double": _double,
    "bool": _bool,
    "timestamp": _timestamp,
    "list": _list,
    "vector": _vector,
}
