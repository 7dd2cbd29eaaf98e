"""Serving: one process, one loop; from the first address bound to the last call answered."""

from __future__ import annotations

import os

# gRPC reads it when it is first imported; nothing here forks after that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import uvloop

from nextbest.core import Engine
from nextbest.server.archive import Archive
from nextbest.server.compiler import Compiler
from nextbest.server.config import Config
from nextbest.server.playbook.folder import read_folder
from nextbest.server.publisher import Publisher
from nextbest.server.rpc.clock import now_us
from nextbest.server.rpc.listen import Health, bind, make_server
from nextbest.server.scheduling import giving_way
from nextbest.server.upkeep import Upkeep
from nextbest.v1 import playbook_pb2

EXIT_FORCED = 130
# Reading a compiled playbook shares the interpreter; a short turn keeps decisions prompt.
SWITCH_INTERVAL_S = 0.000_5

_log = logging.getLogger(__name__)

Announce = Callable[[list[str], Engine], None]


def announce(addresses: list[str], engine: Engine) -> None:
    """Say in the log what is served where."""
    known = f"generation {engine.generation} ({engine.playbook_hash.hex()})"
    playbook = known if engine.generation else "no playbook yet: publish one"
    _log.info("listening on %s, %s", ", ".join(addresses), playbook)


def run(config: Config, announce: Announce = announce) -> None:
    """Serve until SIGTERM or SIGINT, drain, return.  A second signal ends the process at once.

    Raises ListenError, ArchiveError or FaultyPlaybookError when it cannot start.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(serve(config, announce))


async def serve(
    config: Config,
    announce: Announce = announce,
    stop: asyncio.Event | None = None,
    compiler: Compiler | None = None,
) -> None:
    """Serve on the running loop until `stop` is set or a signal comes.

    Servers of one process may share a `compiler`, which their caller closes.
    """
    engine = Engine(
        profiles_max=config.engine.profiles_max,
        dedupe_max=config.engine.dedupe_max,
        generations_max=config.engine.generations_max,
        decisions_max=config.engine.decisions_max,
    )
    archive = Archive(Path(config.data.folder)) if config.data.folder else None
    used = compiler or Compiler(config.rpc.compile_ms_max)
    publisher = Publisher(engine, archive, used, config.rpc)
    stop = stop or _on_signals()
    try:
        await publisher.restore()
        await _publish_folder(publisher, engine, config.data.playbook)
        await _serve(engine, publisher, config, announce, stop)
    finally:
        if used is not compiler:
            used.close()


async def _serve(
    engine: Engine, publisher: Publisher, config: Config, announce: Announce, stop: asyncio.Event
) -> None:
    health = Health()
    with giving_way():
        server = make_server(engine, publisher, config, health)
        addresses = [bind(server, address) for address in config.listen.addresses]
        await server.start()
    await health.serving()
    upkeep = Upkeep(engine, config.retention, config.engine.dedupe_max)
    task = asyncio.create_task(upkeep.run())
    announce(addresses, engine)
    try:
        await stop.wait()
        _log.info("draining")
        await health.leaving()
        await asyncio.sleep(config.listen.drain_delay_ms / 1_000)
    finally:
        await server.stop(config.listen.drain_grace_ms / 1_000)
        task.cancel()
    _log.info("stopped")


async def _publish_folder(publisher: Publisher, engine: Engine, folder: str) -> None:
    """Publish the folder unless the active playbook is the same."""
    if not folder:
        return
    files = read_folder(Path(folder))
    compiled = await publisher.validate(files)
    if compiled.hash and compiled.hash == engine.playbook_hash:
        return
    request = playbook_pb2.PublishPlaybookRequest(
        write_id=f"start-{now_us()}",
        description=f"published at the start from {Path(folder).name}",
        files=[playbook_pb2.PlaybookFile(path=p, content=c) for p, c in files.items()],
    )
    await publisher.publish(request)


def _on_signals() -> asyncio.Event:
    """Set on the first SIGTERM or SIGINT; the second one ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def received() -> None:
        if stop.is_set():
            os._exit(EXIT_FORCED)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    return stop
