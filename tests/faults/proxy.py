"""A TCP proxy in the way: it delays, drops replies, goes silent or refuses, as it is told.

Latency needs it because not every kernel has a queue that delays packets.  `python -m
tests.faults.proxy HOST PORT FOLDER` runs one in a process of its own, so that its work is not taken
for the client's.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from tests.faults.processes import Processes, until

CHUNK_BYTES: Final = 65_536
# Bytes held in one direction of one connection; the sender waits beyond.
HELD_BYTES_MAX: Final = 4_194_304
START_S: Final = 10.0


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
        # What was aborted is closed by the loop's next turn.
        await asyncio.sleep(0)

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


class ProxyProcess:
    """A `Proxy` in a process of its own; `address` leads to `host:port` while the block runs."""

    def __init__(self, processes: Processes, host: str, port: int) -> None:
        self._folder = processes.folder / "proxy"
        self._folder.mkdir()
        command = [sys.executable, "-m", "tests.faults.proxy", host, str(port), str(self._folder)]
        self._process = processes.add("proxy-process", command)
        self.address = ""

    async def __aenter__(self) -> Self:
        self.set(delay_s=0.0)
        self._process.start()
        port = self._folder / "port"

        async def written() -> str:
            return port.read_text() if port.exists() else ""

        self.address = f"127.0.0.1:{await until(written, START_S, 'the proxy listens')}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()

    def set(self, **state: float | bool) -> None:
        """Set fields of the proxy: `delay_s`, `drop_replies`, `silent`."""
        (self._folder / "state.new").write_text(json.dumps(state))
        (self._folder / "state.new").rename(self._folder / "state")
        if self._process.alive:
            self._process.send(signal.SIGUSR1)


async def _serve(host: str, port: int, folder: Path) -> None:
    async with Proxy(host, port) as proxy:

        def told() -> None:
            for name, value in json.loads((folder / "state").read_text()).items():
                setattr(proxy, name, value)

        told()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told)
        (folder / "port.new").write_text(str(proxy.port))
        (folder / "port.new").rename(folder / "port")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
