"""Places: what `--log` says, checked, and how it is shown without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote

from nextbest.server import address as addresses
from nextbest.server.log.link import Address
from nextbest.server.log.log import LogPlaceError

REDIS = (
    "redis://[user:password@]host[:port][/db], rediss://... "
    "or sentinel://host:port,host:port,host:port/name"
)
ALLOWED = f"memory:, sqlite:PATH, {REDIS}"
REDIS_PORT = 6_379
SENTINEL_PORT = 26_379
SENTINELS_MAX = 16
DATABASE_MAX = 1_023
_KEY = "log"
# RFC 3986, appendix B: urlsplit takes no list of hosts in brackets in every version of Python.
_URL = re.compile(r"([a-z]+)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
# What lies in a data folder.
DATABASE = "log.db"
SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the log is.

    `kind` is "memory", "sqlite", "redis" or "sentinel"; `text` is what may be shown.  `hosts`
    are Redis or the Sentinels, `name` is the master's with the Sentinels.
    """

    kind: str
    text: str
    path: str = ""
    hosts: tuple[Address, ...] = ()
    name: str = ""
    database: int = 0
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)


def parse(value: str) -> Place:
    """The place in a `--log` value.  Raises LogPlaceError."""
    if value == "memory:":
        return Place("memory", value)
    if value.startswith("sqlite:"):
        path = value.removeprefix("sqlite:")
        if not path or "\0" in path:
            raise LogPlaceError(_KEY, f"{value!r}", "sqlite:PATH")
        return Place("sqlite", value, path=path)
    parts = _URL.fullmatch(value)
    if parts is None:
        raise _refused(value)
    url = SplitResult(*(part or "" for part in parts.groups()))
    if url.scheme in {"redis", "rediss"}:
        return _redis(value, url)
    if url.scheme == "sentinel":
        return _sentinel(value, url)
    raise _refused(value)


def _redis(value: str, url: SplitResult) -> Place:
    (host,) = _hosts(value, url, REDIS_PORT, 1)
    digits = url.path.removeprefix("/") or "0"
    if not digits.isdecimal() or int(digits) > DATABASE_MAX:
        raise LogPlaceError(_KEY, f"database {digits!r}", f"0 to {DATABASE_MAX}")
    user, password = _credentials(url)
    return Place(
        kind="redis",
        text=f"{url.scheme}://{shown(host)}" + (f"/{int(digits)}" if int(digits) else ""),
        hosts=(host,),
        database=int(digits),
        tls=url.scheme == "rediss",
        user=user,
        password=password,
    )


def _sentinel(value: str, url: SplitResult) -> Place:
    hosts = _hosts(value, url, SENTINEL_PORT, SENTINELS_MAX)
    name = url.path.removeprefix("/")
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise LogPlaceError(_KEY, f"master {name!r}", "letters, digits, '.', '-' and '_'")
    user, password = _credentials(url)
    return Place(
        kind="sentinel",
        text=f"sentinel://{','.join(map(shown, hosts))}/{name}",
        hosts=hosts,
        name=name,
        user=user,
        password=password,
    )


def shown(address: Address) -> str:
    """An address as it is written in a URL."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _hosts(value: str, url: SplitResult, port: int, most: int) -> tuple[Address, ...]:
    if url.query or url.fragment:
        raise _refused(value)
    found = []
    for one in url.netloc.rpartition("@")[2].split(","):
        bare = re.fullmatch(r"[^:\[\]]+|\[[^\]]*\]", one)
        whole = f"{one}:{port}" if bare else one
        if one.count("[") != one.count("]") or addresses.fault(whole) or addresses.unix_path(whole):
            raise _refused(value)
        host = Address(*addresses.split(whole))
        if host.port == 0:
            raise _refused(value)
        found.append(host)
    if len(found) > most:
        raise LogPlaceError(_KEY, f"{len(found)} hosts", f"up to {most}")
    return tuple(found)


def _credentials(url: SplitResult) -> tuple[str, str]:
    user, _, password = url.netloc.rpartition("@")[0].partition(":")
    return unquote(user), unquote(password)


def _refused(value: str) -> LogPlaceError:
    # To the last "@": a password that was not escaped may hold any character.
    return LogPlaceError(_KEY, repr(re.sub(r"//.*@", "//***@", value)), ALLOWED)
