"""Frames: how an entry's bytes are told from damaged ones.

A frame is 1 byte of format, 4 bytes of CRC-32C (little-endian, over the format and the body),
and the body: a LogEntry of the contract.  Every format keeps this frame, so that a reader can
tell a newer entry from a damaged one.
"""

from __future__ import annotations

import google_crc32c

from nextbest.core.errors import INTERNAL
from nextbest.server.log.log import LogError

# Of every entry's frame; and the newest kinds of entries that are read here: 2 has claims, and
# whoever reads it decides by consents under a lease only.
FORMAT = 1
READS = CLAIMS_FORMAT = LEASES_FORMAT = 2
HEAD_BYTES = 5
# Of an entry with its frame: the largest `rpc.playbook_bytes_max` and 1 MiB for all else.
ENTRY_BYTES_MAX = 65 << 20

_FORMAT_CRC = {FORMAT: google_crc32c.value(bytes([FORMAT]))}


class DamagedEntryError(LogError):
    """An entry's bytes are not what was written.  No version can read it."""

    status_code = INTERNAL
    status_reason = "LOG_DAMAGED"
    retry_ms = 0

    def __init__(self, epoch: int, sequence: int, what: str) -> None:
        super().__init__(f"entry {epoch}-{sequence}: {what}")
        self.epoch = epoch
        self.sequence = sequence
        self.what = what


class UnknownFormatError(LogError):
    """An entry is whole, but of a format that only a newer version reads."""

    status_reason = "LOG_FORMAT"
    retry_ms = 0

    def __init__(self, epoch: int, sequence: int, seen: int) -> None:
        super().__init__(f"entry {epoch}-{sequence}: format {seen}, allowed: {FORMAT}")
        self.epoch = epoch
        self.sequence = sequence
        self.seen = seen


class EntryTooLargeError(LogError):
    """An entry is larger than the log takes."""

    status_reason = "LOG_ENTRY_TOO_LARGE"
    retry_ms = 0

    def __init__(self, seen: int) -> None:
        super().__init__(f"entry: {seen} bytes, allowed: {ENTRY_BYTES_MAX}")
        self.seen = seen


def frame(*body: bytes) -> bytes:
    """The bytes to append for a serialised LogEntry, in pieces.  Raises EntryTooLargeError."""
    size = HEAD_BYTES + sum(map(len, body))
    if size > ENTRY_BYTES_MAX:
        raise EntryTooLargeError(size)
    checksum = _FORMAT_CRC[FORMAT]
    for piece in body:
        checksum = google_crc32c.extend(checksum, piece)
    return b"".join((bytes([FORMAT]), checksum.to_bytes(4, "little"), *body))


def unframe(data: bytes, epoch: int, sequence: int) -> bytes:
    """The serialised LogEntry in the entry read at a place.

    Raises DamagedEntryError, and UnknownFormatError when it is whole but newer.
    """
    if len(data) < HEAD_BYTES:
        raise DamagedEntryError(epoch, sequence, f"{len(data)} bytes, at least {HEAD_BYTES}")
    stated = int.from_bytes(data[1:HEAD_BYTES], "little")
    body = data[HEAD_BYTES:]
    start = _FORMAT_CRC.get(data[0])
    if start is None:
        start = google_crc32c.value(data[:1])
    found = google_crc32c.extend(start, body)
    if found != stated:
        raise DamagedEntryError(
            epoch, sequence, f"checksum {found:08x}, stated {stated:08x} ({len(data)} bytes)"
        )
    if data[0] != FORMAT:
        raise UnknownFormatError(epoch, sequence, data[0])
    return body
