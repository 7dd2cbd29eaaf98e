"""The narrow port through which the Redis log speaks: one connection, and what is around it.

`network.py` holds the real ones; a simulator can stand in for both, below the real RedisLog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Word = bytes | str | int
Command = tuple[Word, ...]


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class LinkError(Exception):
    """The connection broke or did not answer in time; it is closed.

    Whether the server did what it was sent is not known.
    """


class RedisReplyError(Exception):
    """An error that the server replied with; `code` is its first word ("OOM", "READONLY")."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.code = text.partition(" ")[0]


class Link(Protocol):
    """One owned connection: no pool, no retry, no reconnect.  One run at a time."""

    async def run(self, commands: Sequence[Command], timeout_ms: int) -> list[Any]:
        """Send all commands at once and return their replies, one each.

        Strings come as bytes.  A reply that is an error is returned, also within an EXEC's
        list, as a RedisReplyError.  Raises LinkError when anything goes wrong on the way or
        `timeout_ms` pass; the link is closed then.  A cancelled run closes it too.
        """
        ...

    async def close(self) -> None:
        """Close the connection; a run in flight ends with LinkError."""
        ...


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What one Redis host says of itself."""

    address: Address
    role: str
    version: str
    replica_priority: int
    append_only: bool
    # The points of the periodic dump; empty when there is none.
    save: str
    policy: str
    min_replicas_to_write: int


@dataclass(frozen=True, slots=True)
class Topology:
    """What is around a log: the Redis hosts and the Sentinels that watch them.

    `silent` are hosts that are known of but did not answer.  `faults` names what else could not
    be found out, and why.
    """

    hosts: tuple[RedisFacts, ...]
    sentinels: tuple[Address, ...]
    silent: tuple[Address, ...] = ()
    faults: tuple[str, ...] = ()


class Named(NamedTuple):
    """The master that a Sentinel names, and the number of the failover that made it one."""

    address: Address
    epoch: int


class Network(Protocol):
    """Finds the master and connects to it."""

    # Where it looks, without passwords.
    place: str

    async def master(self) -> Address:
        """The master's address, of the Sentinels or as configured.  Raises LinkError."""
        ...

    async def named(self) -> Sequence[Named | None]:
        """The master that each who may replace it names now; None for one that does not say.

        Empty where nobody replaces it.
        """
        ...

    async def link(self, address: Address, name: str) -> Link:
        """A new connection; `name` is what the server shows for it.  Raises LinkError."""
        ...

    async def facts(self) -> Topology:
        """What the self-check of REPLICATED looks at."""
        ...


def info(reply: bytes) -> dict[str, str]:
    """The fields of an INFO reply."""
    lines = reply.decode("utf-8", "replace").splitlines()
    return {key: value for key, _, value in (line.partition(":") for line in lines) if value}
