"""Two scenarios, once and short; `make faults` runs all of them at their full rates.

Times are not judged here, since tests share the machine with others.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import Options, UnavailableError


@pytest.mark.parametrize("name", ["node-kill", "master-kill"])
async def test_keeps_its_promises(name: str, tmp_path: Path) -> None:
    options = Options(
        tmp_path,
        decides_per_s=500,
        writes_per_s=100,
        before_s=1.0,
        after_s=1.5,
        decide_timeout_s=2.0,
    )
    try:
        result = await SCENARIOS[name](options)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert not result.faults, result.rows
