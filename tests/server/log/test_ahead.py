"""What is ahead of the log: which batches are looked into before they are sent."""

from __future__ import annotations

from random import Random

from nextbest.server.log.ahead import Ahead
from nextbest.server.log.log import LOGGED_QUEUE, REPLICATED_QUEUE


def test_a_horizon_makes_what_the_engine_still_holds_suspect_too() -> None:
    """Such events were counted here, and the others would drop them as too old."""
    ahead = Ahead(1_000, Random(1))
    before = ahead.add(b"a", 1, LOGGED_QUEUE)
    ahead.suspect_all([3, 0])
    held = [ahead.add(b"b", 2, LOGGED_QUEUE), ahead.add(b"c", 2, LOGGED_QUEUE)]
    later = [ahead.add(b"d", 1, LOGGED_QUEUE), ahead.add(b"e", 1, REPLICATED_QUEUE)]
    assert before.suspect
    assert [batch.suspect for batch in held] == [True, True]
    assert [batch.suspect for batch in later] == [False, False]
