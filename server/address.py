"""Addresses: how they are written, and which of them only this host can reach."""

from __future__ import annotations

import ipaddress

ALLOWED = "host:port, [ipv6]:port or unix:/path"
PORT_MAX = 65_535


def fault(address: str) -> str:
    """What is wrong with an address, or ""."""
    if address.startswith("unix:"):
        return "" if unix_path(address) else f"{address!r}, allowed: {ALLOWED}"
    host, _, port = address.rpartition(":")
    whole = port.isdecimal() and port.isascii() and int(port) <= PORT_MAX
    if not host or not whole or (":" in host and not host.startswith("[")):
        return f"{address!r}, allowed: {ALLOWED}"
    return ""


def unix_path(address: str) -> str:
    """The path of a unix socket's address; "" for another kind."""
    if not address.startswith("unix:"):
        return ""
    return address.removeprefix("unix://").removeprefix("unix:")


def split(address: str) -> tuple[str, int]:
    """Host, without brackets, and port of an address that is no unix socket's."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_private(address: str) -> bool:
    """Whether only processes of this host can reach it."""
    if unix_path(address):
        return True
    host, _ = split(address)
    return host == "localhost" or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback IP address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
