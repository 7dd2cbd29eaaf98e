"""Frames: the records in a file, each behind its length and with a checksum of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import google_crc32c
from google.protobuf.message import DecodeError

from nextbest.server.record.content import FileContent
from nextbest.server.record.errors import CutRecordError, DamagedRecordError, LaterRecordError
from nextbest.v1 import record_pb2

# Field 15, four bytes: the last five of each record.
_CHECKSUM_TAG = b"\x7d"
_CHECKSUM_BYTES = 5
# More than any answer can be.
RECORD_BYTES_MAX = 128 * 1024 * 1024
_LENGTH_BYTES_MAX = 4
# Wire types of protobuf; 5 is of four bytes.
_VARINT, _FIXED64, _BYTES = 0, 1, 2

# The form of records that this version reads.
VERSION = 1
# Where a record may begin: none is empty, and a disk may leave zeros behind a crash.
_NOT_ZERO = re.compile(rb"[^\0]")

# How far it is looked at once for where one begins.
_LOOK_BYTES = 65_536

Content: TypeAlias = bytes | FileContent


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


def ends(content: bytes) -> Iterator[int]:
    """Where each record of a sound file ends; nothing of it is checked."""
    at = 0
    while at < len(content):
        length, start = _varint(content, at)
        at = start + length
        yield at


def part(message: bytes, field: int) -> bytes:
    """The bytes of a field that is a message; empty where it is not there, or in pieces."""
    at, found = 0, []
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            length, at = _varint(message, at)
            if tag >> 3 == field:
                found.append(message[at : at + length])
            at += length
        else:
            at += 8 if kind == _FIXED64 else 4
    return found[0] if len(found) == 1 else b""


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A varint of a message that was parsed before, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return value, at


class _Span(NamedTuple):
    """Where a record's bytes begin and end, without its length."""

    start: int
    end: int


class _Whole(NamedTuple):
    """A record's bytes, and where they end."""

    data: bytes
    end: int


def frames(file: str, content: Content) -> Iterator[Frame | DamagedRecordError]:
    """The records of a file in their order; what is none is an error in its place.

    Behind damage the next whole record is looked for, so that one changed bit costs one record.
    """
    at, number = 0, 0
    while at < len(content):
        number += 1
        whole = _whole(content, at)
        frame = _frame(whole.data, at, number) if whole else None
        if frame is None:
            yield _damage(file, number, at, content, whole)
        elif frame.record.version != VERSION:
            yield _later(file, frame)
        else:
            yield frame
        at = whole.end if whole else _next_whole(content, at + 1)


def _later(file: str, frame: Frame) -> LaterRecordError:
    why = f"version: {frame.record.version}, allowed: {VERSION}: read it with the one that wrote it"
    return LaterRecordError(file, frame.number, frame.offset, why)


def _damage(
    file: str, number: int, at: int, content: Content, whole: _Whole | None
) -> DamagedRecordError:
    if whole:
        why = "no record of this version, though its checksum holds"
        return DamagedRecordError(file, number, at, why)
    if _is_cut(content, at):
        why = "the file ends within it, as where its server was killed; all before it is whole"
        return CutRecordError(file, number, at, why)
    return DamagedRecordError(
        file, number, at, "it was changed or cut short: its checksum does not hold"
    )


def _is_cut(content: Content, at: int) -> bool:
    """Whether a record begins here of which only the end is missing."""
    if _not_zero(content, at) is None:
        return True
    rest = len(content) - at
    span = _told(content, at)
    if span is None:
        return rest < _LENGTH_BYTES_MAX and all(byte & 0x80 for byte in content[at:])
    if span.end <= len(content):
        return False
    # The end may be there after all, and the length have been changed.
    starts = range(at + 1, at + 1 + _LENGTH_BYTES_MAX)
    return not any(_sound(content, _Span(start, len(content))) for start in starts)


def _told(content: Content, at: int) -> _Span | None:
    """Where a record that begins here ends, as its length says; None for what is no length."""
    length = 0
    for place, byte in enumerate(content[at : at + _LENGTH_BYTES_MAX]):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            start = at + place + 1
            sound = _CHECKSUM_BYTES < length <= RECORD_BYTES_MAX
            return _Span(start, start + length) if sound else None
    return None


def _sound(content: Content, span: _Span) -> bytes:
    """A record's bytes, if its checksum is that of them; else none."""
    told = span.end - _CHECKSUM_BYTES
    if told < span.start or span.end > len(content):
        return b""
    # Before all else is read: where there is damage, any length may be told.
    if content[told : told + 1] != _CHECKSUM_TAG:
        return b""
    data = content[span.start : span.end]
    checksum = int.from_bytes(data[1 - _CHECKSUM_BYTES :], "little")
    return data if google_crc32c.value(data[:-_CHECKSUM_BYTES]) == checksum else b""


def _whole(content: Content, at: int) -> _Whole | None:
    """A record that begins here, if its checksum holds."""
    span = _told(content, at)
    data = _sound(content, span) if span else b""
    return _Whole(data, span.end) if span and data else None


def _frame(data: bytes, at: int, number: int) -> Frame | None:
    try:
        return Frame(number, at, data, record_pb2.DecisionRecord.FromString(data))
    except DecodeError:
        return None


def _next_whole(content: Content, at: int) -> int:
    """Where the next record with a checksum that holds begins; the content's end for none."""
    while part := content[at : at + _LOOK_BYTES]:
        rest = len(content) - at
        for found in _NOT_ZERO.finditer(part):
            start = found.start()
            if _may_begin(part, start, rest) and _whole(content, at + start):
                return at + start
        at += len(part)
    return len(content)


def _may_begin(part: bytes, at: int, rest: int) -> bool:
    """Whether a record may begin here in a part of the `rest`: without reading for each byte."""
    if at + _LENGTH_BYTES_MAX > len(part):
        return True
    span = _told(part, at)
    if span is None or span.end > rest:
        return False
    told = span.end - _CHECKSUM_BYTES
    return part[told : told + 1] in (b"", _CHECKSUM_TAG)


def _not_zero(content: Content, at: int) -> int | None:
    """Where the next byte that is not zero stands."""
    while part := content[at : at + _LOOK_BYTES]:
        if found := _NOT_ZERO.search(part):
            return at + found.start()
        at += len(part)
    return None
