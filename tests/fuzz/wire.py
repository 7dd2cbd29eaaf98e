"""Bytes of messages that no encoder would write: what a parser must read all the same.

Generated from the message's descriptor, so that a new field is covered at once.
"""

import random
import struct
from collections.abc import Callable

from google.protobuf.descriptor import Descriptor, FieldDescriptor

VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
FIELD_MAX = 2**29 - 1
TEXTS = ["", "a", "b", "flag", "count", "ann", "żółw", "\U0001f600", "x" * 130, "\0"]
NUMBERS = [0, 1, 2, 3, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
DOUBLES = [0.0, -0.0, 1.5, -1.0, float("inf"), float("nan"), 1e308, 5e-324]
ANY = FieldDescriptor

# Wire type of each declared type that the messages use.
WIRES = {
    ANY.TYPE_BOOL: VARINT,
    ANY.TYPE_INT64: VARINT,
    ANY.TYPE_INT32: VARINT,
    ANY.TYPE_UINT64: VARINT,
    ANY.TYPE_UINT32: VARINT,
    ANY.TYPE_ENUM: VARINT,
    ANY.TYPE_FIXED64: FIXED64,
    ANY.TYPE_DOUBLE: FIXED64,
    ANY.TYPE_STRING: BYTES,
    ANY.TYPE_BYTES: BYTES,
    ANY.TYPE_MESSAGE: BYTES,
}


def varint(value: int, longer: int = 0) -> bytes:
    """A varint, `longer` bytes longer than it need be."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(longer):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def tag(field: int, wire: int) -> bytes:
    return varint(field << 3 | wire)


def length_delimited(field: int, data: bytes) -> bytes:
    return tag(field, BYTES) + varint(len(data)) + data


def message(kind: Descriptor, source: random.Random, depth: int = 0) -> bytes:
    """Some fields of the message, in any order and any number of times."""
    fields = list(kind.fields)
    most = 8 if depth == 0 else 4
    pieces = [_known(source.choice(fields), source, depth) for _ in range(source.randint(0, most))]
    if source.random() < 0.3:
        pieces.append(unknown(kind, source))
    if source.random() < 0.1:
        pieces *= 2
    source.shuffle(pieces)
    return b"".join(pieces)


def _known(field: FieldDescriptor, source: random.Random, depth: int) -> bytes:
    if source.random() < 0.03:
        return _scalar_field(field.number, source.choice((VARINT, FIXED64, BYTES, FIXED32)), source)
    if field.type == ANY.TYPE_MESSAGE:
        return length_delimited(field.number, message(field.message_type, source, depth + 1))
    if field.is_repeated and WIRES[field.type] != BYTES and source.random() < 0.5:
        packed = b"".join(_scalar(WIRES[field.type], source) for _ in range(source.randint(0, 5)))
        return length_delimited(field.number, packed)
    copies = source.choice((1, 1, 1, 2, 40)) if field.is_repeated else 1
    return b"".join(_scalar_field(field.number, WIRES[field.type], source) for _ in range(copies))


def _scalar_field(number: int, wire: int, source: random.Random) -> bytes:
    return varint(number << 3 | wire, _longer(source, 3)) + _scalar(wire, source)


def _longer(source: random.Random, most: int) -> int:
    return source.randint(1, most) if source.random() < 0.05 else 0


def _scalar(wire: int, source: random.Random) -> bytes:
    if wire == VARINT:
        value = source.choice(NUMBERS) if source.random() < 0.8 else source.getrandbits(64)
        return varint(value, _longer(source, 4))
    if wire == FIXED64:
        return struct.pack("<d", source.choice(DOUBLES))
    if wire == FIXED32:
        return source.randbytes(4)
    text = source.choice(TEXTS).encode()
    if source.random() < 0.02:
        text += source.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2"))
    return varint(len(text), _longer(source, 3)) + text


def unknown(kind: Descriptor, source: random.Random, depth: int = 0) -> bytes:
    """A field that the message does not have; a group now and then."""
    known = {field.number for field in kind.fields}
    number = source.choice((15, 16, 99, 2047, 2048, 19000, FIELD_MAX))
    number = number if number not in known else FIELD_MAX - 1
    if depth < 3 and source.random() < 0.4:
        inner = b"".join(unknown(kind, source, depth + 1) for _ in range(source.randint(0, 2)))
        levels = source.choice((1, 1, 2, 50, 100)) if depth == 0 else 1
        return tag(number, GROUP) * levels + inner + tag(number, GROUP_END) * levels
    return _scalar_field(number, source.choice((VARINT, FIXED64, BYTES, FIXED32)), source)


def damaged(data: bytes, source: random.Random) -> bytes:
    """The bytes with one to three of them cut, put in, changed or moved."""
    changed = bytearray(data)
    changes: list[Callable[[int], None]] = [
        lambda at: changed.__delitem__(slice(at, None)),
        lambda at: changed.insert(at, source.randrange(256)),
        lambda at: changed.__delitem__(slice(at, at + 1)),
        lambda at: changed.__setitem__(slice(at, at + 1), bytes([source.randrange(256)])),
        lambda at: changed.extend(changed[at : at + 20]),
    ]
    for _ in range(source.randint(1, 3)):
        source.choice(changes)(source.randrange(len(changed) + 1))
    return bytes(changed)
