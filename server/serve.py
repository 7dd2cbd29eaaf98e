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
from nextbest.server.lane import FastLane
from nextbest.server.playbook.folder import read_folder
from nextbest.server.publisher import Publisher
from nextbest.server.rpc.clock import now_us
from nextbest.server.rpc.listen import Health, bind, make_server
from nextbest.server.rpc.server import ServerService
from nextbest.server.rpc.waiting import Waiting
from nextbest.server.scheduling import behind, giving_way
from nextbest.server.upkeep import Upkeep
from nextbest.v1 import playbook_pb2

EXIT_FORCED = 130
# Reading a compiled playbook shares the interpreter; a short turn keeps decisions prompt.
SWITCH_INTERVAL_S = 0.000_5

_log = logging.getLogger(__name__)

# Told the addresses, those of the fast lane, and the engine.
Announce = Callable[[list[str], list[str], Engine], None]


def announce(addresses: list[str], fast_lanes: list[str], engine: Engine) -> None:
    """Say in the log what is served where."""
    known = f"generation {engine.generation} ({engine.playbook_hash.hex()})"
    playbook = known if engine.generation else "no playbook yet: publish one"
    fast = f"fast lane on {', '.join(fast_lanes)}, " if fast_lanes else ""
    _log.info("listening on %s, %s%s", ", ".join(addresses), fast, playbook)


def run(config: Config, announce: Announce = announce) -> None:
    """Serve until SIGTERM or SIGINT, drain, return.  A second signal ends the process at once.

    Raises ListenError, LaneError, ArchiveError or FaultyPlaybookError when it cannot start, and
    LaneError after the drain when a thread of the fast lane ended by itself.
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
    with FastLane(config) as lane, behind(lane.threads, config.lane.cpus):
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
            await _serve(engine, publisher, lane, config, announce, stop)
        finally:
            if used is not compiler:
                used.close()
    lane.check()


async def _serve(
    engine: Engine,
    publisher: Publisher,
    lane: FastLane,
    config: Config,
    announce: Announce,
    stop: asyncio.Event,
) -> None:
    health = Health()
    about = ServerService(engine, config.rpc.request_bytes_max)
    waiting = Waiting(engine)
    with giving_way():
        server = make_server(engine, publisher, waiting, config, health, about)
        lane.listen()
        about.fast_lanes = lane.addresses
        about.addresses = [bind(server, address) for address in config.listen.addresses]
        await server.start()
    lane.start(engine, about.addresses[0], stop.set)
    await health.serving()
    lane.set_serving(True)
    upkeep = Upkeep(engine, config.retention, config.engine.dedupe_max)
    task = asyncio.create_task(upkeep.run())
    announce(about.addresses, about.fast_lanes, engine)
    try:
        await stop.wait()
        _log.info("draining")
        lane.set_serving(False)
        await health.leaving()
        await asyncio.sleep(config.listen.drain_delay_ms / 1_000)
    finally:
        grace_ms = config.listen.drain_grace_ms
        await asyncio.gather(server.stop(grace_ms / 1_000), lane.drain(grace_ms))
        waiting.close()
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
