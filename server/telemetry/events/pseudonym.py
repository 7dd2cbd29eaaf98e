"""Pseudonyms: a keyed hash in the place of an id, the same for the same id and key."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from nextbest.server.errors import ConfigError

KEY = "telemetry.pseudonym_key_file"
KEY_BYTES_LEAST, KEY_BYTES_MAX = 16, 64
BYTES = 16

Pseudonym = Callable[[str], str]


def pseudonyms(key_file: str) -> Pseudonym:
    """By the key in a file; without one by a key of this process, which nobody knows.

    Raises ConfigError for a file that cannot be read, or holds no 16 to 64 bytes.
    """
    key = _key(key_file) if key_file else secrets.token_bytes(KEY_BYTES_MAX)
    return lambda id: blake2b(id.encode(), key=key, digest_size=BYTES).hexdigest()


def _key(file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            key = opened.read(KEY_BYTES_MAX + 2).strip()
    except OSError as error:
        raise ConfigError([f"{KEY}: {file}: {error.strerror}"]) from error
    if not KEY_BYTES_LEAST <= len(key) <= KEY_BYTES_MAX:
        allowed = f"{KEY_BYTES_LEAST} to {KEY_BYTES_MAX} bytes"
        raise ConfigError([f"{KEY}: {file}: a key of {len(key)} bytes, allowed: {allowed}"])
    return key
