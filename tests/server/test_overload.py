"""What the log tells of overload."""

from __future__ import annotations

import pytest

from nextbest.server.overload import Load, OverloadLog


def test_the_log_tells_when_it_begins_gets_worse_and_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = {"fast": Load(0, {("Decide", "queue_delay"): 7}), "grpc": Load(0, {})}
    told = OverloadLog({"fast": lambda: now["fast"], "grpc": lambda: now["grpc"]})
    for level, refused in ((0, 7), (1, 7), (1, 7), (3, 9), (2, 12), (0, 12), (0, 12), (0, 13)):
        now["fast"] = Load(level, {("Decide", "queue_delay"): refused})
        told.look()
    assert caplog.messages == [
        "overload of the fast lane: answers leave out scoring where their placements let them",
        "overload of the fast lane: calls that waited too long are refused",
        "overload of the fast lane is over, calls refused: 5",
        "overload of the fast lane is over, calls refused: 1",
    ]
