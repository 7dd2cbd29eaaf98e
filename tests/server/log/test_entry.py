"""Frames: damage is found, and told from a newer format."""

from __future__ import annotations

import os
import random

import google_crc32c
import pytest

from nextbest.server.log.entry import (
    ENTRY_BYTES_MAX,
    FORMAT,
    HEAD_BYTES,
    DamagedEntryError,
    EntryTooLargeError,
    UnknownFormatError,
    frame,
    unframe,
)


def test_what_is_framed_comes_back() -> None:
    for size in (0, 1, 200, 300_000):
        body = os.urandom(size)
        data = frame(body)
        assert len(data) == size + HEAD_BYTES
        assert unframe(data, 1, 2) == body


def test_every_flipped_bit_and_every_cut_is_found() -> None:
    data = frame(random.Random(4).randbytes(120))
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedEntryError, match="entry 3-9: "):
            unframe(bytes(damaged), 3, 9)
    for size in range(len(data)):
        with pytest.raises(DamagedEntryError):
            unframe(data[:size], 3, 9)


def test_a_newer_format_is_not_damage() -> None:
    newer = bytes([FORMAT + 1])
    body = b"of tomorrow"
    data = newer + google_crc32c.value(newer + body).to_bytes(4, "little") + body
    with pytest.raises(UnknownFormatError, match="entry 1-5: format 2, allowed: 1"):
        unframe(data, 1, 5)


def test_an_entry_has_a_largest_size() -> None:
    with pytest.raises(EntryTooLargeError):
        frame(bytes(ENTRY_BYTES_MAX))


def test_the_known_checksum() -> None:
    """CRC-32C of "123456789", by RFC 3720's polynomial."""
    assert google_crc32c.value(b"123456789") == 0xE3069283
