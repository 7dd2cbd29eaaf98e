"""Baggage: what callers send along with a trace, of which spans have the keys that are named."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote

MEMBERS_MAX = 64


def wanted(header: bytes, keys: Collection[str]) -> dict[str, str]:
    """The values of those keys in a W3C `baggage`; malformed members are none.

    Not the library's reader: that logs what it cannot read, which may be anybody's data.
    """
    found: dict[str, str] = {}
    if not keys:
        return found
    for member in header.decode("ascii", "replace").split(",", MEMBERS_MAX)[:MEMBERS_MAX]:
        key, equals, value = member.partition(";")[0].partition("=")
        if equals and (name := unquote(key.strip())) in keys:
            found[name] = unquote(value.strip())
    return found
