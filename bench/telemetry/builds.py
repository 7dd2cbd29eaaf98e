"""The two builds that are compared: as it ships, and with telemetry compiled out.

Each has a folder of its own under build/bench-telemetry, with the same flags otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "bench-telemetry"
FLAGS = {"with": "-w", "without": "-w -DNEXTBEST_NO_TELEMETRY"}
# Compiled in place, so that each build needs its own; of the rest there is one.
COMPILED = ("core", "bench/load")
LINKED = ("server", "proto", "clients")
SOURCES = ("*.so", "__pycache__", "build")


def build() -> dict[str, Path]:
    """Compile both, as far as they are not; gives the folder of each."""
    return {name: _build(BUILT / name, flags) for name, flags in FLAGS.items()}


def tree(folder: Path) -> str:
    """What an interpreter has to look into first for that build's modules."""
    return str(folder / "build" / "tree")


def _build(folder: Path, flags: str) -> Path:
    for name in COMPILED:
        _copy(ROOT / name, folder / name)
    for name in LINKED:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name, target_is_directory=True)
    shutil.copy2(ROOT / "setup.py", folder)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, "NEXTBEST_CFLAGS": flags},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{folder}: not built:\n{done.stderr[-4_000:]}")
    return folder


def _copy(source: Path, target: Path) -> None:
    """Bring a folder's sources up to date; times are kept, by which a build knows its work."""
    shutil.copytree(
        source,
        target,
        copy_function=_copy_newer,
        ignore=shutil.ignore_patterns(*SOURCES),
        dirs_exist_ok=True,
    )


def _copy_newer(source: str, target: str) -> str:
    there = Path(target)
    if not there.exists() or there.stat().st_mtime_ns != Path(source).stat().st_mtime_ns:
        shutil.copy2(source, target)
    return target
