"""Varints: protobuf's way to write a number, the lowest seven bits first."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """A number of 0 or above as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
