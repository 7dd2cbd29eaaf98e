"""Addresses: what a client may be given, and the one gRPC target that they make."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

ADDRESSES_MAX = 64
PORT_MAX = 65_535
ALLOWED = "host:port, [ipv6]:port, unix:/path or dns:///host:port"
ALLOWED_SEVERAL = "several ip:port, several [ipv6]:port, or several unix:/path"

_DNS = re.compile(r"dns:(?://[^/]*/)?")
# What is a target already stays one: "unix:/a,/b" is whole, as gRPC has it.
_SEPARATOR = re.compile(r",\s*(?=[^,]*:)")
_HOST = re.compile(r"[^\s/:,@?#\[\]]+")
_NUMERIC = {"ipv4:": 4, "ipv6:": 6}
# What follows is gRPC's own to read.
_NAMED = ("unix:", "unix-abstract:", "xds:///")


def target(addresses: str | Sequence[str]) -> str:
    """One gRPC target for an address, or several in a list or with commas between them.

    Raises TypeError or ValueError for what can be no server's address: gRPC would say so at the
    first call only, as if the server were away.
    """
    given = _texts(addresses)
    for address in given:
        if not _is_address(address):
            raise ValueError(f"addresses: {address!r}, allowed: {ALLOWED}")
    return given[0] if len(given) == 1 else _several(given)


def _texts(addresses: object) -> list[str]:
    given = _SEPARATOR.split(addresses) if isinstance(addresses, str) else addresses
    if not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        raise TypeError(f"addresses: {addresses!r}, allowed: a text or a list of texts: {ALLOWED}")
    if not 1 <= len(given) <= ADDRESSES_MAX:
        raise ValueError(f"addresses: {len(given)}, allowed: 1 to {ADDRESSES_MAX}")
    return list(given)


def _is_address(text: str) -> bool:
    for scheme in _NAMED:
        if text.startswith(scheme):
            return bool(text.removeprefix(scheme).strip("/"))
    for scheme, version in _NUMERIC.items():
        if text.startswith(scheme):
            return all(_version(one) == version for one in text.removeprefix(scheme).split(","))
    name = text[found.end() :] if (found := _DNS.match(text)) else text
    host, port = _parts(name)
    return port and (bool(_HOST.fullmatch(host)) or _version(name) == 6)


def _parts(address: str) -> tuple[str, bool]:
    """The host, and whether a port follows.  Without one gRPC takes that of HTTPS."""
    host, _, port = address.rpartition(":")
    whole = port.isdecimal() and port.isascii()
    return host, whole and 1 <= int(port) <= PORT_MAX


def _version(address: str) -> int:
    """4 or 6 for "ip:port" and "[ipv6]:port", 0 for all else."""
    host, port = _parts(address)
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        version = ipaddress.ip_address(host[1:-1] if bracketed else host).version
    except ValueError:
        return 0
    return version if port and bracketed == (version == 6) else 0


def _several(given: Sequence[str]) -> str:
    if all(address.startswith("unix:") for address in given):
        return "unix:" + ",".join(address.removeprefix("unix:") for address in given)
    # gRPC looks up one name only.
    plain = [re.sub("^ipv[46]:", "", address) for address in given]
    versions = {_version(one) for address in plain for one in address.split(",")}
    for scheme, version in _NUMERIC.items():
        if versions == {version}:
            return scheme + ",".join(plain)
    shown = ", ".join(map(repr, given[:3]))
    raise ValueError(f"addresses: {shown}, allowed: {ALLOWED_SEVERAL}")
