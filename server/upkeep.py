"""Upkeep: what the engine needs done between calls, in slices that never hold the loop long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from nextbest.server.clock import now_us
from nextbest.server.config import Retention

if TYPE_CHECKING:
    from nextbest.core import Engine

RELAY_ROWS = 500
RELAY_PAUSE_S = 0.001
IDLE_S = 0.05
DAY_US = 86_400_000_000
# Identities that one mutation expires, and how long the log has for it.
EXPIRED_MAX = 500
EXPIRE_PAUSE_S = 0.005
DEDUPE_HIGH = 0.9
DEDUPE_LOW = 0.75
SPAN_MS_MAX = 30 * 86_400_000
SPAN_MS_MIN = 60_000

_log = logging.getLogger(__name__)


class Upkeep:
    """Re-lays rows after a schema change, expires identities and bounds the event ids.

    With a log, `leads` says whether this node is the one that expires identities for all; the
    horizon is then the log's.
    """

    def __init__(
        self,
        engine: Engine,
        retention: Retention,
        dedupe_max: int,
        leads: Callable[[], bool] | None = None,
    ) -> None:
        self._engine = engine
        self._retention = retention
        self._dedupe_max = dedupe_max
        self._leads = leads

    async def run(self) -> None:
        """Work until cancelled."""
        relay = asyncio.create_task(self._relay())
        try:
            while True:
                await asyncio.sleep(self._retention.interval_ms / 1_000)
                await self._step(now_us())
        finally:
            relay.cancel()

    def expire(self, now: int) -> int:
        """Remove what no retention keeps; gives how many identities."""
        return sum(self._engine.expire(kind, before) for kind, before in self._kept(now))

    async def expire_for_all(self, now: int) -> int:
        """As `expire`, by erasures that go through the log."""
        expired = 0
        for kind, before in self._kept(now):
            cursor = 0
            while cursor >= 0:
                found, cursor = self._engine.store.stale(kind, before, cursor, EXPIRED_MAX)
                for start in range(0, len(found), EXPIRED_MAX):
                    some = found[start : start + EXPIRED_MAX]
                    self._engine.expire_identities(kind, some, now_us())
                    await asyncio.sleep(EXPIRE_PAUSE_S)
                expired += len(found)
        return expired

    def _kept(self, now: int) -> list[tuple[int, int]]:
        """The kinds of identities that expire, and the time before which they do."""
        days = (
            (1, self._retention.known_days),
            (2, self._retention.anonymous_days),
            (3, self._retention.alias_days),
        )
        return [(kind, now - kept * DAY_US) for kind, kept in days if kept]

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

    async def _step(self, now: int) -> None:
        try:
            if self._leads is None:
                expired = self.expire(now)
                self._bound_dedupe_loudly(now)
            else:
                expired = await self.expire_for_all(now) if self._leads() else 0
            if expired:
                _log.info("%d identities expired", expired)
        except Exception:
            _log.exception("upkeep failed; it is tried again")

    def _bound_dedupe_loudly(self, now: int) -> None:
        if span_ms := self.bound_dedupe(now):
            _log.warning(
                "event ids older than %d s are forgotten: raise dedupe_max, or send events sooner",
                span_ms // 1_000,
            )

    async def _relay(self) -> None:
        while True:
            waiting = self._engine.relay(RELAY_ROWS) if self._engine.generation else 0
            await asyncio.sleep(RELAY_PAUSE_S if waiting else IDLE_S)
