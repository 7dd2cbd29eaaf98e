"""A stop under load, over grpc.aio: processes, and clients that go to another one."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from nextbest.client import AsyncClient
from tests.server.test_command_log import Server

# Each asks as soon as it was answered, so that there is always something that was not begun.
WORKERS, SPAN_S = 40, 2.0


async def decided(client: AsyncClient, worker: int) -> None:
    loop = asyncio.get_running_loop()
    end_s = loop.time() + SPAN_S
    while loop.time() < end_s:
        await client.decide(f"p{worker}", [])


async def test_a_stop_under_load_fails_no_call_of_a_client_with_another_server(
    tmp_path: Path,
) -> None:
    servers = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        servers.append(await asyncio.to_thread(Server, tmp_path / name))
    try:
        async with AsyncClient([one.to[1] for one in servers], fast_lane=False) as client:
            work = [asyncio.create_task(decided(client, worker)) for worker in range(WORKERS)]
            await asyncio.sleep(SPAN_S / 2)
            servers[0].tell(signal.SIGTERM)
            results = await asyncio.gather(*work, return_exceptions=True)
        assert [one for one in results if isinstance(one, BaseException)] == []
    finally:
        for server in servers:
            server.end(signal.SIGKILL)
