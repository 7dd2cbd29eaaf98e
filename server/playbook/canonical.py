"""The canonical form of compiled parts, and hashes over it."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import struct
from collections.abc import Callable
from typing import Any

from nextbest.core.expression.code import Code
from nextbest.core.playbook.plan import Plan

HASH_BYTES = 16
_TOKEN = re.compile(
    r"""(?P<string>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"""|(?P<comment>//[^\n]*)|(?P<space>\s+)|(?P<rest>.)""",
    re.DOTALL,
)


def one_line(text: str) -> str:
    """An expression on one line: comments dropped, white space outside strings made one space."""
    if "\n" not in text and "  " not in text and "//" not in text and "\t" not in text:
        return text.strip()
    parts = []
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        parts.append(" " if kind in ("space", "comment") else token[0])
    joined = "".join(parts)
    return _collapse(joined).strip()


def _collapse(text: str) -> str:
    return "".join(
        " " if token.lastgroup == "space" else token[0] for token in _TOKEN.finditer(text)
    )


def digest(value: object) -> bytes:
    """16 bytes of BLAKE2b over the canonical form of plain data, codes and parts of a plan."""
    hasher = hashlib.blake2b(digest_size=HASH_BYTES)
    _feed(hasher.update, value)
    return hasher.digest()


def plan_hash(plan: Plan) -> bytes:
    """The content hash: over everything in the plan but the hash itself."""
    return digest(dataclasses.replace(plan, hash=b""))


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    """Each value as a letter for its type, its length and its bytes: no two can be confused."""
    if value is None:
        update(b"n")
    elif isinstance(value, bool):
        update(b"t" if value else b"f")
    elif isinstance(value, int):
        text = str(int(value)).encode()
        update(b"i%d:" % len(text) + text)
    elif isinstance(value, float):
        update(b"d" + struct.pack("<d", value))
    elif isinstance(value, str):
        data = value.encode()
        update(b"s%d:" % len(data) + data)
    elif isinstance(value, bytes):
        update(b"b%d:" % len(value) + value)
    elif isinstance(value, list | tuple):
        update(b"l%d:" % len(value))
        for item in value:
            _feed(update, item)
    else:
        _feed_fields(update, value)


def _feed_fields(update: Callable[[bytes], None], value: Any) -> None:
    if isinstance(value, dict):
        update(b"m%d:" % len(value))
        for name, item in value.items():
            _feed(update, name)
            _feed(update, item)
        return
    if isinstance(value, Code):
        _feed(update, (value.key(), value.text))
        return
    update(b"r" + type(value).__name__.encode() + b":")
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if "derived" in field.metadata:
            continue
        if "added" not in field.metadata or item != field.default:
            _feed(update, item)
