"""A real server on a unix socket, in the test's own loop."""

from __future__ import annotations

import asyncio
import atexit
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nextbest.client import AsyncClient
from nextbest.core import Engine
from nextbest.server.compiler import Compiler
from nextbest.server.config import load
from nextbest.server.serve import serve

PLAYBOOK = Path(__file__).parent / "cases" / "small"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@cache
def _compiler() -> Compiler:
    """One compiling process for all servers of the tests: starting it takes half a second."""
    compiler = Compiler(60_000)
    atexit.register(compiler.close)
    return compiler


@asynccontextmanager
async def running(
    playbook: Path | None = PLAYBOOK,
    compiler: Compiler | None = None,
    announced: Callable[[Engine], None] = lambda _engine: None,
    **flags: Any,
) -> AsyncIterator[str]:
    """A server's address while the block runs; `rpc__in_flight_max=1` sets that key.

    announced: is told the engine before any call.
    """
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/socket"
        settings = {"listen.addresses": address, "listen.drain_grace_ms": "1000"}
        settings |= {key.replace("__", "."): str(value) for key, value in flags.items()}
        if playbook:
            settings["data.playbook"] = str(playbook)
        started, stop = asyncio.Event(), asyncio.Event()

        def announce(_addresses: list[str], _lanes: list[str], engine: Engine) -> None:
            announced(engine)
            started.set()

        config = load(flags=settings)
        task = asyncio.create_task(serve(config, announce, stop, compiler or _compiler()))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            await task
        try:
            yield address
        finally:
            stop.set()
            await task


@asynccontextmanager
async def calling(address: str, *, fast_lane: bool) -> AsyncIterator[AsyncClient]:
    """A client that is on the lane it shall call by: it looks for the fast one for 0.25 s only."""
    async with AsyncClient(address, fast_lane=fast_lane) as client, asyncio.timeout(60) as limit:
        while fast_lane and not client.fast_lane:
            await client._route.hot(60)
            await asyncio.sleep(0.01)
        limit.reschedule(None)
        yield client


@pytest.fixture
def run_server() -> Any:
    """Runs servers of a test's own settings: `async with run_server(...) as address`."""
    return running


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """The address of a server with the small playbook."""
    async with running() as found:
        yield found


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    """A client of that server."""
    async with AsyncClient(address) as made:
        yield made


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """A public data set's file, or the test is skipped."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"the public data set ../shared/data/{name} is absent")
        return path

    return find
