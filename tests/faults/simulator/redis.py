"""A simulated Redis 7.0: roles, asynchronous replication and restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.faults.simulator.commands import Connection, ErrorReply, read_after
from tests.faults.simulator.loop import Handle, Process
from tests.faults.simulator.stream import Data, Operation, length_of
from tests.faults.simulator.wires import Wire, Wires

Address = tuple[str, int]
NO_ID = "0" * 40
CRON_S = 1.0
# A replica asks its master no sooner again.
AGAIN_S = 2.0
# A replica that says nothing, or a master, for so long is given up.
TIMEOUT_S = 10.0
PING_EVERY_S = 10
BACKLOG_MAX = 20_000
EPOCH_US = 1_780_000_000_000_000


class Feed:
    """The replication link of one replica, both ends of it."""

    __slots__ = ("acknowledged", "back", "heard", "live", "master", "replica", "seen", "wire")

    def __init__(self, master: Server, replica: Server, now: float) -> None:
        self.master = master
        self.replica = replica
        self.wire = Wire(master.wires, master.host, replica.host)
        self.back = Wire(master.wires, replica.host, master.host)
        self.acknowledged = 0
        # When the master last heard of the replica, and the replica of the master.
        self.heard = now
        self.seen = now
        self.live = True

    def breaks(self) -> None:
        self.live = False
        self.wire.breaks()
        self.back.breaks()


class Server:
    """One redis-server; the object outlives its processes."""

    def __init__(self, wires: Wires, host: str, port: int = 6379) -> None:
        self.wires = wires
        self.loop = wires.loop
        self.host = host
        self.port = port
        self.address: Address = (host, port)
        self.data = Data()
        self.offset = 0
        self.replid = self._new_id()
        self.replid2 = NO_ID
        self.second_offset = -1
        # Whose replica it is; None for a master.
        self.master: Address | None = None
        self.feed: Feed | None = None
        self.feeds: list[Feed] = []
        self.good_replicas = 0
        self.loading = False
        # (offset behind it, operation), and (when, operation) since `_base` was on the disk.
        self.backlog: list[tuple[int, Operation]] = []
        self.backlog_start = 0
        self._base = Data()
        self._journal: list[tuple[float, Operation]] = []
        self.changed: list[Operation] = []
        self.woken: dict[bytes, None] = {}
        self.in_exec = False
        self.connections: dict[Connection, int] = {}
        self.blocked: dict[Connection, None] = {}
        self._connections = 0
        # Settings.
        self.persistent = True
        self.priority = 100
        self.min_replicas = 1
        self.maxmemory = 0
        self.policy = "noeviction"
        self.disk_fails = False
        self.clock_offset_s = 0.0
        # The chance that something comes between two commands of a pipeline.
        self.interleaved = 0.0
        self.cron_s, self.again_s = CRON_S, AGAIN_S
        self.servers: dict[Address, Server] = {}
        self.process: Process = self.loop.process(host)
        self.on_create: Callable[[Operation], object] = lambda _operation: None
        self.on_loss: Callable[[Server], object] = lambda _server: None
        self.on_promote: Callable[[Server], object] = lambda _server: None
        self._crons = 0
        self._attempt = -100.0

    def __repr__(self) -> str:
        return self.host

    def _new_id(self) -> str:
        return f"{self.loop.random.getrandbits(160):040x}"

    # Life.

    @property
    def running(self) -> bool:
        return self.process.alive

    def hasten(self, tempo: float) -> None:
        """Wait only such a part of what is usual before asking again; before the launch."""
        self.cron_s *= tempo
        self.again_s *= tempo

    def launch(self) -> None:
        """Begin to run; once for each process."""
        self.later(self.loop.random.random() * self.cron_s, self._cron)
        self.later(0.01, self._connect)

    def crash(self, *, keep: str = "all", power: bool = False) -> None:
        """Die at once.  The disk keeps "all", not the last second's "tail", or "none"."""
        self.loop.note("redis", self.host, "dies; keeps", keep, "power" if power else "")
        self.loop.kill(self.process)
        for feed in [*self.feeds, *([self.feed] if self.feed else [])]:
            feed.breaks()
        for connection in list(self.connections):
            if power:
                connection.closed = True
            else:
                connection.disconnect()
        if power:
            self.wires.dark.add(self.host)
        self.connections.clear()
        self.blocked.clear()
        self._keep(keep)

    def _keep(self, keep: str) -> None:
        before = self.data
        self._forget(keep)
        self._compare(before)

    def _compare(self, before: Data) -> None:
        """Tell who wants to know that entries are gone which were here."""
        for key, stream in before.streams.items():
            kept = self.data.streams.get(key)
            if kept is None or (stream.ids and stream.ids[-1] not in kept.ids):
                self.on_loss(self)

    def _forget(self, keep: str) -> None:
        if keep == "none" or not self.persistent:
            self.data = Data()
        elif keep == "tail":
            until = self.loop.now - self.loop.random.random()
            self.data = self._base.copy()
            for when, operation in self._journal:
                if when <= until:
                    self.data.apply(operation)

    def restart(self) -> None:
        """Start again from the disk, in the role it had."""
        self.process = self.loop.process(self.host)
        self.wires.dark.discard(self.host)
        self._set_base(self.data)
        self.offset, self.replid, self.replid2, self.second_offset = 0, self._new_id(), NO_ID, -1
        self.backlog, self.backlog_start = [], 0
        self.feed, self.feeds, self.good_replicas = None, [], 0
        self.loading = self.in_exec = False
        self.changed, self.woken, self._attempt = [], {}, -100.0
        self.loop.note("redis", self.host, "starts with", self.describe())
        self.launch()

    def describe(self) -> str:
        tails = {key.decode(): one.last for key, one in self.data.streams.items()}
        return f"{tails or 'nothing'} {'of ' + self.master[0] if self.master else 'master'}"

    def _set_base(self, data: Data) -> None:
        self.data = data
        self._base = data.copy()
        self._journal = []

    # For connections.

    def accept(self, answer: Callable[[list[Any]], None], close: Callable[[], None]) -> Connection:
        made = Connection(self, answer, close)
        self._connections += 1
        self.connections[made] = self._connections
        # A client names itself before anything else.
        made.offset = self.offset
        return made

    def later(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        return self.loop.call_for(self.process, self.loop.now + delay, callback, *args)

    def pauses_between(self) -> bool:
        return self.interleaved > 0 and self.loop.random.random() < self.interleaved

    def clock_us(self) -> int:
        return EPOCH_US + int((self.loop.now + self.clock_offset_s) * 1_000_000)

    def full(self) -> bool:
        return self.maxmemory > 0 and self.data.bytes() > self.maxmemory

    def too_few_replicas(self) -> bool:
        return self.master is None and self.good_replicas < self.min_replicas

    def holds(self, part: bytes) -> bool:
        """Whether an entry here, running or on the disk, has these bytes in it."""
        return any(
            part in fields[1]
            for stream in self.data.streams.values()
            for fields in reversed(stream.fields)
        )

    def reached(self, offset: int) -> int:
        return sum(feed.acknowledged >= offset for feed in self.feeds)

    # Writing.

    def write(self, operation: Operation) -> None:
        """Change the data; replicas hear of it when the command is over."""
        self._touch(operation)
        if operation[0] == "xadd" and operation[1] not in self.data.streams:
            self.on_create(operation)
        self.data.apply(operation)
        self.changed.append(operation)
        if operation[0] == "xadd":
            self.woken[operation[1]] = None

    def _touch(self, operation: Operation) -> None:
        for connection in self.connections:
            watched = connection.watched
            if watched and (
                not watched.isdisjoint(self.data.streams)
                if operation[0] == "flushall"
                else operation[1] in watched
            ):
                connection.touched = True

    def flush(self) -> None:
        for operation in self.changed:
            self._propagate(operation)
        self.changed.clear()

    def _propagate(self, operation: Operation) -> None:
        self.offset += length_of(operation)
        self.backlog.append((self.offset, operation))
        self._journal.append((self.loop.now, operation))
        if len(self.backlog) > BACKLOG_MAX:
            self.backlog_start = self.backlog[0][0]
            del self.backlog[0]
        for feed in self.feeds:
            feed.wire.send(feed.replica.process, feed.replica._receive, feed, operation)

    def serve(self) -> None:
        """Answer the blocked readers that what was written lets go on."""
        while self.woken:
            woken, self.woken = self.woken, {}
            for connection in list(self.blocked):
                if connection.blocked is None or connection.blocked[0] != "xread":
                    continue
                _, key, after, count, _timer = connection.blocked
                if key in woken:
                    reply = read_after(self.data.streams.get(key), key, after, count)
                    if reply is not None:
                        connection.unblock(reply)

    # Roles.

    def promote(self) -> None:
        """REPLICAOF NO ONE."""
        if self.master is None:
            return
        self.master = None
        self._drop_feed()
        self._drop_feeds()
        self.replid2, self.second_offset = self.replid, self.offset + 1
        self.replid = self._new_id()
        self.loop.note("redis", self.host, "is promoted with", self.describe())
        self.on_promote(self)

    def follow(self, master: Address) -> None:
        """REPLICAOF master: the data stays until the master has said what is missing."""
        if self.master == master:
            return
        self.loop.note("redis", self.host, "follows", master[0], "having", self.describe())
        self.master = master
        self._drop_feed()
        self._drop_feeds()
        for connection in list(self.blocked):
            connection.disconnect(
                ErrorReply(
                    "UNBLOCKED force unblock from blocking operation, "
                    "instance state changed (master -> replica?)"
                )
            )
        self._attempt = -100.0
        self.later(0.01, self._connect)

    def kill_clients(self) -> None:
        """CLIENT KILL TYPE normal, which a Sentinel adds when it changes a role."""
        for connection in list(self.connections):
            connection.disconnect()

    def _drop_feed(self) -> None:
        if self.feed is not None:
            self.feed.breaks()
            self.feed = None

    def _drop_feeds(self) -> None:
        for feed in self.feeds:
            feed.breaks()
        self.feeds = []
        self.good_replicas = 0

    # Replication, the replica's side.

    def _cron(self) -> None:
        self.later(self.cron_s, self._cron)
        self._crons += 1
        now = self.loop.now
        feed = self.feed
        if feed is not None and (not feed.live or now - feed.seen > TIMEOUT_S):
            self._drop_feed()
        elif feed is not None:
            feed.back.send(feed.master.process, feed.master._acknowledge, feed, self.offset)
        if self.master is not None and self.feed is None:
            self._connect()
        for one in [one for one in self.feeds if not one.live or now - one.heard > TIMEOUT_S]:
            one.breaks()
            self.feeds.remove(one)
        if self.master is None and self._crons % PING_EVERY_S == 0 and self.feeds:
            self._propagate(("ping",))
        else:
            for one in self.feeds:
                one.wire.send(one.replica.process, one.replica._newline, one)
        self._count_good()

    def _count_good(self) -> None:
        self.good_replicas = sum(self.loop.now - one.heard <= 3.0 for one in self.feeds)

    def _newline(self, feed: Feed) -> None:
        feed.seen = self.loop.now

    def _connect(self) -> None:
        """Ask the master for what is missing; the cron asks again when nothing comes."""
        if (
            self.master is None
            or self.feed is not None
            or self.loop.now - self._attempt < self.again_s
        ):
            return
        master = self.servers[self.master]
        self._attempt = self.loop.now
        wire = Wire(self.wires, self.host, master.host)
        wire.send(master.process, master._psync, self, self.process, self.replid, self.offset)

    def _receive(self, feed: Feed, operation: Operation) -> None:
        if feed is not self.feed:
            return
        feed.seen = self.loop.now
        self._touch(operation) if len(operation) > 1 else None
        self.data.apply(operation)
        self._propagate(operation)
        if operation[0] == "xadd":
            self.woken[operation[1]] = None
            self.serve()
        feed.back.send(feed.master.process, feed.master._acknowledge, feed, self.offset)

    def _continue(self, feed: Feed, replid: str, process: Process) -> None:
        if self._refuses(feed, process):
            return
        self.feed = feed
        if replid != self.replid:
            self.replid2, self.second_offset = self.replid, self.offset + 1
            self.replid = replid
        self.loop.note("redis", self.host, "goes on behind", feed.master, "at", self.describe())

    def _load(self, feed: Feed, data: Data, offset: int, replid: str, process: Process) -> None:
        """A full resynchronisation: what the master lacks is gone."""
        if self._refuses(feed, process):
            return
        self.feed = feed
        self._drop_feeds()
        lost = self.describe()
        for connection in self.connections:
            connection.touched = connection.touched or bool(connection.watched)
        before = self.data
        self._set_base(data)
        self._compare(before)
        self.offset, self.replid, self.replid2, self.second_offset = offset, replid, NO_ID, -1
        self.backlog, self.backlog_start = [], offset
        self.loop.note("redis", self.host, "resyncs from", lost, "to", self.describe())
        feed.back.send(feed.master.process, feed.master._acknowledge, feed, self.offset)

    def _refuses(self, feed: Feed, process: Process) -> bool:
        stale = process is not self.process or self.feed is not None
        if stale or self.master != feed.master.address:
            feed.breaks()
            return True
        return False

    # Replication, the master's side.

    def _psync(self, replica: Server, process: Process, replid: str, offset: int) -> None:
        if self.loading or (self.master is not None and self.feed is None):
            return
        feed = Feed(self, replica, self.loop.now)
        self.feeds = [one for one in self.feeds if one.replica is not replica]
        self.feeds.append(feed)
        known = replid == self.replid or (replid == self.replid2 and offset < self.second_offset)
        if known and self.backlog_start <= offset <= self.offset:
            feed.acknowledged = offset
            feed.wire.send(process, replica._continue, feed, self.replid, process)
            for end, operation in self.backlog:
                if end > offset:
                    feed.wire.send(process, replica._receive, feed, operation)
        else:
            feed.wire.last = self.loop.now + 0.02 + self.loop.random.random() * 0.3
            feed.wire.send(
                process, replica._load, feed, self.data.copy(), self.offset, self.replid, process
            )

    def _acknowledge(self, feed: Feed, offset: int) -> None:
        if not feed.live:
            return
        feed.heard = self.loop.now
        if offset > feed.acknowledged:
            feed.acknowledged = offset
            for connection in list(self.blocked):
                if connection.blocked is not None and connection.blocked[0] == "wait":
                    _, wanted, least, _timer = connection.blocked
                    reached = self.reached(least)
                    if reached >= wanted:
                        connection.unblock(reached)
        if self.good_replicas < len(self.feeds):
            self._count_good()

    # What it tells.

    def info(self, sections: set[str]) -> bytes:
        if sections == {"replication"}:
            return "\r\n".join(self._replication()).encode()
        lines: list[str] = []
        if not sections or sections & {"server", "all", "everything"}:
            lines += ["# Server", "redis_version:7.0.15", "redis_mode:standalone", ""]
        if not sections or sections & {"memory", "all", "everything"}:
            used = self.data.bytes() + 1_000_000
            lines += ["# Memory", f"used_memory:{used}", f"maxmemory:{self.maxmemory}"]
            lines += [f"maxmemory_policy:{self.policy}", ""]
        if not sections or sections & {"persistence", "all", "everything"}:
            lines += ["# Persistence", f"loading:{int(self.loading)}"]
            lines += [f"aof_enabled:{int(self.persistent)}", ""]
        if not sections or sections & {"replication", "all", "everything"}:
            lines += self._replication()
        return "\r\n".join(lines).encode()

    def _replication(self) -> list[str]:
        lines = ["# Replication", f"role:{'slave' if self.master else 'master'}"]
        if self.master is not None:
            up = "up" if self.feed is not None else "down"
            lines += [f"master_host:{self.master[0]}", f"master_port:{self.master[1]}"]
            lines += [f"master_link_status:{up}", f"slave_repl_offset:{self.offset}"]
            lines += [f"slave_priority:{self.priority}", "slave_read_only:1"]
        lines.append(f"connected_slaves:{len(self.feeds)}")
        if self.min_replicas and self.master is None:
            lines.append(f"min_slaves_good_slaves:{self.good_replicas}")
        for number, feed in enumerate(self.feeds):
            where = f"ip={feed.replica.host},port={feed.replica.port},state=online"
            lag = int(self.loop.now - feed.heard)
            lines.append(f"slave{number}:{where},offset={feed.acknowledged},lag={lag}")
        lines += ["master_failover_state:no-failover", f"master_replid:{self.replid}"]
        lines += [f"master_replid2:{self.replid2}", f"master_repl_offset:{self.offset}"]
        lines += [f"second_repl_offset:{self.second_offset}", "repl_backlog_active:1", ""]
        return lines

    def settings(self) -> dict[bytes, bytes]:
        return {
            b"appendonly": b"yes" if self.persistent else b"no",
            b"save": b"3600 1" if self.persistent else b"",
            b"maxmemory": b"%d" % self.maxmemory,
            b"maxmemory-policy": self.policy.encode(),
            b"min-replicas-to-write": b"%d" % self.min_replicas,
            b"min-replicas-max-lag": b"3",
            b"replica-priority": b"%d" % self.priority,
        }
