"""What a log holds, read back and counted."""

from __future__ import annotations

from typing import NamedTuple

from nextbest.server.log.contents import unpack
from nextbest.server.log.log import Log
from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.settings import BackendSettings
from nextbest.server.log.sqlite import SqliteLog
from nextbest.v1 import mutation_pb2


class Held(NamedTuple):
    """Batches of a log, and the events in them."""

    entries: int
    events: int


def client(place: str) -> Log:
    """A client of a log, with the settings that a server has by default."""
    settings = BackendSettings()
    found = parse(place)
    if found.kind == "sqlite":
        return SqliteLog(found.path, settings)
    return RedisLog(network(found, settings), settings)


async def held(log: Log) -> Held:
    """Read a whole log."""
    await log.connect()
    entries = events = 0
    after = (0, 0)
    while found := await log.read(after, 0):
        after = found[-1][:2]
        for record in found:
            contents = unpack(record)
            if contents.kind != "batch":
                continue
            entries += 1
            mutations = mutation_pb2.MutationBatch.FromString(contents.body).mutations
            events += sum(one.HasField("event") for one in mutations)
    await log.close()
    return Held(entries, events)


def require_events(seen: int, acknowledged: int, where: str) -> None:
    """End the run unless a log holds just what was acknowledged."""
    if seen != acknowledged:
        raise SystemExit(f"{where}: {seen:,} events in the log, {acknowledged:,} acknowledged")
