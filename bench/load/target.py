"""Addresses as people write them, as the kernel takes them."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from .errors import OptionError, option_fault

ALLOWED = "host:port, [address]:port or unix:/path"
UNIX_PATH_BYTES_MAX = 107


class Target(NamedTuple):
    """Where to connect to: the socket address's bytes, and `:authority`."""

    address: bytes
    tcp: bool
    authority: bytes


def target(text: str) -> Target:
    """The target that an address names; a name is looked up once, its first address counts."""
    if text.startswith(("unix:", "unix-abstract:")):
        return unix(text)
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("dns:").lstrip("/")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise OptionError([option_fault("--to", text, ALLOWED)])
    if not 1 <= int(port) <= 65_535:
        raise OptionError([option_fault("--to", text, "a port of 1 to 65535")])
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise OptionError([option_fault("--to", text, f"a name that resolves ({error})")]) from None
    family, _kind, _protocol, _name, address = found[0]
    packed = struct.pack("=H", family) + struct.pack("!H", int(port))
    if family == socket.AF_INET6:
        host, _port, flow, scope = address  # type: ignore[misc]
        packed += struct.pack("!I", int(flow)) + socket.inet_pton(family, str(host).split("%")[0])
        packed += struct.pack("=I", int(scope))
    else:
        packed += socket.inet_pton(family, str(address[0])) + bytes(8)
    return Target(packed, True, text.removeprefix("dns:").lstrip("/").encode())


def unix(text: str) -> Target:
    """A unix socket; an abstract name begins with a zero."""
    abstract = text.startswith("unix-abstract:")
    path = text.partition(":")[2]
    name = path.removeprefix("//").encode() if not abstract else b"\0" + path.encode()
    if not 1 <= len(name) <= UNIX_PATH_BYTES_MAX:
        raise OptionError([option_fault("--to", text, f"at most {UNIX_PATH_BYTES_MAX} bytes")])
    end = b"" if abstract else b"\0"
    return Target(struct.pack("=H", socket.AF_UNIX) + name + end, False, b"localhost")
