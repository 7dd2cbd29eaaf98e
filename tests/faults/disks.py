"""Small disks that fill up, and disks that fail: real file systems, mounted while a block runs.

A disk that fails is a loop device over a file of a tmpfs that has no room left: what the file
system writes then comes back as EIO, and ext4 turns read-only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

_CHUNK: Final = b"\0" * 65_536
_TOOLS: Final = ("mount", "umount", "mkfs.ext4", "losetup")


def unavailable() -> str:
    """Why nothing can be mounted here; empty when it can."""
    if os.geteuid() != 0:
        return "mounting a disk needs root"
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else ""


class Disk:
    """A tmpfs of so many bytes at `folder`."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        self._size_bytes = size_bytes
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "nextbest", self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self.folder)

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(_CHUNK):
                pass

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)


class FailingDisk:
    """An ext4 at `folder`, which fails from `fail` on until the block is left."""

    def __init__(self, folder: Path, under: Path, size_bytes: int = 64 << 20) -> None:
        self.folder = folder
        self._under = Disk(under, size_bytes // 2)
        self._size_bytes = size_bytes

    def __enter__(self) -> Self:
        self._under.__enter__()
        try:
            image = self._under.folder / "image"
            with image.open("wb") as file:
                file.truncate(self._size_bytes)
            _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
            self.folder.mkdir(parents=True, exist_ok=True)
            _run("mount", "-o", "loop,errors=remount-ro", image, self.folder)
        except BaseException:
            self._under.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self.folder)
        self._under.__exit__()

    def fail(self) -> None:
        """From now on blocks that were never written before fail with EIO."""
        self._under.fill()


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")
