"""Serving: one process, one loop; from the first address bound to the last call answered."""

from __future__ import annotations

import os

# gRPC reads it when it is first imported; nothing here forks after that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from nextbest.core import Engine
from nextbest.core.errors import LogAwayError, LogFailedError, WritesRefusedError
from nextbest.server.address import is_private
from nextbest.server.catalogue import Catalogue
from nextbest.server.clock import now_us
from nextbest.server.compiler import Compiler
from nextbest.server.config import Config
from nextbest.server.errors import DataError
from nextbest.server.keeper import Keeper
from nextbest.server.lane import FastLane
from nextbest.server.listener import require_addresses
from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.overload import Load, OverloadLog
from nextbest.server.playbook import scalars
from nextbest.server.playbook.folder import read_folder
from nextbest.server.playbook.limits import BUCKETS
from nextbest.server.publisher import Publisher
from nextbest.server.record.sink import Sink
from nextbest.server.record.stream import Stream, StreamBounds
from nextbest.server.relief import Relief
from nextbest.server.rpc.admission import Admission
from nextbest.server.rpc.listen import Health, bind, make_server
from nextbest.server.rpc.server import ServerService
from nextbest.server.rpc.waiting import Waiting
from nextbest.server.scheduling import behind, giving_way
from nextbest.server.shadow.shadow import Shadow
from nextbest.server.telemetry import push_settings
from nextbest.server.telemetry.environment import warn_of_tls
from nextbest.server.telemetry.events import settings as event_settings
from nextbest.server.telemetry.events.pseudonym import pseudonyms
from nextbest.server.telemetry.events.settings import EventSettings
from nextbest.server.telemetry.logs import on_loop_error
from nextbest.server.telemetry.push_settings import PushSettings
from nextbest.server.telemetry.slo.objective import parse_all as parse_objectives
from nextbest.server.telemetry.telemetry import Telemetry
from nextbest.server.telemetry.trace import settings as trace_settings
from nextbest.server.telemetry.trace.captured import Captured
from nextbest.server.telemetry.trace.settings import TraceSettings
from nextbest.server.upkeep import Upkeep
from nextbest.v1 import playbook_pb2

if TYPE_CHECKING:
    from nextbest.server.telemetry.events.events import Events
    from nextbest.server.telemetry.push import Push
    from nextbest.server.telemetry.trace.tracing import Tracing

EXIT_FORCED = 130
# Reading a compiled playbook shares the interpreter; a short turn keeps decisions prompt.
SWITCH_INTERVAL_S = 0.000_5

_log = logging.getLogger(__name__)

# How often health is looked at, and whether the folder can be published.
LOOK_S = 0.1

# Told the addresses, those of the fast lane, and the engine.
Announce = Callable[[list[str], list[str], Engine], None]


def announce(addresses: list[str], fast_lanes: list[str], engine: Engine) -> None:
    """Say in the log what is served where."""
    known = f"generation {engine.generation} ({engine.playbook_hash.hex()})"
    playbook = known if engine.generation else "no playbook is active yet"
    fast = f"fast lane on {', '.join(fast_lanes)}, " if fast_lanes else ""
    _log.info("listening on %s, %s%s", ", ".join(addresses), fast, playbook)


def warn_of_others(addresses: Iterable[str]) -> None:
    """Say which addresses are open to more than this host."""
    for address in addresses:
        if not is_private(address):
            _log.warning(
                "listening on %s: other hosts reach it, without TLS or a password; who does may "
                "publish, read and erase",
                address,
            )


def run(config: Config, announce: Announce = announce) -> None:
    """Serve until SIGTERM or SIGINT, drain, return.  A second signal ends the process at once.

    Raises ConfigError, ListenError, LaneError, DataError, FaultyPlaybookError, RecoveryError or
    what the log raises when it cannot start, and LaneError after the drain when a thread of the
    fast lane ended by itself.
    """
    _require_addresses(config)
    warn_of_tls(os.environ)
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
    asyncio.get_running_loop().set_exception_handler(on_loop_error)
    traces = trace_settings.read(os.environ)
    tracing = _tracing(traces, config.telemetry.baggage)
    events = _events(event_settings.read(os.environ), config.telemetry.pseudonym_key_file)
    push = _push(push_settings.read(os.environ))
    with FastLane(config) as lane, behind(lane.threads, config.lane.cpus):
        engine = Engine(
            profiles_max=config.engine.profiles_max,
            dedupe_max=config.engine.dedupe_max,
            tombstones_max=config.engine.tombstones_max,
            generations_max=config.engine.generations_max,
            decisions_max=config.engine.decisions_max,
        )
        engine.attribute((scalars.span_s(config.records.attribution) or 0) * 1_000_000)
        used = compiler or Compiler(config.rpc.compile_ms_max)
        waiting = Waiting(engine)
        admission = Admission(config.overload)
        catalogue = Catalogue(config.engine.generations_max)
        publisher = Publisher(engine, catalogue, used, waiting, config.rpc)
        keeper = Keeper(config, engine, catalogue, publisher)
        captured = Captured(config.telemetry.captured)
        parts = _Parts(
            config,
            engine,
            admission,
            publisher,
            waiting,
            keeper,
            lane,
            stop or _on_signals(),
            captured,
        )
        telemetry = Telemetry(
            engine,
            keeper,
            lane.counters,
            parts.loads,
            lambda: parts.not_ready,
            captured,
            tracing,
            events,
            traces.sampling,
            push,
            parse_objectives(config.slo.objectives),
        )
        try:
            with giving_way():
                telemetry.start(config.telemetry.address)
            if await parts.unless_stopped(_recover(parts)):
                await _serve(parts, telemetry, announce)
        finally:
            await _end(parts, telemetry)
            if used is not compiler:
                used.close()
    _log.info("stopped")
    if parts.failures:
        raise parts.failures[0]
    lane.check()


def _require_addresses(config: Config) -> None:
    """Before anything is opened or recovered: to bring a log back may take minutes."""
    telemetry = config.telemetry.address
    require_addresses(
        {
            "--listen": config.listen.addresses,
            "--fast-lane": config.lane.addresses,
            "--set telemetry.address=": (telemetry,) if telemetry else (),
        }
    )


def _tracing(settings: TraceSettings, baggage: tuple[str, ...]) -> Tracing | None:
    if not settings.exports:
        return None
    # Imported here: the exporters take half a second.
    from nextbest.server.telemetry.trace.tracing import Tracing

    return Tracing(settings, baggage)


def _events(settings: EventSettings, key_file: str) -> Events | None:
    # Read whether or not there are events: a key that cannot be used is told of at once.
    pseudonym = pseudonyms(key_file)
    if not settings.exports:
        return None
    # Imported here as well.
    from nextbest.server.telemetry.events.events import Events

    return Events(settings, pseudonym)


def _push(settings: PushSettings) -> Push | None:
    if not settings.pushes:
        return None
    # Imported here as well.
    from nextbest.server.telemetry.push import Push

    return Push(settings)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a server is made of; `failures` are why it must not go on."""

    config: Config
    engine: Engine
    admission: Admission
    publisher: Publisher
    waiting: Waiting
    keeper: Keeper
    lane: FastLane
    stop: asyncio.Event
    captured: Captured
    failures: list[Exception] = field(default_factory=list)
    # The folder's playbook.
    published: asyncio.Event = field(default_factory=asyncio.Event)
    # Both lanes are open.
    open: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def loads(self) -> dict[str, Callable[[], Load]]:
        """How to ask what each lane takes on."""
        return {"fast": self.lane.overload, "grpc": self.admission.load}

    @property
    def not_ready(self) -> str:
        """Why calls are not welcome; "" when they are."""
        if self.stop.is_set():
            return "the server stops"
        if self.open.is_set() and self.keeper.serving:
            return ""
        if not self.engine.generation:
            return "no playbook is active yet"
        return "the log is away" if self.open.is_set() else "it starts"

    def failed(self, error: Exception) -> None:
        """Drain, and raise the error then."""
        _log.error("%s; the server stops", error)
        self.failures.append(error)
        self.stop.set()

    async def unless_stopped(self, work: Coroutine[None, None, None]) -> bool:
        """Do something to its end, or until a stop is wanted; False then."""
        working = asyncio.create_task(work)
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
            return working.done() and not self.failures
        finally:
            for task in (working, stopped):
                task.cancel()
            await asyncio.gather(working, stopped, return_exceptions=True)


async def _recover(parts: _Parts) -> None:
    """Bring back what was kept, and publish the folder."""
    await parts.keeper.start(parts.failed)
    if parts.keeper.writable:
        await _publish_first(parts)


async def _serve(parts: _Parts, telemetry: Telemetry, announce: Announce) -> None:
    config, engine, lane = parts.config, parts.engine, parts.lane
    health = Health()
    about = ServerService(engine, config.rpc.request_bytes_max)
    # Before anybody is served: the first decision is recorded, too.
    sink = _sink(parts)
    if sink is not None and sink.stream is not None:
        telemetry.follow(sink.stream.counts)
    shadow = Shadow(engine, parts.publisher, config.shadow)
    telemetry.overlook(shadow)
    with giving_way():
        server = make_server(
            engine,
            parts.admission,
            parts.publisher,
            parts.waiting,
            parts.keeper,
            config,
            health,
            about,
            parts.captured,
            telemetry,
            shadow,
        )
        lane.listen()
        about.fast_lanes = lane.addresses
        about.addresses = [bind(server, address) for address in config.listen.addresses]
        await server.start()
    warn_of_others(about.addresses)
    lane.start(engine, about.addresses[0], parts.stop.set)
    await _tell(parts, health, parts.keeper.serving)
    parts.open.set()
    leads = None if parts.keeper.node is None else parts.keeper.leads
    upkeep = Upkeep(engine, config.retention, config.engine.dedupe_max, leads)
    tasks = [
        asyncio.create_task(upkeep.run()),
        asyncio.create_task(parts.admission.run(about.addresses[0])),
        asyncio.create_task(_watch(parts, health)),
        asyncio.create_task(_publish_later(parts)),
        asyncio.create_task(shadow.run()),
        asyncio.create_task(OverloadLog(parts.loads).run()),
    ]
    if config.overload.enabled and config.overload.degrade_on_burn:
        lanes = (lane.leave_at_least, parts.admission.leave_at_least)
        tasks.append(asyncio.create_task(Relief(telemetry.slos.burning, lanes).run()))
    if sink is not None:
        tasks.append(asyncio.create_task(sink.run()))
    announce(about.addresses, about.fast_lanes, engine)
    try:
        await parts.stop.wait()
        _log.info("draining")
        lane.set_serving(False)
        await health.leaving()
        await asyncio.sleep(config.listen.drain_delay_ms / 1_000)
    finally:
        grace_ms = config.listen.drain_grace_ms
        await asyncio.gather(server.stop(grace_ms / 1_000), lane.drain(grace_ms))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end(parts: _Parts, telemetry: Telemetry) -> None:
    """Let go of the log, and tell the last of telemetry."""
    # What the log lacks goes first: a receiver of telemetry may be away, which takes seconds.
    await parts.keeper.stop(parts.config.listen.drain_grace_ms / 1_000)
    await telemetry.stop()
    parts.waiting.close()


def _sink(parts: _Parts) -> Sink | None:
    """The sink of decision records, which are kept from here on; raises DataError."""
    config = parts.config.records
    share = scalars.share(config.share)
    if not share:
        return None
    folder = Path(config.folder or Path(parts.config.data.folder) / "records")
    published = parts.publisher.publications
    stream = _stream(parts.config)
    sink = Sink(parts.engine, folder, config.file_bytes_max, config.files_max, published, stream)
    try:
        sink.open(share / BUCKETS, config.buffer_bytes, config.explored)
    except OSError as error:
        raise DataError(f"records.folder: {error}") from error
    return sink


def _stream(config: Config) -> Stream | None:
    """The stream that takes decision records besides; raises LogPlaceError."""
    records = config.records
    if not records.stream:
        return None
    bounds = StreamBounds(
        records.stream_key,
        records.stream_entries_max,
        records.buffer_bytes,
        config.log.timeout_ms,
        config.engine.generations_max,
    )
    return Stream(network(parse(records.stream), config.log), bounds)


async def _watch(parts: _Parts, health: Health) -> None:
    """Have both lanes' health say whether decisions are fresh enough."""
    before = parts.keeper.serving
    while not parts.stop.is_set():
        await asyncio.sleep(LOOK_S)
        if (serving := parts.keeper.serving) != before and not parts.stop.is_set():
            before = serving
            _log.warning("health: %s", "SERVING" if serving else "NOT_SERVING: the log is away")
            await _tell(parts, health, serving)


async def _tell(parts: _Parts, health: Health, serving: bool) -> None:
    await health.tell(serving)
    parts.lane.set_serving(serving)


async def _publish_later(parts: _Parts) -> None:
    """Where the log was not there at the start: publish the folder once it is."""
    try:
        while not parts.published.is_set():
            await asyncio.sleep(LOOK_S)
            if parts.keeper.writable:
                await _try_to_publish(parts)
    except Exception as error:
        parts.failed(error)


async def _publish_first(parts: _Parts) -> None:
    """Publish the folder before anybody is served, where the log lets it be in time."""
    end_s = asyncio.get_running_loop().time() + parts.config.log.start_ms / 1_000
    await _try_to_publish(parts)
    while not parts.published.is_set() and asyncio.get_running_loop().time() < end_s:
        if parts.keeper.away:
            return
        await asyncio.sleep(LOOK_S)
        await _try_to_publish(parts)


async def _try_to_publish(parts: _Parts) -> None:
    try:
        await _publish_folder(parts)
        parts.published.set()
    except (LogAwayError, LogFailedError, WritesRefusedError) as error:
        _log.warning("the folder is not published yet: %s", error)


async def _publish_folder(parts: _Parts) -> None:
    """Publish the folder unless the active playbook is the same."""
    folder = parts.config.data.playbook
    if not folder:
        return
    files = await asyncio.to_thread(read_folder, Path(folder))
    compiled = await parts.publisher.validate(files)
    if compiled.hash and compiled.hash == parts.engine.playbook_hash:
        return
    request = playbook_pb2.PublishPlaybookRequest(
        write_id=f"start-{now_us()}",
        description=f"published at the start from {Path(folder).name}",
        files=[playbook_pb2.PlaybookFile(path=p, content=c) for p, c in files.items()],
    )
    await parts.publisher.publish(request)


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
