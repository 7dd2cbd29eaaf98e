"""Timelines: when each step of a kept call began and ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from nextbest.core.engine import STEP_NAMES

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

WAIT = STEP_NAMES.index("wait_for_log")
DECIDING = STEP_NAMES.index("gate")
# A batch goes through these for each of its entries: what is known is how long all took.
REPEATED = {"parse", "gate", "eligibility", "score", "arbitrate", "encode"}


class Step(NamedTuple):
    """number: its place in STEP_NAMES.  after_ns: since the call began.  summed: over a batch's
    entries."""

    number: int
    name: str
    after_ns: int
    took_ns: int
    summed: bool


def steps(call: KeptCall) -> Iterator[Step]:
    """Those that took time, in their order."""
    at_ns = 0
    for number in _order(call):
        name, took_ns = STEP_NAMES[number], call.steps_ns[number]
        if took_ns:
            summed = call.method == "DecideBatch" and name in REPEATED
            yield Step(number, name, at_ns, took_ns, summed)
            at_ns += took_ns


def took_ns(call: KeptCall) -> int:
    """How long the call took."""
    return sum(call.steps_ns)


def _order(call: KeptCall) -> list[int]:
    """A read waits before it decides; the answer to a write waits for the log."""
    order = list(range(len(STEP_NAMES)))
    if call.waited_first:
        order.remove(WAIT)
        order.insert(DECIDING, WAIT)
    return order
