"""What sweeps came to, kept in files: of one build of the code, and of seeds that held."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path

import nextbest.core
from tests.faults.simulator.tally import Tally

SIMULATOR = Path(__file__).parent
PACKAGE = Path(nextbest.core.__file__).parents[1]


@cache
def code() -> str:
    """What is simulated, and by what, as a digest: the package as it was built, and these files."""
    digest = hashlib.sha256()
    for folder in (PACKAGE, SIMULATOR):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".so"):
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Kept:
    """A folder of them; none keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder / code() if folder else None

    def get(self, name: str) -> Tally | None:
        """What that came to with this code; None where it is not known."""
        if self._folder is None or not (path := self._folder / f"{name}.json").exists():
            return None
        return Tally.of(json.loads(path.read_text()))

    def put(self, name: str, tally: Tally) -> None:
        """Keep what held; what broke is to be run again."""
        if self._folder is None or tally.broken:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        written = self._folder / f"{name}.{os.getpid()}.partial"
        written.write_text(json.dumps(tally.message()))
        written.replace(self._folder / f"{name}.json")
