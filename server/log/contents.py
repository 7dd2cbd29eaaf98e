"""Contents: what is inside an entry's frame, and the frame around what goes in."""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from nextbest.server.log.entry import (
    HEAD_BYTES,
    DamagedEntryError,
    UnknownFormatError,
    frame,
    unframe,
)
from nextbest.server.log.log import LogError, Position, Record
from nextbest.server.varint import varint
from nextbest.v1 import common_pb2, log_pb2

# Field 1, a fixed64, and field 2, of a length, of a LogEntry: all but a few entries are a nonce
# and a batch, in this order, and their bytes are passed on as they are.
_NONCE_TAG = b"\x09"
_BATCH_TAG = b"\x12"
_NONCE_END = 9


class UnknownKindError(LogError):
    """An entry is whole, but of a kind that only a newer version reads."""

    status_reason = "LOG_KIND"
    retry_ms = 0

    def __init__(self, epoch: int, sequence: int) -> None:
        super().__init__(f"entry {epoch}-{sequence}: of a kind this version does not know")
        self.epoch = epoch
        self.sequence = sequence


class Contents(NamedTuple):
    """An entry's nonce, and its body: bytes of a "batch", else a message of that field."""

    nonce: int
    kind: str
    body: Any


def pack_batch(nonce: int, batch: bytes) -> bytes:
    """The framed entry of a serialised MutationBatch."""
    head = _NONCE_TAG + nonce.to_bytes(8, "little") + _BATCH_TAG + varint(len(batch))
    return frame(head, batch)


def pack(nonce: int, **body: Any) -> bytes:
    """The framed entry of a housekeeping body, by its field's name."""
    return frame(log_pb2.LogEntry(nonce=nonce, **body).SerializeToString())


def unpack(record: Record) -> Contents:
    """What is in an entry.

    Raises DamagedEntryError when no version can read it, UnknownFormatError and
    UnknownKindError when a newer one can.
    """
    body = unframe(record.data, record.epoch, record.sequence)
    if body[:1] == _NONCE_TAG and body[_NONCE_END : _NONCE_END + 1] == _BATCH_TAG:
        length, start = _read_varint(body, _NONCE_END + 1)
        if start + length == len(body):
            return Contents(int.from_bytes(body[1:_NONCE_END], "little"), "batch", body[start:])
    try:
        entry = log_pb2.LogEntry.FromString(body)
    except DecodeError as error:
        raise DamagedEntryError(record.epoch, record.sequence, str(error)) from error
    kind = entry.WhichOneof("body")
    if kind is None:
        raise UnknownKindError(record.epoch, record.sequence)
    value = getattr(entry, kind)
    return Contents(entry.nonce, kind, value.SerializeToString() if kind == "batch" else value)


def place_of(record: Record) -> Position:
    """The position of an entry; its nonce is 0 when it cannot be read."""
    try:
        body = unframe(record.data, record.epoch, record.sequence)
    except DamagedEntryError:
        return Position(record.epoch, record.sequence, 0)
    except UnknownFormatError:
        body = record.data[HEAD_BYTES:]
    return Position(record.epoch, record.sequence, _nonce(body))


def position_message(position: tuple[int, int, int]) -> common_pb2.Position:
    """A position as the contract has it."""
    epoch, sequence, nonce = position
    return common_pb2.Position(epoch=epoch, sequence=sequence, nonce=nonce)


def position_from(message: common_pb2.Position) -> Position:
    """A position from the contract's."""
    return Position(message.epoch, message.sequence, message.nonce)


def _nonce(body: bytes) -> int:
    try:
        return log_pb2.LogEntry.FromString(body).nonce
    except DecodeError:
        return 0


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A varint of at most 5 bytes and where it ends; the end is past `data` when it is none."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    return 0, len(data) + 1
