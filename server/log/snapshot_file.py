"""Snapshot files: blocks behind checksums, so that no flipped bit or missing page goes unseen.

A file is a header of 64 bytes, the stripes by their number, the head (a SnapshotHead of the
contract: what is only known when the last stripe has been copied is in it), and a footer.  Each
block states its kind, number and length, and a CRC-32C over these and its bytes; the footer has
counts and a CRC-32C over all the blocks' CRCs.  Nothing may follow it.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import google_crc32c
from google.protobuf.message import DecodeError

from nextbest.core.errors import FAILED_PRECONDITION, INTERNAL, UNAVAILABLE, NextbestError
from nextbest.v1 import log_pb2

FORMAT = 1
# The one before is read too, so that a node may be upgraded with the snapshots it has.
FORMATS_READ = range(max(1, FORMAT - 1), FORMAT + 1)
STRIPES_MAX = 4_096
# Of one stripe; a thousand times what 10 million people need.
BLOCK_BYTES_MAX = 4 << 30

# As of PNG: a transfer that changes line ends or stops at a control character damages it.
MAGIC = b"\x89nextbestsnap\r\n\x1a"
HEADER_BYTES = 64
_HEADER = struct.Struct("<16sII36xI")
_BLOCK = struct.Struct("<IIQI")
_FOOTER = struct.Struct("<IQQI")
_CHECKED_BYTES = _BLOCK.size - 4
_FOOTER_BYTES = _BLOCK.size + _FOOTER.size
HEAD, STRIPE, FOOTER = 1, 2, 3

_BUFFER_BYTES = 1 << 20
# Written through so often, so that what waits for the disk never holds up others who sync: at
# most twice as much, since the next part is made meanwhile.
_FLUSH_BYTES = 16 << 20


class SnapshotError(NextbestError):
    """A snapshot cannot be written or read; those there already stay as they are."""

    status_code = UNAVAILABLE
    status_reason = "SNAPSHOT"
    retry_ms = 1_000


class DamagedSnapshotError(SnapshotError):
    """A snapshot's bytes are not what was written: `what` is wrong at byte `offset`."""

    status_code = INTERNAL
    status_reason = "SNAPSHOT_DAMAGED"
    retry_ms = 0

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(f"{path}: damaged at byte {offset}: {what}")
        self.path = path
        self.offset = offset
        self.what = what


class SnapshotFormatError(SnapshotError):
    """A snapshot is whole, but of a format that this version does not read."""

    status_code = FAILED_PRECONDITION
    status_reason = "SNAPSHOT_FORMAT"
    retry_ms = 0

    def __init__(self, path: Path, seen: int) -> None:
        allowed = " or ".join(map(str, FORMATS_READ))
        newer = ": a newer version wrote it" if seen > FORMAT else ""
        super().__init__(f"{path}: format {seen}, allowed: {allowed}{newer}")
        self.path = path
        self.seen = seen


def failure(path: Path, error: OSError) -> SnapshotError:
    """The error for what the system refused."""
    return SnapshotError(f"{path}: {error.strerror or error}")


class SnapshotWriter:
    """Writes one new file; whole only after `finish`.  Raises SnapshotError.

    `disk_s` is how many seconds were spent in writing and waiting for the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = HEADER_BYTES
        self.disk_s = 0.0
        self._flushed = 0
        self._stripes = 0
        self._stripe_bytes = 0
        self._crcs = 0
        self._finished = False
        self._syncing: Future[None] | None = None
        try:
            # People's data: nobody else may read it.
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._file = os.fdopen(made, "wb", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise failure(path, error) from error
        self._syncer = ThreadPoolExecutor(1, "snapshot-sync")
        self._write(_header())

    def abandon(self) -> None:
        """Remove the file unless it was finished."""
        if self._finished:
            return
        # The file is closed behind what the other thread is still at.
        self._syncer.shutdown()
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    def stripe(self, number: int, data: bytes) -> None:
        """Add a stripe; numbers rise."""
        self._block(STRIPE, number, data)
        self._stripes += 1
        self._stripe_bytes += len(data)

    def finish(self, head: log_pb2.SnapshotHead) -> None:
        """Add head and footer, and have the disk hold all of it."""
        place = self.bytes
        self._block(HEAD, 0, head.SerializeToString())
        counts = _FOOTER.pack(self._stripes, self._stripe_bytes, place, self._crcs)
        self._block(FOOTER, 0, counts)
        try:
            self._file.flush()
            self._synced()
            os.fsync(self._file.fileno())
            # What is read back for verification comes from the disk, where it can.
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self._file.close()
        except OSError as error:
            raise failure(self.path, error) from error
        self._syncer.shutdown()
        self._finished = True

    def _block(self, kind: int, number: int, data: bytes) -> None:
        checked = struct.pack("<IIQ", kind, number, len(data))
        crc = google_crc32c.extend(google_crc32c.value(checked), data)
        stated = crc.to_bytes(4, "little")
        self._write(checked + stated)
        self._write(data)
        self._crcs = google_crc32c.extend(self._crcs, stated)
        self.bytes += _BLOCK.size + len(data)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._flushed += len(data)
            if self._flushed >= _FLUSH_BYTES:
                self._flushed = 0
                begun_s = time.perf_counter()
                self._file.flush()
                self._synced()
                self._syncing = self._syncer.submit(os.fdatasync, self._file.fileno())
                self.disk_s += time.perf_counter() - begun_s
        except OSError as error:
            raise failure(self.path, error) from error

    def _synced(self) -> None:
        """Wait until the disk holds the part before; raises OSError when it refused that."""
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()


class _Block(NamedTuple):
    kind: int
    number: int
    data: bytes
    crc: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What a whole file holds: its head, stripes, and size in bytes."""

    head: log_pb2.SnapshotHead
    stripes: int
    bytes: int


class SnapshotReader:
    """Reads one file and believes nothing.

    Every method raises DamagedSnapshotError for bytes that were not written so,
    SnapshotFormatError for another version's, and SnapshotError for what the system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=_BUFFER_BYTES)
            self.bytes = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise failure(path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def head(self) -> log_pb2.SnapshotHead:
        """The head alone, without a look at the stripes."""
        self._start()
        _, _, place, _ = self._counts(self.bytes - _FOOTER_BYTES)
        block = self._block_at(place)
        if block.kind != HEAD:
            raise self._damaged(place, f"a block of kind {block.kind}, not the head")
        return self._parse(block.data, place)

    def verify(self) -> Verified:
        """Read all of it."""
        found: list[_Block] = []
        count = 0
        for block in self._blocks():
            if block.kind == HEAD:
                found.append(block)
            count += block.kind == STRIPE
        head = self._parse(found[0].data, self.bytes - _FOOTER_BYTES)
        return Verified(head, count, self.bytes)

    def stripes(self) -> Iterator[bytes]:
        """The stripes, one at a time.  The whole file is known to be good after the last."""
        return (block.data for block in self._blocks() if block.kind == STRIPE)

    def _blocks(self) -> Iterator[_Block]:
        """Stripes and head, up to the end of the file, whose footer must fit them."""
        self._start()
        place, before, crcs, stripes, stripe_bytes, head_at = HEADER_BYTES, -1, 0, 0, 0, 0
        while not head_at:
            block = self._read_block(place)
            if block.kind == STRIPE and before < block.number < STRIPES_MAX:
                before = block.number
                stripes += 1
                stripe_bytes += len(block.data)
            elif block.kind == HEAD and block.number == 0:
                head_at = place
            else:
                raise self._damaged(place, f"block {block.number} of kind {block.kind} is no next")
            yield block
            crcs = google_crc32c.extend(crcs, block.crc.to_bytes(4, "little"))
            place += _BLOCK.size + len(block.data)
        if self._counts(place) != (stripes, stripe_bytes, head_at, crcs):
            raise self._damaged(place, "the footer's counts are not those of the blocks")

    def _start(self) -> None:
        """Check the header, and stand behind it."""
        self._seek(0)
        data = self._read(0, HEADER_BYTES)
        magic, stated, size, crc = _HEADER.unpack(data)
        if magic != MAGIC:
            raise self._damaged(0, "no snapshot's first bytes")
        if crc != google_crc32c.value(data[:-4]):
            raise self._damaged(0, "the header's checksum does not match")
        if stated not in FORMATS_READ or size != HEADER_BYTES:
            raise SnapshotFormatError(self.path, stated)

    def _counts(self, place: int) -> tuple[int, int, int, int]:
        """What the footer there says."""
        if place < HEADER_BYTES or place + _FOOTER_BYTES != self.bytes:
            raise self._damaged(max(place, 0), "the footer is not at the file's end")
        block = self._block_at(place)
        if block.kind != FOOTER or len(block.data) != _FOOTER.size:
            raise self._damaged(place, f"a block of kind {block.kind}, not the footer")
        stripes, stripe_bytes, head_at, crcs = _FOOTER.unpack(block.data)
        return stripes, stripe_bytes, head_at, crcs

    def _block_at(self, place: int) -> _Block:
        self._seek(place)
        return self._read_block(place)

    def _read_block(self, place: int) -> _Block:
        """The block there, where the file stands."""
        start = self._read(place, _BLOCK.size)
        kind, number, length, stated = _BLOCK.unpack(start)
        if length > min(BLOCK_BYTES_MAX, self.bytes - place - _BLOCK.size):
            raise self._damaged(place, f"a block of {length} bytes, which the file has not")
        data = self._read(place, length)
        crc = google_crc32c.extend(google_crc32c.value(start[:_CHECKED_BYTES]), data)
        if crc != stated:
            raise self._damaged(place, f"checksum {crc:08x}, stated {stated:08x}")
        return _Block(kind, number, data, crc)

    def _parse(self, data: bytes, place: int) -> log_pb2.SnapshotHead:
        try:
            return log_pb2.SnapshotHead.FromString(data)
        except DecodeError as error:
            raise self._damaged(place, f"the head is no message: {error}") from error

    def _seek(self, place: int) -> None:
        if not 0 <= place <= self.bytes:
            raise self._damaged(0, f"a block at byte {place}, which the file has not")
        self._file.seek(place)

    def _read(self, place: int, length: int) -> bytes:
        try:
            data = bytes(self._file.read(length))
        except OSError as error:
            raise failure(self.path, error) from error
        if len(data) != length:
            raise self._damaged(place, f"it ends after {len(data)} of {length} bytes")
        return data

    def _damaged(self, offset: int, what: str) -> DamagedSnapshotError:
        return DamagedSnapshotError(self.path, offset, what)


def _header() -> bytes:
    unchecked = _HEADER.pack(MAGIC, FORMAT, HEADER_BYTES, 0)[:-4]
    checksum: int = google_crc32c.value(unchecked)
    return unchecked + checksum.to_bytes(4, "little")
