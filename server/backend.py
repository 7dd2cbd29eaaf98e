"""The backend: the log, the snapshots and the bounds that the configuration asks for."""

from __future__ import annotations

from pathlib import Path

from nextbest.server.config import Config
from nextbest.server.log.limits import Limits
from nextbest.server.log.log import Log
from nextbest.server.log.network import network
from nextbest.server.log.place import DATABASE, SNAPSHOTS, Place, parse
from nextbest.server.log.redis import RedisLog
from nextbest.server.log.sqlite import SqliteLog

MEMORY = "memory:"
# A disk may pause longer than a network, and nobody else has the log.
SQLITE_ANSWER_MS = 1_000


def place_of(config: Config) -> Place:
    """Where the log is."""
    folder = config.data.folder
    default = f"sqlite:{Path(folder) / DATABASE}" if folder else MEMORY
    return parse(config.log.place or default)


def snapshots_folder(config: Config) -> Path | None:
    """Where snapshots are; None where none are taken."""
    if config.data.folder:
        return Path(config.data.folder) / SNAPSHOTS
    place = place_of(config)
    return Path(place.path).with_name(SNAPSHOTS) if place.kind == "sqlite" else None


def make_log(place: Place, config: Config) -> Log:
    """The log at a place that has one.  Raises LogPlaceError."""
    if place.kind == "sqlite":
        return SqliteLog(place.path, config.log)
    return RedisLog(network(place, config.log), config.log)


def limits(config: Config) -> Limits:
    """What a node may take, as it is configured."""
    log = config.log
    usual_ms = SQLITE_ANSWER_MS if place_of(config).kind == "sqlite" else Limits().answer_ms
    return Limits(
        answer_ms=log.answer_ms or usual_ms,
        retain_ms=log.retained_ms,
        retain_bytes_max=log.retained_bytes_max,
        skew_ms_max=log.skew_ms_max,
        consent_lease_ms=log.consent_lease_ms,
        member_ms=log.member_ms,
        snapshot_ms=log.snapshot_ms,
        dedupe_span_ms=log.dedupe_span_ms,
        dedupe_max=config.engine.dedupe_max,
    )
