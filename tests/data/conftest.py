"""The public data sets: where they are, and servers to load them into."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nextbest.server.load import Summary, load, read_mapping

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """A public data set's file, or the test is skipped."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"the public data set ../shared/data/{name} is absent")
        return path

    return find


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
