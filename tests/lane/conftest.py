"""One server for all tests that need no settings of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from nextbest import core
from tests.lane.target import Target, running
from tests.lane.wire import Peer


@pytest.fixture(scope="session", autouse=True)
def _lane_is_built() -> None:
    if not core.lane_available and os.environ.get("NEXTBEST_LANE_TARGET", "lane") == "lane":
        pytest.skip(core.LANE_MISSING)


@pytest.fixture(scope="session")
def target(_lane_is_built: None) -> Iterator[Target]:
    """The server that is judged."""
    with running() as found:
        yield found


@pytest.fixture
def peer(target: Target) -> Iterator[Peer]:
    """A connection to it whose settings are exchanged."""
    with target.peer() as made:
        assert made.until(lambda: made.settings_acks)
        yield made
    target.must_serve()
