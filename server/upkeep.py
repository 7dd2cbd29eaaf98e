"""Upkeep: what the engine needs done between calls, in slices that never hold the loop long."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from nextbest.server.config import Retention
from nextbest.server.rpc.clock import now_us

if TYPE_CHECKING:
    from nextbest.core import Engine

RELAY_ROWS = 500
RELAY_PAUSE_S = 0.001
IDLE_S = 0.05
DAY_US = 86_400_000_000
DEDUPE_HIGH = 0.9
DEDUPE_LOW = 0.75
SPAN_MS_MAX = 30 * 86_400_000
SPAN_MS_MIN = 60_000

_log = logging.getLogger(__name__)


class Upkeep:
    """Re-lays rows after a schema change, expires identities and bounds the event ids."""

    def __init__(self, engine: Engine, retention: Retention, dedupe_max: int) -> None:
        self._engine = engine
        self._retention = retention
        self._dedupe_max = dedupe_max

    async def run(self) -> None:
        """Work until cancelled."""
        relay = asyncio.create_task(self._relay())
        try:
            while True:
                await asyncio.sleep(self._retention.interval_ms / 1_000)
                self._step(now_us())
        finally:
            relay.cancel()

    def expire(self, now: int) -> int:
        """Remove what no retention keeps; gives how many identities."""
        days = (
            (1, self._retention.known_days),
            (2, self._retention.anonymous_days),
            (3, self._retention.alias_days),
        )
        return sum(self._engine.expire(k, now - kept * DAY_US) for k, kept in days if kept)

    def bound_dedupe(self, now: int) -> int:
        """Forget the oldest event ids when nearly full; gives the span kept in ms, or 0.

        The span is halved until enough has gone, so that it stays as long as fits.
        """
        if self._remembered() < self._dedupe_max * DEDUPE_HIGH:
            return 0
        span_ms = SPAN_MS_MAX
        while span_ms > SPAN_MS_MIN and self._remembered() >= self._dedupe_max * DEDUPE_LOW:
            span_ms //= 2
            self._engine.horizon(now // 1_000 - span_ms)
        return span_ms

    def _remembered(self) -> int:
        return self._engine.store.remembered

    def _step(self, now: int) -> None:
        try:
            if expired := self.expire(now):
                _log.info("%d identities expired", expired)
            if span_ms := self.bound_dedupe(now):
                _log.warning(
                    "event ids older than %d s are forgotten: raise dedupe_max, or send "
                    "events sooner",
                    span_ms // 1_000,
                )
        except Exception:
            _log.exception("upkeep failed; it is tried again")

    async def _relay(self) -> None:
        while True:
            waiting = self._engine.relay(RELAY_ROWS) if self._engine.generation else 0
            await asyncio.sleep(RELAY_PAUSE_S if waiting else IDLE_S)
