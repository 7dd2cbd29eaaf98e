"""How the node stands with its log: what is wrong, and which writes that refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from nextbest.server.log.repeats import Repeats

if TYPE_CHECKING:
    from nextbest.core import Engine

OPEN, AWAY, CLOSED = 0, 1, 2

_log = logging.getLogger(__name__)


class _Rule(NamedTuple):
    """What a fault does while it holds.

    gate: AWAY refuses LOGGED and REPLICATED at once and queues APPLIED; CLOSED refuses all.
    behind: decisions may miss what other members have accepted.  level: of what is logged.
    """

    state: str
    gate: int
    behind: bool
    level: int = logging.WARNING


# The first that holds is the one shown.
_RULES = {
    "incompatible": _Rule("incompatible", CLOSED, True),
    "reset": _Rule("reset", CLOSED, True),
    "lost": _Rule("diverged", CLOSED, True),
    "skewed": _Rule("skewed", CLOSED, False),
    "diverged": _Rule("diverged", AWAY, True),
    "away": _Rule("away", AWAY, True),
    "stopped": _Rule("away", AWAY, True, logging.INFO),
    # What the log has forgotten is not known: an event accepted now may be too old for the others.
    "blank": _Rule("connecting", CLOSED, True, logging.INFO),
    "connecting": _Rule("connecting", AWAY, True, logging.INFO),
    # A snapshot has to be loaded: something applied here cannot be brought to the others.
    "astray": _Rule("diverged", OPEN, False),
    "stuck": _Rule("full", AWAY, True),
    "full": _Rule("full", AWAY, False),
    # Its writes are as good as any; an operator has to give it a name of its own.
    "twin": _Rule("twin", OPEN, False),
    "slow": _Rule("away", AWAY, False, logging.INFO),
}

FOLLOWING = "following"
# What a node may be at.
STATES = tuple(dict.fromkeys((FOLLOWING, *(rule.state for rule in _RULES.values()))))


class Standing:
    """Collects faults; none means that the node follows the log."""

    def __init__(self, engine: Engine, now_us: Callable[[], int]) -> None:
        self._engine = engine
        self._now_us = now_us
        self._faults: dict[str, str] = {}
        self._repeats = Repeats()
        self.set("connecting", "the log was not reached yet")

    @property
    def state(self) -> str:
        """What the node is at; "following" when nothing is wrong."""
        return _RULES[name].state if (name := self._worst()) else FOLLOWING

    @property
    def reason(self) -> str:
        """Why it is not following; empty when it is."""
        return self._faults.get(self._worst(), "")

    @property
    def behind(self) -> bool:
        """Whether decisions may miss what other members have accepted."""
        return any(_RULES[name].behind for name in self._faults)

    def has(self, fault: str) -> bool:
        """Whether this fault holds."""
        return fault in self._faults

    def set(self, fault: str, why: str) -> None:
        """Note a fault: a name of the table above."""
        if fault not in self._faults:
            self._say(fault, why)
        self._faults[fault] = why
        self._tell()

    def clear(self, *faults: str) -> None:
        """Take faults back."""
        if not self._faults:
            return
        held = [fault for fault in faults if self._faults.pop(fault, None) is not None]
        if held:
            self._tell()
        if held and not self._faults:
            _log.info("log: following")

    def tick(self) -> None:
        """Let reads whose time is up end: to be called every 100 ms at least."""
        self._engine.log_away(self.behind, self._now_us())

    def _say(self, fault: str, why: str) -> None:
        """Each try to connect may find the same fault, twice a second."""
        rule = _RULES[fault]
        if message := self._repeats.say(f"log: {rule.state}: {why}", self._now_us() / 1e6):
            _log.log(rule.level, "%s", message)

    def _worst(self) -> str:
        return next((name for name in _RULES if name in self._faults), "")

    def _tell(self) -> None:
        gate = max((_RULES[name].gate for name in self._faults), default=OPEN)
        self._engine.log_gate(gate, f"{self.state}: {self.reason}" if gate else "")
        self.tick()
