"""Which channel a call takes: the hot ones the server's fast lane, all others the target."""

from __future__ import annotations

import threading
import time
from typing import Any

import grpc

from nextbest.client.channel import lane_options, options
from nextbest.client.lane import LANES_MAX, LOOK_S, Calls, Found, Pace, elsewhere, look


class _Choice:
    """What both routes remember: the channels, and which of them calls take now.

    A channel that calls may run on is closed at the end only.
    """

    def __init__(self, target: str, fast_lane: bool) -> None:
        self._target = target
        self._main = self._hot = self.control = self._open(target, options())
        self._lanes: dict[str, Calls] = {}
        self._pace = Pace(fast_lane)
        self._looking = threading.Lock()

    @property
    def lane(self) -> str:
        """The address of the lane in use, or ""."""
        return next((a for a, calls in self._lanes.items() if calls is self._hot), "")

    def lost(self, used: Calls, error: Any) -> bool:
        """Whether a hot call that failed may be made again, which then takes the target."""
        if used is self._main or error.code() is not grpc.StatusCode.UNAVAILABLE:
            return False
        if self._hot is used:
            self._hot = self._main
            self._pace.missed()
        return True

    def follow(self, used: Calls, error: Any) -> bool:
        """Whether the target is a lane that names, within reach, who serves the other calls."""
        if used is not self._main:
            return False
        if self.control is self._main and (address := elsewhere(self._target, error)):
            self.control = self._open(address, options())
        return self.control is not self._main

    def _open(self, target: str, given: list[tuple[str, Any]]) -> Calls:
        raise NotImplementedError

    def _open_lane(self, address: str) -> Calls:
        return self._lanes.get(address) or self._open(address, lane_options())

    def _take(self, found: Found) -> list[Calls]:
        """Use what a look found; gives the channels that nothing uses."""
        unused = [calls for calls in found.refused if calls not in self._lanes.values()]
        if found.elsewhere:
            # The target is the lane itself.
            self.control = self._open(found.elsewhere, options())
            self._pace.never()
        elif found.lane is None:
            self._pace.missed()
        elif found.address in self._lanes or len(self._lanes) < LANES_MAX:
            self._lanes[found.address] = self._hot = found.lane
            self._pace.found()
        else:
            unused.append(found.lane)
            self._pace.never()
        return unused

    def _opened(self) -> set[Calls]:
        return {self._main, self.control, *self._lanes.values()}


class Route(_Choice):
    """The route of a Client, shared by its threads."""

    def hot(self, timeout: float) -> Calls:
        """For Decide, DecideBatch and Track; may look for the lane first."""
        # One thread looks, the others go on.
        if self._hot is self._main and self._pace.due() and self._looking.acquire(blocking=False):
            try:
                self._look(min(LOOK_S, timeout / 2))
            finally:
                self._looking.release()
        return self._hot

    def close(self) -> None:
        """Close all channels; calls in flight end."""
        for calls in self._opened():
            calls.channel.close()

    def _open(self, target: str, given: list[tuple[str, Any]]) -> Calls:
        return Calls(grpc.insecure_channel(target, given))

    def _look(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        steps = look(self._target, self._main, self._open_lane)
        answer: Any = None
        while True:
            try:
                method, message = steps.send(answer)
            except StopIteration as stop:
                found = stop.value
                break
            try:
                answer = method(message, timeout=max(0.0, end - time.monotonic()))
            except grpc.RpcError as error:
                answer = error
        for calls in self._take(found):
            calls.channel.close()


class AsyncRoute(_Choice):
    """The route of an AsyncClient."""

    async def hot(self, timeout: float) -> Calls:
        """For Decide, DecideBatch and Track; may look for the lane first."""
        if self._hot is self._main and self._pace.due() and self._looking.acquire(blocking=False):
            try:
                await self._look(min(LOOK_S, timeout / 2))
            finally:
                self._looking.release()
        return self._hot

    async def close(self) -> None:
        """Close all channels; calls in flight end."""
        for calls in self._opened():
            await calls.channel.close(None)

    def _open(self, target: str, given: list[tuple[str, Any]]) -> Calls:
        return Calls(grpc.aio.insecure_channel(target, given))

    async def _look(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        steps = look(self._target, self._main, self._open_lane)
        answer: Any = None
        while True:
            try:
                method, message = steps.send(answer)
            except StopIteration as stop:
                found = stop.value
                break
            try:
                answer = await method(message, timeout=max(0.0, end - time.monotonic()))
            except grpc.aio.AioRpcError as error:
                answer = error
        for calls in self._take(found):
            await calls.channel.close(None)
