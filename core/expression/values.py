"""The Python face of the VM's values: what constants, inputs and results look like."""

from __future__ import annotations

from typing import NamedTuple

from nextbest.core.errors import NextbestError

REASONS = (
    "no error",
    "no such overload",
    "integer overflow",
    "division by zero",
    "modulus by zero",
    "no such key",
    "index out of bounds",
    "invalid conversion",
    "value out of range",
    "unset timestamp",
    "too many steps",
    "out of memory",
    "stack too deep",
    "duplicate key",
    "invalid utf-8",
    "invalid pattern",
    "invalid time zone",
    "unsupported key type",
    "unsound code",
)

SLOT_NONE = 0xFFFF


class Uint(int):
    """A CEL uint, 0..2**64-1.  A plain int is a CEL int."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


class Timestamp(NamedTuple):
    """A moment: seconds since 1970 (years 1 to 9999) and 0..999,999,999 nanoseconds."""

    seconds: int
    nanos: int = 0


class Duration(NamedTuple):
    """A span of time; `nanos` is 0..999,999,999 and counts upwards from `seconds`."""

    seconds: int
    nanos: int = 0


class TypeName(str):
    """A CEL type as a value: "int", "list", "google.protobuf.Timestamp"."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"type({self!s})"


class EvaluationError(NextbestError):
    """An evaluation gave an error value.

    `code` is the VM's ErrorCode, `reason` its text, and `slot` the input slot that caused
    it, or None.
    """

    def __init__(self, code: int, slot: int | None = None) -> None:
        self.code = code
        self.slot = slot
        self.reason = REASONS[code] if 0 <= code < len(REASONS) else "unknown error"
        super().__init__(self.reason if slot is None else f"{self.reason} (input {slot})")
