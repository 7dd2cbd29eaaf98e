"""One server for all tests that need no settings of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lane.target import Target, running
from tests.lane.wire import Peer

try:
    from nextbest import core

    MISSING = "" if core.lane_available else core.LANE_MISSING
except AttributeError:
    MISSING = "this build has no lane"


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """The server that is judged."""
    with running() as found:
        yield found


@pytest.fixture
def peer(target: Target) -> Iterator[Peer]:
    """A connection to it whose settings are exchanged."""
    with target.peer() as made:
        assert made.until(lambda: made.settings_acks)
        yield made
        made.close()
    target.must_serve()
