"""Frames: the records in a file, each behind its length and with a checksum of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import google_crc32c
from google.protobuf.message import DecodeError

from nextbest.server.record.errors import DamagedRecordError
from nextbest.v1 import record_pb2

# Field 15, four bytes: the last five of each record.
_CHECKSUM_TAG = 0x7D
_CHECKSUM_BYTES = 5
# More than any answer can be.
RECORD_BYTES_MAX = 128 * 1024 * 1024
_LENGTH_BYTES_MAX = 4


class Frame(NamedTuple):
    """A record: its number in the file, from 1, where it stands, its bytes and what they say."""

    number: int
    offset: int
    data: bytes
    record: record_pb2.DecisionRecord

    @property
    def decision_id(self) -> str:
        """Of the decision."""
        return self.record.request.decision_id


def frames(file: str, content: bytes) -> Iterator[Frame | DamagedRecordError]:
    """The records of a file in their order; what is none is an error in its place.

    Behind damage the next whole record is looked for, so that one changed bit costs one record.
    """
    at, number = 0, 0
    while at < len(content):
        number += 1
        end = _end_of(content, at)
        if end and (frame := _frame(content, at, end, number)):
            yield frame
            at = end
            continue
        following = end or _next_whole(content, at + 1)
        why = "it ends in the middle" if following == len(content) else "it was changed"
        why += ": its checksum does not hold"
        if end:
            following, why = end, "no record of this version, though its checksum holds"
        yield DamagedRecordError(file, number, at, why)
        at = following


def _length(content: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends; (0, 0) for what is no length."""
    found = 0
    for place, byte in enumerate(content[at : at + _LENGTH_BYTES_MAX]):
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return found, at + place + 1
    return 0, 0


def _end_of(content: bytes, at: int) -> int:
    """Where a record that begins here ends, if its checksum holds; else 0."""
    length, start = _length(content, at)
    end = start + length
    if not _CHECKSUM_BYTES < length <= RECORD_BYTES_MAX or end > len(content):
        return 0
    told = end - _CHECKSUM_BYTES
    if content[told] != _CHECKSUM_TAG:
        return 0
    checksum = int.from_bytes(content[told + 1 : end], "little")
    return end if google_crc32c.value(content[start:told]) == checksum else 0


def _frame(content: bytes, at: int, end: int, number: int) -> Frame | None:
    _, start = _length(content, at)
    data = content[start:end]
    try:
        return Frame(number, at, data, record_pb2.DecisionRecord.FromString(data))
    except DecodeError:
        return None


def _next_whole(content: bytes, at: int) -> int:
    """Where the next record with a checksum that holds begins; the content's end for none."""
    while at < len(content) and not _end_of(content, at):
        at += 1
    return at
