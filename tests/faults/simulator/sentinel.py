"""A simulated Redis Sentinel, one per host: down-after, quorum, votes, failover, fixing roles."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.simulator.loop import Process
from tests.faults.simulator.redis import Address, Server
from tests.faults.simulator.wires import Wire, Wires

TICK_S = 0.25
QUORUM = 2
# The least time from one try of a failover to the next.
AGAIN_S = 2.0
# A failover that has not come to its end by then is given up.
FAILOVER_S = 5.0
DEMOTED_S = 3.0


class Sentinel:
    """One Sentinel; what it knows of others it has from packets that could get through."""

    def __init__(self, wires: Wires, host: str, servers: Sequence[Server], master: Address) -> None:
        self.wires = wires
        self.loop = wires.loop
        self.host = host
        self.servers = servers
        self.others: list[Sentinel] = []
        self.process: Process = self.loop.process(f"s-{host}")
        self.master = master
        self.config_epoch = 0
        # The epoch of its last vote.
        self.voted = 0
        self.down_after_s = 1.0
        self.fix_after_s = 8.0
        self.tick_s, self.again_s = TICK_S, AGAIN_S
        # Whether roles are changed with a CLIENT KILL, as Sentinel does.
        self.kills_clients = True
        self._good: dict[Address, float] = {one.address: self.loop.now for one in servers}
        # Since when a server's role has been another than it should be.
        self._wrong: dict[Address, float] = {}
        # (epoch, whom it promotes, when it began).
        self._failover: tuple[int, Server, float] | None = None
        self._next_try = 0.0
        # When the master last was one.
        self._demoted_s = self.loop.now

    def hasten(self, tempo: float) -> None:
        """Wait only such a part of what is usual before anything is done; before the launch."""
        self.tick_s *= tempo
        self.again_s *= tempo
        self.down_after_s *= tempo
        self.fix_after_s *= tempo

    def launch(self) -> None:
        self.loop.call_for(
            self.process, self.loop.now + self.loop.random.random() * self.tick_s, self._tick
        )

    def crash(self) -> None:
        self.loop.kill(self.process)

    def restart(self) -> None:
        self.process = self.loop.process(f"s-{self.host}")
        self._good = dict.fromkeys(self._good, self.loop.now)
        self._failover = None
        self._wrong.clear()
        self.launch()

    # What it sees.

    def sees(self, host: str, process: Process) -> bool:
        return (
            process.alive
            and not process.paused
            and host not in self.wires.dark
            and self.wires.both_open(self.host, host)
        )

    def down(self, address: Address) -> bool:
        return self.loop.now - self._good[address] > self.down_after_s

    def peers(self) -> list[Sentinel]:
        return [one for one in self.others if self.sees(one.host, one.process)]

    def master_for_clients(self) -> Address | None:
        return None if self.down(self.master) else self.master

    # What it does.

    def _tick(self) -> None:
        now = self.loop.now
        self.loop.call_for(
            self.process, now + self.tick_s * (0.8 + 0.4 * self.loop.random.random()), self._tick
        )
        if self.host in self.wires.dark:
            return
        for server in self.servers:
            if not self.sees(server.host, server.process):
                continue
            if server.address == self.master and server.master is None:
                self._demoted_s = now
            # A master that says it is a replica is as good as down after a while.
            if server.address != self.master or now - self._demoted_s < DEMOTED_S:
                self._good[server.address] = now
        for peer in self.peers():
            if peer.config_epoch > self.config_epoch:
                self._adopt(peer.config_epoch, peer.master)
        if self._failover is not None:
            self._go_on()
        elif self.down(self.master) and now >= self._next_try:
            self._try_failover()
        else:
            self._fix_roles()

    def _adopt(self, epoch: int, master: Address) -> None:
        self.config_epoch, self.master = epoch, master
        self._demoted_s = self.loop.now
        self.voted = max(self.voted, epoch)
        self._failover = None
        self._wrong.clear()

    def _try_failover(self) -> None:
        agree = [one for one in self.peers() if one.master == self.master and one.down(self.master)]
        if 1 + len(agree) < QUORUM:
            return
        self._next_try = self._later()
        epoch = max(self.voted, self.config_epoch, *(one.voted for one in self.peers())) + 1
        votes = 1
        self.voted = epoch
        for peer in self.peers():
            if peer.voted < epoch:
                peer.voted = epoch
                peer._next_try = peer._later()
                votes += 1
        chosen = self._choose()
        if votes <= (1 + len(self.others)) // 2 or chosen is None:
            return
        self.loop.note("sentinel elects", chosen.host, "epoch", epoch)
        self._failover = (epoch, chosen, self.loop.now)
        self._order(chosen, None)

    def _later(self) -> float:
        return self.loop.now + self.again_s + self.loop.random.random()

    def _choose(self) -> Server | None:
        """The replica to promote: by priority, then by offset, as Sentinel does."""
        possible = [
            one
            for one in self.servers
            if one.address != self.master
            and one.master is not None
            and one.priority
            and not self.down(one.address)
        ]
        return min(possible, key=lambda one: (one.priority, -one.offset, one.host), default=None)

    def _go_on(self) -> None:
        assert self._failover is not None
        epoch, chosen, began = self._failover
        if self.sees(chosen.host, chosen.process) and chosen.master is None:
            self._adopt(epoch, chosen.address)
            self._good[chosen.address] = self.loop.now
            for server in self.servers:
                if server is not chosen and server.master is not None:
                    self._order(server, chosen.address)
        elif self.loop.now - began > FAILOVER_S:
            self._failover = None

    def _fix_roles(self) -> None:
        """Bring servers back into the roles that the configuration gives them."""
        for server in self.servers:
            is_master = server.address == self.master
            right = None if is_master else self.master
            if is_master or not self.sees(server.host, server.process) or server.master == right:
                self._wrong.pop(server.address, None)
                continue
            since = self._wrong.setdefault(server.address, self.loop.now)
            if self.loop.now - since > self.fix_after_s and not self.down(self.master):
                self._wrong.pop(server.address)
                self._order(server, self.master)

    def _order(self, server: Server, master: Address | None) -> None:
        """REPLICAOF, and CLIENT KILL with it."""
        process = server.process

        def obey() -> None:
            if master is None:
                server.promote()
            else:
                server.follow(master)
            if self.kills_clients:
                server.kill_clients()

        Wire(self.wires, self.host, server.host).send(process, obey)
