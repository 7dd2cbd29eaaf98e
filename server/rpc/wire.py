"""The few bytes of protobuf framing that streams and batches need around engine messages.

Nothing here reads a field's meaning: that is the engine's work.
"""

from __future__ import annotations

from nextbest.core.errors import InvalidRequestError
from nextbest.server.varint import varint

VARINT_BYTES_MAX = 10
GROUP_DEPTH_MAX = 100
_SKIP = {1: 8, 5: 4}


def wrap(field: int, payload: bytes) -> bytes:
    """A message whose only field is `payload`, length-delimited under number `field` (1 to 15)."""
    length = len(payload)
    if length < 0x80:
        return bytes((field << 3 | 2, length)) + payload
    return bytes((field << 3 | 2,)) + varint(length) + payload


def unwrap(message: bytes, field: int = 1) -> bytes:
    """The sub-message in `field`; empty when absent, merged when repeated, as protobuf says."""
    parts = split(message, field)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def split(message: bytes, field: int = 1, count_max: int = 1_000_000) -> list[bytes]:
    """Every length-delimited occurrence of `field`; other fields are skipped.

    Raises InvalidRequestError for bytes that are no protobuf message and for more than
    `count_max` occurrences.
    """
    found: list[bytes] = []
    position, end = 0, len(message)
    while position < end:
        tag, position = _read_varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == 2:
            length, start = _read_varint(message, position)
            position = start + length
            if position > end:
                raise _malformed()
            if number == field:
                found.append(message[start:position])
                if len(found) > count_max:
                    raise InvalidRequestError("request", "more entries", f"at most {count_max}")
        else:
            position = _skip(message, position, number, kind)
        if number == 0 or tag >> 32:
            raise _malformed()
    return found


def _skip(message: bytes, position: int, number: int, kind: int) -> int:
    """Skip a field that is not length-delimited; groups are walked without recursion."""
    open_groups: list[int] = []
    while True:
        if kind == 0:
            _, position = _read_varint(message, position)
        elif kind == 2:
            length, position = _read_varint(message, position)
            position += length
        elif kind in _SKIP:
            position += _SKIP[kind]
        elif kind == 3 and len(open_groups) < GROUP_DEPTH_MAX:
            open_groups.append(number)
        elif kind != 4 or not open_groups or open_groups.pop() != number:
            raise _malformed()
        if position > len(message):
            raise _malformed()
        if not open_groups:
            return position
        tag, position = _read_varint(message, position)
        number, kind = tag >> 3, tag & 7


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[position : position + VARINT_BYTES_MAX]:
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise _malformed()


def _malformed() -> InvalidRequestError:
    return InvalidRequestError("request", "bytes that are no message", "a protobuf message")
