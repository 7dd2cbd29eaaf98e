"""A playbook's files as a whole: where they are read from and how much they may hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Fault, Faults, shown

SCHEMA: Final = "schema.yaml"
# Of a folder that is no playbook: how far down playbooks are looked for, and how many are named.
DEPTH_MAX: Final = 3
NAMED_MAX: Final = 5


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a playbook's folder by their path in it, with forward slashes.

    Hidden files and folders are left out.  Raises OSError when the folder cannot be read or is
    no playbook's, and ValueError when it holds more than FILES_MAX files or BYTES_MAX bytes.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: not there, allowed: a folder")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: a file, allowed: a folder")
    if not (folder / SCHEMA).exists() and (inside := _playbooks(folder)):
        raise FileNotFoundError(f"{folder}: no {SCHEMA}, playbooks in it: {_few(inside)}")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in _paths(folder)}


def _paths(folder: Path) -> list[Path]:
    """The files of a playbook, sorted; the walk ends where they are too many."""
    missing = "" if (folder / SCHEMA).exists() else f"no {SCHEMA}, and "
    paths: list[Path] = []
    total = 0
    for parent, names in _folders(folder):
        for path in (parent / name for name in names if not name.startswith(".")):
            if not path.is_file():
                continue
            total += path.stat().st_size
            if len(paths) >= limits.FILES_MAX or total > limits.BYTES_MAX:
                many = f"{missing}more than {limits.FILES_MAX} files or {_megabytes()}"
                raise ValueError(f"{folder}: {many}")
            paths.append(path)
    return sorted(paths)


def _folders(folder: Path, depth_max: int | None = None) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those in it that are not hidden, each with the names of what it holds."""
    for parent, folders, names in os.walk(folder):
        path = Path(parent)
        yield path, names
        deep = depth_max is not None and len(path.relative_to(folder).parts) >= depth_max
        folders[:] = [] if deep else [name for name in folders if not name.startswith(".")]


def _playbooks(folder: Path) -> list[str]:
    """The playbooks in a folder that is none itself, DEPTH_MAX folders down."""
    inside = (parent for parent, names in _folders(folder, DEPTH_MAX) if SCHEMA in names)
    return sorted(parent.relative_to(folder).as_posix() for parent in inside)


def _few(names: list[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more:,} more" if more > 0 else "")


def _megabytes() -> str:
    return f"{limits.BYTES_MAX // (1024 * 1024)} MiB"


def check_files(files: Mapping[str, bytes], faults: Faults) -> bool:
    """Refuse too much and paths that leave the folder; False when nothing may be parsed."""
    total = sum(len(content) for content in files.values())
    if len(files) > limits.FILES_MAX:
        allowed = f"at most {limits.FILES_MAX:,}"
        faults.add(Fault(".", 1, 1, "number of files", f"{len(files):,}", allowed))
        return False
    if total > limits.BYTES_MAX:
        allowed = f"at most {_megabytes()} for all files together"
        faults.add(Fault(".", 1, 1, "size of the playbook", f"{total:,} bytes", allowed))
        return False
    bad = [path for path in files if not _inside(path)]
    for path in bad:
        allowed = "a path inside the folder, with forward slashes and no '..'"
        faults.add(Fault(".", 1, 1, "path", shown(path), allowed))
    return not bad


def _inside(path: str) -> bool:
    parts = path.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    odd = "\\" in path or ":" in path or not path.isprintable()
    return plain and not odd and len(path) <= limits.PATH_MAX
