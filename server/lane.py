"""The fast lane: its addresses and its native threads, from their start to the last call."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nextbest.core import LANE_MISSING, lane_available
from nextbest.core.lane.settings import LaneBounds, LaneSettings, OverloadBounds
from nextbest.server.address import unix_path
from nextbest.server.config import Config, Lane
from nextbest.server.errors import ConfigError, LaneError
from nextbest.server.listener import Listener, listen_tcp, listen_unix
from nextbest.server.overload import Load
from nextbest.server.scheduling import pin

if TYPE_CHECKING:
    from nextbest.core import Engine
    from nextbest.core.lane_native import Lane as Native

# A thread that drains ends within the grace; one that does not is stopped after this.
LATE_S = 1.0
STOP_S = 5.0

# Why the lane refuses a call for overload.
QUEUE_DELAY = "queue_delay"

_log = logging.getLogger(__name__)


class FastLane:
    """The threads of the lane, none when it has no address.

    They start parked when the `with` is entered, so that what starts later can be placed
    behind them, and serve from `start` to `drain`.  One that ends before is an error, which
    `check` raises.
    """

    def __init__(self, config: Config) -> None:
        self._config = config.lane
        self._settings = settings(config)
        self._threads: list[threading.Thread] = []
        self._work: list[SimpleQueue[Native | None]] = []
        self._natives: list[Native] = []
        self._listeners: list[Listener] = []
        self._running = 0
        self._draining = False
        self._failure: LaneError | None = None
        self._ended = asyncio.Event()
        self._on_failure: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        if not self._config.addresses:
            return self
        _require_library()
        _require_cpus(self._config.cpus)
        for index in range(self._config.thread_count):
            self._work.append(SimpleQueue())
            thread = threading.Thread(
                target=self._run, args=(index,), name=f"lane-{index}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
            self._running += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._draining = True
        for native in self._natives:
            native.stop()
        for work in self._work:
            work.put(None)
        for thread in self._threads:
            thread.join(STOP_S)
            if thread.is_alive():
                _log.error("%s did not stop in %g s", thread.name, STOP_S)
        for listener in self._listeners:
            listener.close()

    @property
    def threads(self) -> tuple[int, ...]:
        """The native ids of the threads."""
        return tuple(t.native_id for t in self._threads if t.native_id is not None)

    @property
    def addresses(self) -> list[str]:
        """Where it listens, with real ports."""
        return [listener.address for listener in self._listeners]

    def listen(self) -> None:
        """Open the sockets; raise ListenError.  Calls wait in them for `start`."""
        for address in self._config.addresses:
            self._listeners.append(_listen(address, self._config))

    def start(self, engine: Engine, elsewhere: str, on_failure: Callable[[], None]) -> None:
        """Serve.  `elsewhere` serves the other calls; `on_failure` is called on the loop."""
        self._on_failure = on_failure
        for index, work in enumerate(self._work):
            descriptors = [listener.descriptor(index) for listener in self._listeners]
            native = _native(engine, descriptors, self._settings, elsewhere)
            self._natives.append(native)
            work.put(native)

    def set_serving(self, serving: bool) -> None:
        """What the lane's health check answers."""
        for native in self._natives:
            native.set_serving(serving)

    def leave_at_least(self, level: int) -> None:
        """Leave out what that level does, 0 to 2, whether calls wait or not."""
        for native in self._natives:
            native.leave_at_least(level)

    async def drain(self, grace_ms: int) -> None:
        """Tell clients to go, let calls in flight end within the grace, and stop."""
        self._draining = True
        if not self._natives:
            return
        for native in self._natives:
            native.drain(grace_ms)
        try:
            await asyncio.wait_for(self._ended.wait(), grace_ms / 1_000 + LATE_S)
        except TimeoutError:
            _log.error("the fast lane did not drain within %d ms", grace_ms)
        _log.info("fast lane: %s", _in_words(self.counters()))

    def counters(self) -> Mapping[str, int]:
        """What was counted so far, by name, summed over the threads."""
        total: Counter[str] = Counter()
        for native in self._natives:
            total.update(native.counters())
        return total

    def overload(self) -> Load:
        """What the threads take on now, and what they have refused; any thread may ask."""
        found = [native.overload() for native in self._natives]
        sheds: Counter[tuple[str, str]] = Counter()
        for one in found:
            sheds.update({(method, QUEUE_DELAY): count for method, count in one.sheds.items()})
        return Load(max((one.level for one in found), default=0), sheds)

    def check(self) -> None:
        """Raise LaneError when a thread ended by itself."""
        if self._failure is not None:
            raise self._failure

    def _run(self, index: int) -> None:
        """One thread's life: wait for what to serve, serve it, say that it ended."""
        try:
            pin(self._config.cpus_of(index))
            native = self._work[index].get()
            if native is not None:
                native.run()
        except Exception:
            _log.exception("thread %d of the fast lane failed", index)
        # The loop is gone when a start failed and nobody waits for the threads.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._thread_ended, index)

    def _thread_ended(self, index: int) -> None:
        self._running -= 1
        if not self._running:
            self._ended.set()
        if not self._draining:
            self._failure = LaneError(f"thread {index} of the fast lane ended by itself")
            _log.error("%s; the server stops", self._failure)
            self._on_failure()


def settings(config: Config) -> LaneSettings:
    """The lane's own bounds; a message may be as large as over the other lane."""
    values = {f.name: getattr(config.lane, f.name) for f in dataclasses.fields(LaneBounds)}
    overload = {
        f.name: getattr(config.overload, f.name) for f in dataclasses.fields(OverloadBounds)
    }
    return LaneSettings(
        message_bytes_max=config.rpc.request_bytes_max,
        overload=OverloadBounds(**overload),
        **values,
    )


def _native(
    engine: Engine, descriptors: Sequence[int], bounds: LaneSettings, elsewhere: str
) -> Native:
    # Imported here: without libnghttp2 it was not built.
    from nextbest.core.lane_native import Lane as Native

    return Native(engine.door(), descriptors, bounds, elsewhere)


def _listen(address: str, config: Lane) -> Listener:
    if unix_path(address):
        return listen_unix(address, config.mode, config.owner)
    return listen_tcp(address, config.thread_count)


def _require_library() -> None:
    if not lane_available:
        raise LaneError(LANE_MISSING)
    try:
        importlib.import_module("nextbest.core.lane_native")
    except ImportError as error:
        # The library is gone since the build.
        raise LaneError(f"{LANE_MISSING} ({error})") from None


def _require_cpus(cpus: Sequence[int]) -> None:
    allowed = os.sched_getaffinity(0)
    if missing := set(cpus) - allowed:
        seen, known = _listed(missing), _listed(allowed)
        raise ConfigError([f"lane.cpus: {seen}, allowed here: {known}"])


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _in_words(counters: Mapping[str, int]) -> str:
    """The counters that are not 0, as `name 3, name 4`."""
    counted = [f"{name} {count}" for name, count in sorted(counters.items()) if count]
    return ", ".join(counted) or "no calls"
