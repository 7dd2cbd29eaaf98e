"""The playbooks that records were decided by, kept beside them by their hashes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.record import publications
from nextbest.server.record.errors import NoPlaybookFileError
from nextbest.v1 import mutation_pb2

# A person whom no store has is enough: what was read of people is in the records.
_PROFILES_MAX, _DEDUPE_MAX = 16, 1_024


def engine_of(plan: Plan) -> Engine:
    """An engine that decides records again under a plan."""
    engine = Engine(profiles_max=_PROFILES_MAX, dedupe_max=_DEDUPE_MAX)
    engine.publish(plan)
    return engine


class Playbooks:
    """Playbooks by their hashes, those beside the records and those given, and their engines."""

    def __init__(self, folder: Path, given: Mapping[bytes, Plan]) -> None:
        self._folder = folder
        self._plans = dict(given)
        self._engines: dict[bytes, Engine] = {}

    def engine(self, hash_bytes: bytes) -> Engine:
        """An engine that runs a playbook.  Raises NoPlaybookFileError."""
        if hash_bytes not in self._engines:
            self._engines[hash_bytes] = engine_of(self.plan(hash_bytes))
        return self._engines[hash_bytes]

    def plan(self, hash_bytes: bytes) -> Plan:
        """A playbook.  Raises NoPlaybookFileError."""
        if hash_bytes not in self._plans:
            self._plans[hash_bytes] = self._read(hash_bytes)
        return self._plans[hash_bytes]

    def _read(self, hash_bytes: bytes) -> Plan:
        path = publications.path_of(self._folder, hash_bytes)
        if not path.exists():
            raise NoPlaybookFileError(
                f"playbook {hash_bytes.hex()}: not in {path.parent}; give its folder by --playbook"
            )
        publication = mutation_pb2.Publication.FromString(path.read_bytes())
        compiled = compile_playbook({one.path: one.content for one in publication.request.files})
        if compiled.plan is None or compiled.plan.hash != hash_bytes:
            seen = compiled.plan.hash.hex() if compiled.plan else str(compiled.faults[0])
            raise NoPlaybookFileError(
                f"{path}: this version compiles it to {seen}; replay with the version that decided"
            )
        return compiled.plan
