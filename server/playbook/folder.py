"""A playbook's files as a whole: where they are read from and how much they may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Fault, Faults, shown


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a playbook's folder by their path in it, with forward slashes.

    Hidden files and folders are left out.  Raises OSError when the folder cannot be read or is
    no playbook's, and ValueError when it holds more than FILES_MAX files or BYTES_MAX bytes.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: not a folder")
    if not (folder / "schema.yaml").exists() and (inside := _playbooks(folder)):
        raise FileNotFoundError(f"{folder}: no schema.yaml, playbooks in it: {', '.join(inside)}")
    files: dict[str, bytes] = {}
    total = 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or not path.is_file():
            continue
        total += path.stat().st_size
        if len(files) >= limits.FILES_MAX or total > limits.BYTES_MAX:
            raise ValueError(f"{folder}: more than {limits.FILES_MAX} files or {_megabytes()}")
        files[relative.as_posix()] = path.read_bytes()
    return files


def _playbooks(folder: Path) -> list[str]:
    """The playbooks somewhere in a folder that is none itself."""
    found = (path.parent.relative_to(folder) for path in folder.rglob("schema.yaml"))
    return sorted(path.as_posix() for path in found if not path.as_posix().startswith("."))


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
