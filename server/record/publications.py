"""Publications kept beside the records: what the playbooks that decided were made of."""

from __future__ import annotations

import os
from pathlib import Path

from nextbest.v1 import mutation_pb2

FOLDER = "playbooks"
_SUFFIX = ".publication"


def path_of(folder: Path, hash_bytes: bytes) -> Path:
    """Where the publication of a content hash stands, in a folder of records."""
    return folder / FOLDER / f"{hash_bytes.hex()}{_SUFFIX}"


def keep(folder: Path, publication: mutation_pb2.Publication) -> None:
    """Write a publication down once.  Raises OSError."""
    path = path_of(folder, publication.hash)
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(publication.SerializeToString())
    os.replace(partial, path)
