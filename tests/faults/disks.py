"""Small disks that fill up, and disks that fail: real file systems, mounted while a block runs.

A disk that fails is a loop device that is made too small while its file system is mounted: the
kernel then answers EIO to all that lies behind its end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

_CHUNK: Final = b"\0" * 65_536
# Of <linux/loop.h>.
_GET_STATUS64: Final = 0x4C05
_SET_STATUS64: Final = 0x4C04
_STATUS_BYTES: Final = 232
_SIZE_LIMIT_AT: Final = 32
_DEVICE_BYTES: Final = 96 << 20
_BALLAST_BYTES: Final = 48 << 20
_LEFT_BYTES: Final = 24 << 20
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
    """An ext4 on a loop device at `folder`, which fails while it is told to.

    Its own tables stay readable, since the kernel would try for ever to get at them; all that is
    written of files fails.  With a journal the file system gives up for good at the first error:
    every write is then an EROFS, also once the device works again.
    """

    def __init__(self, folder: Path, image: Path, *, journal: bool = False) -> None:
        self.folder = folder
        self._image = image
        self._journal = journal
        self._device = ""

    def __enter__(self) -> Self:
        with self._image.open("wb") as file:
            file.truncate(_DEVICE_BYTES)
        # One group of blocks, so that all tables are at its beginning.
        shape = ["-b", "4096", "-O", "has_journal" if self._journal else "^has_journal"]
        _run("mkfs.ext4", "-q", "-F", *shape, self._image)
        self._device = _run("losetup", "--find", "--show", self._image).strip()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            options = "errors=remount-ro,data_err=abort" if self._journal else "errors=continue"
            _run("mount", "-o", options, self._device, self.folder)
            # It takes what the device keeps; every other file comes to lie behind.
            with (self.folder / "ballast").open("wb") as ballast:
                os.posix_fallocate(ballast.fileno(), 0, _BALLAST_BYTES)
                os.fsync(ballast.fileno())
        except BaseException:
            _run("losetup", "--detach", self._device)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.mend()
        _run("umount", "--lazy", self.folder)
        _run("losetup", "--detach", self._device)

    def fail(self) -> None:
        """Every block of a file that is written or read from now on is an EIO."""
        self._limit(_LEFT_BYTES)

    def mend(self) -> None:
        """The device works again."""
        self._limit(0)

    def _limit(self, size_bytes: int) -> None:
        """Let the device be so small; 0 gives it its whole size (loop(4), `lo_sizelimit`)."""
        device = os.open(self._device, os.O_RDWR)
        try:
            status = bytearray(_STATUS_BYTES)
            fcntl.ioctl(device, _GET_STATUS64, status)
            struct.pack_into("<Q", status, _SIZE_LIMIT_AT, size_bytes)
            fcntl.ioctl(device, _SET_STATUS64, bytes(status))
        finally:
            os.close(device)


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
