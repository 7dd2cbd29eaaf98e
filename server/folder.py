"""The data folder: its lock, this member's name in it, and the log that was followed from there."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import socket
from pathlib import Path

from nextbest.server.errors import DataError

# Names, in the data folder, the log that was followed from there.
FOLLOWED = "followed"
MEMBER = "member"
LOCK = "lock"

_log = logging.getLogger(__name__)


class Folder:
    """A data folder that other processes are kept out of; `path` is None for a server without one.

    Makes the folder if need be.  Raises DataError.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = lock_folder(path) if path is not None else -1

    def close(self) -> None:
        """Let other processes in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def member(self) -> str:
        """The host's name and a chance part, which stays the same with a folder."""
        made = f"{socket.gethostname()[:80]}:{secrets.token_hex(4)}"
        if self._path is None:
            return made
        path = self._path / MEMBER
        try:
            if path.exists():
                return path.read_text("utf-8").strip() or made
            path.write_text(made + "\n", "utf-8")
        except (OSError, ValueError) as error:
            _log.warning("log: this node's name is not kept: %s", error)
        return made

    def has_followed(self, place: str) -> bool:
        """Whether a start before this one has followed the log at this place."""
        if self._path is None:
            return False
        try:
            return (self._path / FOLLOWED).read_text("utf-8") == place
        except (OSError, ValueError):
            return False

    def follow(self, place: str) -> None:
        """The log was followed to its end: when it is empty the next time, it was wiped."""
        if self._path is None or self.has_followed(place):
            return
        try:
            (self._path / FOLLOWED).write_text(place, "utf-8")
        except OSError as error:
            _log.warning("log: that it was followed is not kept: %s", error)


def lock_folder(folder: Path) -> int:
    """A descriptor that keeps other processes out of a data folder, which is made if need be.

    The log's file has a lock of its own besides.  Raises DataError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataError(f"data.folder: {folder}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        why = "in use by another process" if error.errno == errno.EWOULDBLOCK else error.strerror
        raise DataError(f"data.folder: {folder}: {why}") from error
    return lock
