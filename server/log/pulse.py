"""The pulse: once a second the clock is compared, a heartbeat appended, and the lease looked at."""

from __future__ import annotations

import asyncio

from nextbest.server.log.budgets import Budgets
from nextbest.server.log.contents import position_message
from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.cover import Cover, Snapshots
from nextbest.server.log.entry import READS
from nextbest.server.log.leases import Leases
from nextbest.server.log.log import BEFORE, Position
from nextbest.server.log.notes import Notes
from nextbest.v1 import log_pb2


class Pulse:
    """A member's sign of life; WAIT on it tells what is committed."""

    def __init__(
        self,
        context: Context,
        coordinator: Coordinator,
        notes: Notes,
        cover: Cover,
        snapshots: Snapshots | None,
        leases: Leases,
        budgets: Budgets,
    ) -> None:
        self._context = context
        self._coordinator = coordinator
        self._notes = notes
        self._cover = cover
        self._snapshots = snapshots
        self._leases = leases
        self._budgets = budgets
        self._early = asyncio.Event()
        self._beating = asyncio.Lock()
        # The log's clock when it was last asked.
        self._there_ms = 0
        # What was accepted here before this entry was applied is safe.
        self._settled = BEFORE

    async def settle(self) -> None:
        """See again and again how far all that was accepted here is safe, until cancelled."""
        while True:
            self._settled = await self._cover.settled()
            await asyncio.sleep(self._context.limits.pulse_ms / 1_000)

    async def run(self) -> None:
        """Beat until cancelled, or until the log has to be connected to again."""
        loop = asyncio.get_running_loop()
        self._coordinator.follow(loop.time())
        while True:
            await self.compare_clocks()
            await self.beat()
            await self._coordinator.work(loop.time())
            await self._rest()

    async def answer(self) -> None:
        """Beat at once when somebody waits for it, until cancelled."""
        leases = self._leases
        while True:
            await leases.due.wait()
            leases.due.clear()
            asks, leases.asks = leases.asks, False
            await self.beat(asks)
            # Whatever comes meanwhile has one beat together.
            await asyncio.sleep(self._context.limits.consent_look_ms / 1_000)

    def soon(self) -> None:
        """Beat before it is time: something new is to be told, or to be known as safe."""
        self._early.set()

    async def _rest(self) -> None:
        limits = self._context.limits
        # Two may be late before the lease of the one before them runs out.
        pause_ms = min(limits.pulse_ms, limits.consent_lease_ms / 3)
        await asyncio.sleep(min(limits.early_ms, pause_ms) / 1_000)
        try:
            async with asyncio.timeout((pause_ms - limits.early_ms) / 1_000):
                await self._early.wait()
        except TimeoutError:
            pass
        self._early.clear()

    async def compare_clocks(self) -> None:
        """Refuse writes while the clocks differ by more than a write's stamp may."""
        context = self._context
        asked_us = context.now_us()
        self._there_ms = await context.log.time_ms()
        there_us = self._there_ms * 1_000
        answered_us = context.now_us()
        # The log read its clock somewhere between the two.
        off_us = max(asked_us - there_us, there_us - answered_us, 0)
        if off_us > context.limits.skew_ms_max * 1_000:
            seen_ms = off_us // 1_000
            allowed_ms = context.limits.skew_ms_max
            context.standing.set(
                "skewed", f"clock: {seen_ms} ms from the log's, allowed: {allowed_ms}"
            )
        else:
            context.standing.clear("skewed")

    async def beat(self, asks: bool = False) -> None:
        """Append one heartbeat, once clocks were compared; notes a full log.

        asks: for everybody else's at once.

        Raises what says that the log takes nothing.
        """
        # What one tells, the next one leaves out: it is made when the one before is in the log.
        async with self._beating:
            if not await self._notes.append(heartbeat=self._heartbeat(asks)):
                self._budgets.tell_again()

    def _heartbeat(self, asks: bool) -> log_pb2.Heartbeat:
        context = self._context
        return log_pb2.Heartbeat(
            member=context.member,
            position=position_message(context.here),
            snapshot=position_message(self.snapshot),
            format=READS,
            # By its own clock, if that is wrong, a member could seem to be long gone.
            now_ms=self._there_ms,
            address=context.address,
            process=context.process,
            settled=position_message(self._settled),
            lease_ms=context.limits.consent_lease_ms,
            asks=asks,
            budgets=self._budgets.reports(),
        )

    @property
    def snapshot(self) -> Position:
        """How far the newest durable snapshot covers the log."""
        return self._snapshots.newest if self._snapshots else BEFORE
