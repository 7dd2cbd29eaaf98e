"""Heartbeats: who says of late, in the log itself, that it follows it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nextbest.server.log.contents import unpack
from nextbest.server.log.log import Log, LogError
from nextbest.v1 import log_pb2


async def heartbeats(
    log: Log, after: tuple[int, int], end: tuple[int, int]
) -> AsyncIterator[log_pb2.Heartbeat]:
    """The heartbeats behind one place and up to another, in the log's order.

    What cannot be read is passed by: this is for who does not follow the log.
    """
    while after < end and (records := await log.read(after, 0)):
        for record in records:
            try:
                contents = unpack(record)
            except LogError:
                continue
            if contents.kind == "heartbeat":
                yield contents.body
        after = (records[-1].epoch, records[-1].sequence)
