"""The archive: published playbooks as files in the data folder, one for each generation.

A file is written whole or not at all: temporary file, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from nextbest.server.errors import ArchiveError
from nextbest.v1 import playbook_pb2

_NAME = re.compile(r"generation-(\d{1,19})\.playbook")
_MAGIC = b"nextbest playbook 1\n"
_HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One published playbook as it was sent."""

    number: int
    published_at_us: int
    request: playbook_pb2.PublishPlaybookRequest


class Archive:
    """The generations in one folder and which of them is active."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "playbooks"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(f"{self._folder}: {error.strerror}") from error

    def entries(self) -> list[Entry]:
        """All generations, the oldest first.  Raises ArchiveError for a damaged file."""
        numbers = sorted(int(m[1]) for p in self._listed() if (m := _NAME.fullmatch(p.name)))
        return [self._read(number) for number in numbers]

    def active(self) -> int:
        """The active generation's number; 0 when none was ever published."""
        try:
            return int((self._folder / "active").read_text("ascii"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{self._folder / 'active'}: {error}") from error

    def add(self, entry: Entry) -> None:
        """Keep a generation and make it the active one."""
        body = entry.published_at_us.to_bytes(8, "big") + entry.request.SerializeToString()
        digest = hashlib.blake2b(body, digest_size=_HASH_BYTES).digest()
        self._write(_name(entry.number), _MAGIC + digest + body)
        self.activate(entry.number)

    def activate(self, number: int) -> None:
        """Remember which generation is active."""
        self._write("active", str(number).encode("ascii"))

    def keep(self, numbers: set[int]) -> None:
        """Remove the generations that are not in `numbers`."""
        try:
            for path in self._listed():
                match = _NAME.fullmatch(path.name)
                if match and int(match[1]) not in numbers:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise ArchiveError(f"{self._folder}: {error.strerror}") from error

    def _listed(self) -> list[Path]:
        try:
            return list(self._folder.iterdir())
        except OSError as error:
            raise ArchiveError(f"{self._folder}: {error.strerror}") from error

    def _read(self, number: int) -> Entry:
        path = self._folder / _name(number)
        start = len(_MAGIC) + _HASH_BYTES
        try:
            content = path.read_bytes()
            digest = hashlib.blake2b(content[start:], digest_size=_HASH_BYTES).digest()
            if content[:start] != _MAGIC + digest:
                raise ValueError("damaged: its checksum does not match")
            request = playbook_pb2.PublishPlaybookRequest.FromString(content[start + 8 :])
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{path}: {error}") from error
        return Entry(number, int.from_bytes(content[start : start + 8], "big"), request)

    def _write(self, name: str, content: bytes) -> None:
        target = self._folder / name
        temporary = target.with_name(name + ".new")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ArchiveError(f"{target}: {error.strerror}") from error


def _name(number: int) -> str:
    return f"generation-{number:06d}.playbook"
