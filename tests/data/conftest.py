"""The public data sets, and servers to load them into."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nextbest.server.load import Summary, load, read_mapping

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def here() -> Path:
    return HERE


@pytest.fixture(scope="session")
def load_file() -> Callable[..., Summary]:
    def run(file: Path, mapping: Path, address: str, rejects: Path, **rows: int) -> Summary:
        return asyncio.run(load(file, read_mapping(mapping), address, rejects=rejects, **rows))

    return run


@pytest.fixture(scope="session")
def read_rejects() -> Callable[[Path], list[dict[str, Any]]]:
    return lambda path: [json.loads(line) for line in path.read_text().splitlines()]
