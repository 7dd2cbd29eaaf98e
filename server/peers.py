"""Peers: the other members, and a snapshot of theirs for a node that lacks a part of the log."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import grpc
from google.protobuf.message import DecodeError

from nextbest.core.errors import NextbestError
from nextbest.server.config import PEERS_MAX
from nextbest.server.errors import RecoveryError
from nextbest.server.log.heartbeats import heartbeats
from nextbest.server.log.log import Log
from nextbest.server.log.snapshot import Snapshots, look_at
from nextbest.server.log.snapshot_file import SnapshotError, failure
from nextbest.v1 import log_pb2

READ = "/nextbest.v1.LogService/ReadSnapshot"
# How many entries before the log's end are looked through for heartbeats: more when there is none.
LOOK_BACK = (1_000, 10_000, 100_000)
# A peer that gives no piece for so long is given up, and a file larger than this.
PIECE_S = 10.0
BYTES_MAX = 1 << 40
FETCHED = "fetched.new"
TELL_S = 2.0

_log = logging.getLogger(__name__)

Fits = Callable[[log_pb2.SnapshotHead, str], Awaitable[bool]]


class PeerError(NextbestError):
    """A peer gave no snapshot that is of use."""


class NoPeerError(RecoveryError):
    """No member says where it is, and none is configured."""


class Peers:
    """Members that are configured, and those whose heartbeats in the log say where they are.

    member: this one's name, which is never asked.
    """

    def __init__(
        self, log: Log, snapshots: Snapshots, member: str, configured: Iterable[str]
    ) -> None:
        self._log = log
        self._snapshots = snapshots
        self._member = member
        self._configured = tuple(configured)

    async def addresses(self) -> list[str]:
        """Where to ask, the configured ones first; at most 16."""
        found = dict.fromkeys(self._configured)
        if (last := await self._log.last()) is not None:
            for back in LOOK_BACK:
                after = (last.epoch, max(last.sequence - back, 0))
                advertised = await self._advertised(after, (last.epoch, last.sequence))
                found.update(dict.fromkeys(advertised))
                if advertised or not after[1]:
                    break
        return list(found)[:PEERS_MAX]

    async def fetch(self, fits: Fits) -> Path:
        """Make the first snapshot that is whole and fits the newest one here.

        fits: whether the log can be read on from a head; a RecoveryError says why not.  Raises
        RecoveryError with what each peer said.
        """
        if not (addresses := await self.addresses()):
            raise NoPeerError(
                "no peer is known to fetch a snapshot from: set log.advertise on the members, or "
                "log.peers here"
            )
        refused = []
        for address in addresses:
            try:
                return await self._fetch(address, fits)
            except (PeerError, SnapshotError, RecoveryError) as error:
                refused.append(f"{address}: {error}")
        raise RecoveryError("no peer gave a snapshot: " + "; ".join(refused))

    async def _advertised(self, after: tuple[int, int], end: tuple[int, int]) -> list[str]:
        """The addresses in the heartbeats behind a place, the newest first."""
        found: dict[str, str] = {}
        async for heartbeat in heartbeats(self._log, after, end):
            if heartbeat.member != self._member:
                found.pop(heartbeat.member, None)
                found[heartbeat.member] = heartbeat.address
        return [address for address in reversed(found.values()) if address]

    async def _fetch(self, address: str, fits: Fits) -> Path:
        path = self._snapshots.folder / FETCHED
        try:
            await self._receive(address, path)
            found = await asyncio.to_thread(look_at, path)
            if found.verified is None:
                raise PeerError(f"snapshot: damaged: {found.why}")
            if not await fits(found.verified.head, f"the snapshot of {address}"):
                raise PeerError("snapshot: of a branch that the log has lost")
            made = await asyncio.to_thread(self._snapshots.commit, path)
        finally:
            self._snapshots.discard(path)
        _log.info("recovery: %s fetched from %s", made.name, address)
        return made

    async def _receive(self, address: str, path: Path) -> None:
        """Write what a peer sends, to the disk and not only to the system's memory."""
        try:
            with await asyncio.to_thread(_opened, path) as file:
                async with grpc.aio.insecure_channel(address) as channel:
                    stream = channel.unary_stream(READ, None, None)
                    await _copy(stream(b""), file, address)
                await asyncio.to_thread(_sync, file)
        except grpc.aio.AioRpcError as error:
            raise PeerError(f"{error.code().name}: {error.details()}") from error
        except TimeoutError as error:
            raise PeerError(f"nothing came for {PIECE_S:g} s") from error
        except DecodeError as error:
            raise PeerError(f"no ReadSnapshotResponse: {error}") from error
        except OSError as error:
            raise failure(path, error) from error


async def _copy(call: Any, file: BinaryIO, address: str) -> None:
    received, told_s = 0, time.monotonic()
    try:
        while True:
            async with asyncio.timeout(PIECE_S):
                piece = await call.read()
            if not isinstance(piece, bytes):
                # The end of the stream.
                break
            data = log_pb2.ReadSnapshotResponse.FromString(piece).data
            if (received := received + len(data)) > BYTES_MAX:
                raise PeerError(f"snapshot: more than {BYTES_MAX} bytes")
            await asyncio.to_thread(file.write, data)
            if time.monotonic() - told_s >= TELL_S:
                told_s = time.monotonic()
                _log.info("recovery: %.0f MB fetched from %s", received / 1e6, address)
    finally:
        call.cancel()


def _opened(path: Path) -> BinaryIO:
    # People's data: for its owner alone.
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
