"""The shadow of a node: at most one, started, looked at, dropped or promoted by callers."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from nextbest.core.errors import InvalidRequestError
from nextbest.server.config import Shadow as Settings
from nextbest.server.errors import FaultyPlaybookError
from nextbest.server.playbook.faults import Fault
from nextbest.server.publisher import Published, Publisher, files_of
from nextbest.server.shadow.budget import Budget
from nextbest.server.shadow.errors import NoShadowError, OtherShadowError
from nextbest.server.shadow.run import Run
from nextbest.v1 import playbook_pb2

if TYPE_CHECKING:
    from nextbest.core import Engine

# How often decisions are taken.
TURN_S = 0.1

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Totals:
    """What runs have found."""

    compared: int = 0
    changed: int = 0
    incomplete: int = 0
    failed: int = 0
    skipped: int = 0
    restarts: int = 0
    cpu_s: float = 0.0


class Started(NamedTuple):
    """A shadow that runs, and its draft's warnings."""

    run: Run
    faults: tuple[Fault, ...]


@dataclass(slots=True)
class _Promoted:
    """The last promotion: a repeat is answered the same."""

    hash: str = ""
    published: Published | None = None
    tasks: set[asyncio.Task[Published]] = field(default_factory=set)


class Shadow:
    """Owns the run; from the server's loop."""

    def __init__(self, engine: Engine, publisher: Publisher, settings: Settings) -> None:
        self._engine = engine
        self._publisher = publisher
        self._settings = settings
        self._lock = asyncio.Lock()
        self._promoted = _Promoted()
        self._totals = Totals()
        # None while there is no shadow.
        self.now: Run | None = None

    async def start(self, request: playbook_pb2.StartShadowRequest) -> Started:
        """Compile a draft and run it; a repeat changes the share alone.

        Raises FaultyPlaybookError, OtherShadowError, ShadowGoneError, and what compiling raises.
        """
        share = _share(request.share)
        compiled = await self._publisher.validate(files_of(request.draft))
        if not compiled.hash:
            raise FaultyPlaybookError(compiled.faults)
        async with self._lock:
            if self.now is not None:
                if self.now.hash != compiled.hash:
                    raise OtherShadowError(self.now.hash.hex())
                self.now.ask(share)
                return Started(self.now, compiled.faults)
            budget = Budget(self._settings.core_percent_max / 100, share)
            run = Run(
                self._engine,
                request.draft,
                compiled.hash,
                compiled.plan,
                budget,
                self._settings.buffer_bytes,
            )
            try:
                await run.open()
            except BaseException:
                # Nobody else would end its process, and the caller may have given up waiting.
                await asyncio.shield(asyncio.to_thread(run.close))
                raise
            self.now = run
        _log.info("shadow: %s decides beside the active playbook", run.hash.hex())
        return Started(run, compiled.faults)

    async def stop(self, hash_text: str) -> str:
        """End the run, of any draft for an empty hash; gives its hash.  Raises NoShadowError."""
        async with self._lock:
            run = self._named(hash_text)
            await self._end(run)
        return run.hash.hex()

    async def promote(self, hash_text: str) -> Published:
        """Publish the draft of that hash, and end the run; the run goes on if that fails.

        Raises NoShadowError, and what publishing raises.
        """
        if not hash_text:
            raise NoShadowError("", self.now.hash.hex() if self.now else "")
        # To its end even when its caller gives up waiting.
        task = asyncio.create_task(self._promote(hash_text))
        self._promoted.tasks.add(task)
        task.add_done_callback(self._promoted.tasks.discard)
        return await asyncio.shield(task)

    async def _promote(self, hash_text: str) -> Published:
        async with self._lock:
            last = self._promoted
            if self.now is None and last.published is not None and last.hash == hash_text:
                return last.published
            run = self._named(hash_text)
            published = await self._publisher.publish(run.request)
            last.hash, last.published = hash_text, published
            await self._end(run)
        return published

    async def run(self) -> None:
        """Compare what is decided until cancelled, and end the shadow then."""
        try:
            while True:
                await asyncio.sleep(TURN_S)
                if (run := self.now) is not None:
                    await self._turn(run)
        finally:
            if self.now is not None:
                await self._end(self.now)

    async def _turn(self, run: Run) -> None:
        try:
            await run.turn(self._publisher.plans())
        except Exception:
            # Callers end it, too.
            async with self._lock:
                if self.now is run:
                    _log.exception("shadow: it is dropped, on our own fault")
                    await self._end(run)

    @property
    def totals(self) -> Totals:
        """Of all runs since the server's start."""
        found = replace(self._totals)
        if self.now is not None:
            _add(found, self.now)
        return found

    def _named(self, hash_text: str) -> Run:
        if self.now is None or hash_text not in ("", self.now.hash.hex()):
            raise NoShadowError(hash_text, self.now.hash.hex() if self.now else "")
        return self.now

    async def _end(self, run: Run) -> None:
        self.now = None
        # It waits for the process to be gone.
        await asyncio.to_thread(run.close)
        _add(self._totals, run)
        _log.info("shadow: %s has ended", run.hash.hex())


def _add(totals: Totals, run: Run) -> None:
    totals.compared += run.effect.records
    totals.changed += run.effect.changed
    totals.incomplete += run.effect.incomplete
    totals.failed += run.effect.failed.total()
    totals.skipped += run.skipped
    totals.restarts += run.restarts
    totals.cpu_s += run.cpu_s


def _share(given: float) -> float:
    """The share that was asked for; 0 takes all."""
    if not math.isfinite(given) or not 0 <= given <= 1:
        raise InvalidRequestError("share", repr(given), "above 0 to 1, or 0 for all")
    return given or 1.0
