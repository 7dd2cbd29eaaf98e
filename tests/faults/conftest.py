"""What fault tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import redis_cluster
from tests.faults.processes import Processes

needs_redis = pytest.mark.skipif(
    bool(redis_cluster.unavailable()), reason=redis_cluster.unavailable()
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes that end with the test."""
    with Processes(tmp_path) as made:
        yield made
