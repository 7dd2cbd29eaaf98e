"""The playbooks that records were decided by, kept beside them by their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.record import publications
from nextbest.server.record.engines import engine_of
from nextbest.server.record.errors import NoPlaybookFileError
from nextbest.v1 import mutation_pb2


class Playbooks:
    """Playbooks by their hashes, those beside the records and those given, and their engines.

    folder, more: of records; the first that has a playbook gives it.
    """

    def __init__(
        self, folder: Path, given: Mapping[bytes, Plan], more: Sequence[Path] = ()
    ) -> None:
        self._folders = [folder, *more]
        # Compiling takes a while, and what fails would be tried for each record.
        self._missing: dict[bytes, NoPlaybookFileError] = {}
        self._plans = dict(given)
        self._engines: dict[bytes, Engine] = {}

    def engine(self, hash_bytes: bytes) -> Engine:
        """An engine that runs a playbook.  Raises NoPlaybookFileError."""
        if hash_bytes not in self._engines:
            self._engines[hash_bytes] = engine_of(self.plan(hash_bytes))
        return self._engines[hash_bytes]

    def plan(self, hash_bytes: bytes) -> Plan:
        """A playbook.  Raises NoPlaybookFileError."""
        if error := self._missing.get(hash_bytes):
            raise error
        if hash_bytes not in self._plans:
            try:
                self._plans[hash_bytes] = self._read(hash_bytes)
            except NoPlaybookFileError as error:
                self._missing[hash_bytes] = error
                raise
        return self._plans[hash_bytes]

    def _read(self, hash_bytes: bytes) -> Plan:
        path = self._path(hash_bytes)
        publication = mutation_pb2.Publication.FromString(path.read_bytes())
        compiled = compile_playbook({one.path: one.content for one in publication.request.files})
        if compiled.plan is None or compiled.plan.hash != hash_bytes:
            seen = compiled.plan.hash.hex() if compiled.plan else str(compiled.faults[0])
            raise NoPlaybookFileError(
                f"{path}: this version compiles it to {seen}; replay with the version that decided"
            )
        return compiled.plan

    def _path(self, hash_bytes: bytes) -> Path:
        paths = [publications.path_of(folder, hash_bytes) for folder in self._folders]
        for path in paths:
            if path.exists():
                return path
        where = ", ".join(str(path.parent) for path in paths)
        raise NoPlaybookFileError(
            f"playbook {hash_bytes.hex()}: not in {where}; give its folder by --playbook"
        )
