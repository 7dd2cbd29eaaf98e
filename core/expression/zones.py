"""All time zones at once: what the core needs to know the local time of any person.

Read from the files of the time zone database that `zoneinfo` would read, in a fraction of a
second; `zone` looks at one zone of an expression.
"""

from __future__ import annotations

import importlib.resources
import io
import re
import struct
import zoneinfo
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from nextbest.core.expression.zone import first_change, offset_at

# Events and decisions are of these years; rules of daylight saving are listed until then.
LISTED_TO = int(datetime(2107, 1, 1, tzinfo=UTC).timestamp())
RULES_STEP = 28 * 86_400  # no rule changes the clocks twice within four weeks
OFFSET = re.compile(r"[+-](0\d|1[0-8]):[0-5]\d")
_HEADER = struct.Struct(">4sc15x6l")

Changes = tuple[int, ...]


class _File(NamedTuple):
    moments: tuple[int, ...]
    offsets: tuple[int, ...]  # one more: the first is from before
    rule: str  # of the time after the last moment, as POSIX writes it


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every name of the time zone database."""
    return frozenset(zoneinfo.available_timezones())


@lru_cache(maxsize=1)
def all_zones() -> dict[str, Changes]:
    """Each zone's (from, offset, from, offset ...) in order, in seconds; the first has no start."""
    found: dict[str, Changes] = {}
    by_content: dict[bytes, Changes] = {}
    for name in sorted(zone_names()):
        content = _content(name)
        if content not in by_content:
            by_content[content] = _changes(content)
        found[name] = by_content[content]
    return found


def _content(name: str) -> bytes:
    for folder in zoneinfo.TZPATH:
        path = Path(folder, name)
        if path.is_file():
            return path.read_bytes()
    return importlib.resources.files("tzdata.zoneinfo").joinpath(*name.split("/")).read_bytes()


def _changes(content: bytes) -> Changes:
    """What the file lists and, after its last moment, what its rule gives."""
    file = _parse(content)
    listed = [
        file.offsets[0],
        *(n for pair in zip(file.moments, file.offsets[1:], strict=True) for n in pair),
    ]
    if "," in file.rule:
        start = file.moments[-1] if file.moments else 0
        listed += _by_rule(content, file.rule, start)
    return (0, *listed)


def _parse(content: bytes) -> _File:
    """The 64-bit part of a TZif file (RFC 8536) and its footer."""
    magic, version, *counts = _HEADER.unpack_from(content)
    if magic != b"TZif" or version < b"2":
        raise ValueError(f"time zone file: version {version!r}, allowed: 2 and above")
    at = _HEADER.size + _size(counts, 4)
    _, _, *counts = _HEADER.unpack_from(content, at)
    at += _HEADER.size
    _, _, _, times, types, _ = counts
    moments = struct.unpack_from(f">{times}q", content, at)
    numbers = struct.unpack_from(f">{times}B", content, at + 8 * times)
    kinds = [
        struct.unpack_from(">l", content, at + 9 * times + 6 * number)[0] for number in range(types)
    ]
    footer = content[at + _size(counts, 8) :].split(b"\n")
    offsets = (kinds[0], *(kinds[number] for number in numbers))
    return _File(moments, offsets, footer[1].decode() if len(footer) > 2 else "")


def _size(counts: list[int], width: int) -> int:
    """The bytes of a data block whose moments are of this width."""
    universal, standard, leaps, times, types, letters = counts
    return times * (width + 1) + types * 6 + letters + leaps * (width + 4) + standard + universal


_RULES: dict[tuple[str, int], list[int]] = {}


def _by_rule(content: bytes, rule: str, start: int) -> list[int]:
    """The changes after `start`; zones of one rule share them."""
    if (rule, start) not in _RULES:
        zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(content))
        found: list[int] = []
        moments = range(start, LISTED_TO + RULES_STEP, RULES_STEP)
        offset = offset_at(zone, start)
        for before, moment in pairwise(moments):
            seen = offset_at(zone, moment)
            if seen != offset:
                found += [first_change(zone, before, moment), seen]
                offset = seen
        _RULES[rule, start] = found
    return _RULES[rule, start]
