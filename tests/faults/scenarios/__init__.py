"""Scenarios by name: each breaks something under load and says what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.faults.scenarios.disk import (
    snapshot_broken,
    snapshot_full,
    sqlite_broken,
    sqlite_full,
    sqlite_read_only,
)
from tests.faults.scenarios.node import node_kill, node_pause, node_restart
from tests.faults.scenarios.redis import (
    master_kill,
    master_pause,
    redis_away,
    redis_deaf,
    redis_flushed,
    redis_full,
    redis_slow,
    redis_wiped,
)
from tests.faults.scenarios.soak import soak
from tests.faults.scenarios.split import split_master, split_node, split_replica, split_sentinels
from tests.faults.stage import Options, Result

Scenario = Callable[[Options], Awaitable[Result]]

SCENARIOS: dict[str, Scenario] = {
    "node-kill": node_kill,
    "node-restart": node_restart,
    "node-pause": node_pause,
    "master-kill": master_kill,
    "master-pause": master_pause,
    "split-master": split_master,
    "split-replica": split_replica,
    "split-node": split_node,
    "split-sentinels": split_sentinels,
    "redis-away": redis_away,
    "redis-wiped": redis_wiped,
    "redis-flushed": redis_flushed,
    "redis-deaf": redis_deaf,
    "redis-full": redis_full,
    "redis-slow": redis_slow,
    "sqlite-full": sqlite_full,
    "sqlite-broken": sqlite_broken,
    "sqlite-read-only": sqlite_read_only,
    "snapshot-full": snapshot_full,
    "snapshot-broken": snapshot_broken,
    "soak": soak,
}
