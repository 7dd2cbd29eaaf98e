"""A TCP proxy in the way: it delays, drops replies, goes silent or refuses, as it is told.

Latency needs it because not every kernel has a queue that delays packets.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final, Self

CHUNK_BYTES: Final = 65_536
# Bytes held in one direction of one connection; the sender waits beyond.
HELD_BYTES_MAX: Final = 4_194_304


class Proxy:
    """`address` leads to `host:port` for as long as the block runs."""

    def __init__(self, host: str, port: int, listen: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._listen = listen
        # Each reply is this much later; requests are not, so that a round trip is late once.
        self.delay_s = 0.0
        # Replies vanish, requests arrive: the worst case for whoever waits for an outcome.
        self.drop_replies = False
        # Nothing passes either way, and nobody is told.
        self.silent = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._listen, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """Where to connect."""
        return f"{self._listen}:{self.port}"

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers.add(far_writer)
        ways = [
            asyncio.create_task(self._pass(reader, far_writer, False)),
            asyncio.create_task(self._pass(far_reader, writer, True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers.discard(far_writer)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool
    ) -> None:
        """Move bytes; what is late waits in order, and reading goes on meanwhile."""
        loop = asyncio.get_running_loop()
        held: deque[tuple[float, bytes]] = deque()
        sending: asyncio.Task[None] | None = None
        try:
            while data := await reader.read(CHUNK_BYTES):
                if self.silent or (replies and self.drop_replies):
                    continue
                held.append((loop.time() + (self.delay_s if replies else 0.0), data))
                if sending is None or sending.done():
                    sending = asyncio.create_task(self._send(held, writer))
                while sum(len(part) for _, part in held) > HELD_BYTES_MAX and not sending.done():
                    await asyncio.sleep(0.001)
        finally:
            if sending is not None:
                sending.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await sending

    async def _send(self, held: deque[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while held:
            due, data = held[0]
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            writer.write(data)
            await writer.drain()
            held.popleft()
