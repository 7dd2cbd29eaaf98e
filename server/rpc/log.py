"""LogService: how the log is, snapshots, and starting a wiped log anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import grpc

from nextbest.server.errors import NoLogError
from nextbest.server.keeper import Keeper
from nextbest.server.log.contents import position_message
from nextbest.server.log.snapshot_file import SnapshotError
from nextbest.server.rpc.message import parse, with_header
from nextbest.server.rpc.router import Handlers, unary
from nextbest.server.rpc.status import refuse
from nextbest.v1 import log_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.server.log.node import Node
    from nextbest.server.log.taker import Taker

SERVICE = "/nextbest.v1.LogService/"
# Of a snapshot's file, in one message.
PIECE_BYTES = 1 << 20


class LogService:
    """Translates between the contract and the keeper."""

    def __init__(self, engine: Engine, keeper: Keeper, bytes_max: int) -> None:
        self._engine = engine
        self._keeper = keeper
        self._bytes_max = bytes_max

    def handlers(self) -> Handlers:
        """The handlers by full method name."""
        return {
            SERVICE + "GetLogStatus": unary(self._status),
            SERVICE + "TakeSnapshot": unary(self._take),
            SERVICE + "ReadSnapshot": grpc.unary_stream_rpc_method_handler(self._read),
            SERVICE + "ReseedLog": unary(self._reseed),
        }

    async def _status(self, request: bytes, context: Any) -> bytes:
        try:
            message = parse(log_pb2.GetLogStatusRequest, request, self._bytes_max)
            response = await self._keeper.status(message.digest)
            return with_header(response, self._engine).SerializeToString()
        except Exception as error:
            await refuse(context, error)

    async def _take(self, request: bytes, context: Any) -> bytes:
        try:
            parse(log_pb2.TakeSnapshotRequest, request, self._bytes_max)
            taken = await self._taker().take()
            response = log_pb2.TakeSnapshotResponse(
                path=str(taken.path),
                position=position_message(taken.position),
                bytes=taken.bytes,
                took_ms=taken.took_ms,
            )
            return response.SerializeToString()
        except Exception as error:
            await refuse(context, error)

    async def _read(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            parse(log_pb2.ReadSnapshotRequest, request, self._bytes_max)
            taker = self._taker()
            if (last := taker.last) is None:
                raise SnapshotError("snapshot: there is none yet")
            with await asyncio.to_thread(_opened, last.path) as file:
                while data := await asyncio.to_thread(file.read, PIECE_BYTES):
                    yield log_pb2.ReadSnapshotResponse(data=data).SerializeToString()
        except Exception as error:
            await refuse(context, error)

    async def _reseed(self, request: bytes, context: Any) -> bytes:
        try:
            message = parse(log_pb2.ReseedLogRequest, request, self._bytes_max)
            position = await self._node().reseed(message.force)
            response = log_pb2.ReseedLogResponse(
                position=position_message(position), profiles=self._engine.store.profiles
            )
            return response.SerializeToString()
        except Exception as error:
            await refuse(context, error)

    def _node(self) -> Node:
        if self._keeper.node is None:
            raise NoLogError("log: this server keeps none")
        return self._keeper.node

    def _taker(self) -> Taker:
        if self._keeper.taker is None:
            raise NoLogError("snapshot: this server takes none: it has no data.folder")
        return self._keeper.taker


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror}") from error
